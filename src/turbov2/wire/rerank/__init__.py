"""Reranking as other servers offer it: Cohere, Jina, Voyage, vLLM, Infinity and TEI on the same paths.

Owns telling these dialects apart. Must not know how scores come about.
"""

from turbov2.wire.rerank.routes import routes

__all__ = ["routes"]
