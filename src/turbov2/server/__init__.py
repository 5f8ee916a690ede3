"""The HTTP server: one ASGI application around an engine.

Owns routing, keys, hosts, limits, request ids, logs and metrics. Must not know models or backends.
"""

from turbov2.server.app import build_app

__all__ = ["build_app"]
