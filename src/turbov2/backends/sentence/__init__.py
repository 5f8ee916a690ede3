"""Sentence-Transformers folders and bare transformers under torch.

Owns reading such a folder's modules, pooling, and the way from token ids to vectors. Must not know
requests, wires or other backends; loading and the forward itself are shared with the rerankers.
"""

from turbov2.backends.sentence.backend import SentenceBackend

__all__ = ["SentenceBackend"]
