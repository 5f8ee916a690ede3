"""Our own API: reranking, pages, documents, speech, jobs, health, probes and status."""

from turbov2.wire.native.live_routes import live_routes
from turbov2.wire.native.routes import job_kinds, routes

__all__ = ["job_kinds", "live_routes", "routes"]
