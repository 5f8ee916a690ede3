"""Our own API: reranking, health, probes and status."""

from turbov2.wire.native.routes import routes

__all__ = ["routes"]
