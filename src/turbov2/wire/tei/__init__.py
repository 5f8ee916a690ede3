"""text-embeddings-inference's own routes, which name no model: `/embed`, `/predict`, `/info` and their like.

Owns their bodies and headers. Must not know which model answers: it is given the configured ones.
"""

from turbov2.wire.tei.routes import routes

__all__ = ["routes"]
