"""Rerankers that are language models: asked whether a document answers a query, scored by what they reply.

Owns the published prompts and the way from their last token to one number. Must not know requests, wires
or other backends.
"""

from turbov2.backends.causal_rerank.backend import CausalRerankBackend

__all__ = ["CausalRerankBackend"]
