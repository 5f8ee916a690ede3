"""Our own API: reranking, pages, documents, jobs, health, probes and status."""

from turbov2.wire.native.routes import job_kinds, routes

__all__ = ["job_kinds", "routes"]
