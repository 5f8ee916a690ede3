"""Cohere's embedding API, `/v2/embed`. Its reranking is one of several dialects: `wire.rerank`.

Owns the bodies Cohere's clients send and read. Must not know how vectors come about.
"""

from turbov2.wire.cohere.routes import routes

__all__ = ["routes"]
