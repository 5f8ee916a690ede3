"""The server's own routes: health for people, probes for machines, status for n8n and dashboards."""

from __future__ import annotations

import time
from typing import Any

import msgspec

import turbov2
from turbov2.engine.protocol import Engine
from turbov2.wire._http import TEXT, Request, Response, Route


class NativeRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._started_s = time.monotonic()

    async def livez(self, request: Request) -> Response:
        """GET /livez: 200 while the event loop turns."""
        return Response(b"ok", media_type=TEXT)

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: 200 when traffic is welcome; lazily loaded models do not count."""
        if self._engine.is_ready():
            return Response(b"ok", media_type=TEXT)
        return Response(b"not ready", status=503, media_type=TEXT)

    async def health(self, request: Request) -> Response:
        """GET /health: models, devices, memory, version."""
        is_ready = self._engine.is_ready()
        status = {"status": "healthy" if is_ready else "unavailable", **self._common()}
        return Response(msgspec.json.encode(status), status=200 if is_ready else 503)

    async def status(self, request: Request) -> Response:
        """GET /api/status: what n8n's reranker node and plain Ollama clients look for, and more."""
        models = await self._engine.models()
        runnable = {m.capability for m in models if m.availability != "unavailable"}
        return Response(
            msgspec.json.encode(
                {
                    "status": "healthy" if self._engine.is_ready() else "unavailable",
                    **self._common(),
                    "models": models,
                    "vram_usage": 0,
                    "has_classifier": "classify" in runnable,
                    "has_reranker": "rerank" in runnable,
                    "cloud": {"disabled": True, "source": "none"},
                }
            )
        )

    def _common(self) -> dict[str, Any]:
        committed, allowed = self._engine.budget_bytes()
        return {
            "version": turbov2.__version__,
            "uptime_seconds": round(time.monotonic() - self._started_s, 1),
            "devices": [{"name": "cpu", "model_bytes": committed, "budget_bytes": allowed}],
            "models": [
                {"name": resident.model.name, "state": resident.state, "host_bytes": resident.host_bytes}
                for resident in self._engine.residents()
            ],
        }


def routes(engine: Engine) -> list[Route]:
    """Returns this family's routes."""
    native = NativeRoutes(engine)
    return [
        Route("/livez", ("GET",), native.livez, "native"),
        Route("/readyz", ("GET",), native.readyz, "native"),
        Route("/healthz", ("GET",), native.readyz, "native"),
        Route("/health", ("GET",), native.health, "native"),
        Route("/api/status", ("GET",), native.status, "ollama"),
    ]
