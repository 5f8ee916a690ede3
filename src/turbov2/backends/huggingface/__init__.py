"""Causal language models in transformers' format that write text, with torch.

Owns their prompts and what holds their answers to a grammar. Must not know who asks, or how answers leave.
"""

from turbov2.backends.huggingface.backend import HuggingFaceBackend

__all__ = ["HuggingFaceBackend"]
