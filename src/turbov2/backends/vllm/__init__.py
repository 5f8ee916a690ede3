"""Language models in transformers' format, run by a vLLM that lives in an environment of its own.

Owns that vLLM's server, and what it is asked. Must not know who asks, or how answers leave.
"""

from turbov2.backends.vllm.backend import VllmBackend

__all__ = ["VllmBackend"]
