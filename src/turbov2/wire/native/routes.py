"""The server's own routes: reranking, pages, health for people, probes for machines, and status."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from contextlib import aclosing
from functools import partial
from typing import Any

import msgspec

import turbov2
from turbov2.engine.protocol import Engine
from turbov2.errors import InvalidRequest
from turbov2.jobs import JobKind, Jobs
from turbov2.spools import Spools
from turbov2.types import ResidentStatus
from turbov2.wire._body import parse_json
from turbov2.wire._chat import stream_answer, whole_answer
from turbov2.wire._http import TEXT, Request, Response, Route
from turbov2.wire._media import read_media
from turbov2.wire.native import adapt, classify, ocr, vision
from turbov2.wire.native.document_routes import DocumentJobs, DocumentRoutes
from turbov2.wire.native.jobs import JobRoutes
from turbov2.wire.native.page_stream import page_stream
from turbov2.wire.native.schema import RerankBody
from turbov2.wire.native.streams import stream_kind
from turbov2.wire.native.transcribe_routes import TranscribeJobs, TranscribeRoutes

_CLASSIFY_PATHS = ("/api/classify", "/api/classify/file", "/api/classify/base64")
_TRANSCRIBE_PATHS = ("/api/transcribe", "/api/transcribe/base64")
_VISION_PATHS = ("/api/vision", "/api/vision/file")
_RERANK = msgspec.json.Decoder(RerankBody)


class NativeRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine, default_rerank_model: str) -> None:
        self._engine = engine
        self._default_rerank_model = default_rerank_model
        self._started_s = time.monotonic()

    async def rerank(self, request: Request) -> Response:
        """POST /api/rerank. Best document first; scores as the model gives them, or in 0..1."""
        body = parse_json(await request.body(), _RERANK)
        model = body.model or self._default_rerank_model
        asked, top_n = adapt.parse_rerank(body, model, request.limits), adapt.parse_top(body)
        if not asked.documents:
            self._engine.model(model)  # a name that is wrong is told all the same
            return Response(msgspec.json.encode({"model": model, "results": []}))
        result = await self._engine.rerank(asked, request.context)
        has_documents = body.return_documents is not False
        return Response(
            adapt.render_rerank(model, asked.documents, result, top_n, has_documents=has_documents)
        )

    async def classify(self, request: Request) -> Response:
        """POST /api/classify, and below it /file and /base64. LOW or HIGH, with calibrated probabilities."""
        form = await read_media(request, ("image", "file", "base64"))
        if classify.is_text_alone(form):
            return Response(classify.render_text_alone())
        result = await self._engine.classify(classify.parse_classify(form), request.context)
        return Response(classify.render_classified(result))

    async def ocr(self, request: Request) -> Response:
        """POST /api/ocr. The text of pages: as text, Markdown, hOCR or JSON; whole or page by page."""
        form = await read_media(request, ("image", "file", "base64"))
        asked, kind = ocr.parse_ocr(form), stream_kind(request, form)
        wanted = msgspec.structs.replace(asked.request, is_partial_ok=kind is not None)
        pages = self._engine.read_pages(wanted, asked.pages, request.context)
        if kind is not None:
            return await page_stream(pages, partial(ocr.render_page, asked), kind)
        async with aclosing(pages):
            results = [result async for result in pages]
        # Hundreds of lines take milliseconds, in which others want the loop.
        return await asyncio.to_thread(ocr.render_ocr, asked, results)

    async def vision(self, request: Request) -> Response:
        """POST /api/vision, and below it /file. A question about a page image or a page of a document."""
        form = await read_media(request, ("image", "file", "base64"))
        asked = vision.parse_vision(form, request.limits.max_text_chars)
        is_streamed = vision.is_streamed(form)
        events = self._engine.chat(asked, request.context)
        if is_streamed:
            return await stream_answer(events, vision.Lines(self._engine.model(asked.model).name))
        return Response(vision.render_vision(await whole_answer(events)))

    async def livez(self, request: Request) -> Response:
        """GET /livez: 200 while the event loop turns."""
        return Response(b"ok", media_type=TEXT)

    async def readyz(self, request: Request) -> Response:
        """GET /readyz: 200 when traffic is welcome; lazily loaded models do not count."""
        if self._engine.is_ready():
            return Response(b"ok", media_type=TEXT)
        return Response(b"not ready", status=503, media_type=TEXT)

    async def health(self, request: Request) -> Response:
        """GET /health: models, devices, memory, version. "degraded": a model has failed, others serve."""
        return Response(msgspec.json.encode(self._common()), status=200 if self._engine.is_ready() else 503)

    async def status(self, request: Request) -> Response:
        """GET /api/status: what n8n's reranker node and plain Ollama clients look for, and more."""
        models = await self._engine.models()
        runnable = {m.capability for m in models if m.availability != "unavailable"}
        residents = self._engine.residents()
        return Response(
            msgspec.json.encode(
                {
                    **self._common(),
                    "models": models,
                    "residents": [_resident(resident) for resident in residents],
                    "pools": self._engine.pools(),
                    "events": self._engine.events(),
                    "vram_usage": sum(resident.device_bytes for resident in residents),
                    "has_classifier": "classify" in runnable,
                    "has_vision": "vision" in runnable,
                    "has_reranker": not runnable.isdisjoint(("rerank", "embed")),  # the latter rank by cosine
                    "cloud": {"disabled": True, "source": "none"},
                }
            )
        )

    async def explain(self, request: Request) -> Response:
        """GET /api/explain?model=NAME: what loading it would take, and what happened to it."""
        name = request.query().get("model", "")
        if not name:
            raise InvalidRequest("model is required: /api/explain?model=NAME", param="model")
        return Response(msgspec.json.encode(await self._engine.explain(name)))

    def _common(self) -> dict[str, Any]:
        residents = self._engine.residents()
        return {
            "status": self._state(residents),
            "version": turbov2.__version__,
            "uptime_seconds": round(time.monotonic() - self._started_s, 1),
            "devices": [
                {
                    "name": "cpu" if pool.name == "host" else pool.name,
                    "model_bytes": pool.committed_bytes,
                    "budget_bytes": pool.budget_bytes,
                }
                for pool in self._engine.pools()
            ],
            "models": [
                {"name": resident.model.name, "state": resident.state, "host_bytes": resident.host_bytes}
                for resident in residents
            ],
        }

    def _state(self, residents: Sequence[ResidentStatus]) -> str:
        if not self._engine.is_ready():
            return "unavailable"
        return "degraded" if any(resident.state == "failed" for resident in residents) else "healthy"


def _resident(resident: ResidentStatus) -> dict[str, Any]:
    fields = {name: getattr(resident, name) for name in resident.__struct_fields__}
    return fields | {"model": resident.model.name}


def job_kinds(engine: Engine) -> list[JobKind]:
    """Returns the kinds of jobs that this family's routes begin."""
    return [DocumentJobs(engine), TranscribeJobs(engine)]


def routes(
    engine: Engine, default_embed_model: str, default_rerank_model: str, jobs: Jobs, uploads: Spools
) -> list[Route]:
    """Returns this family's routes. jobs: know the kinds of `job_kinds`. uploads: keep files meanwhile."""
    native = NativeRoutes(engine, default_rerank_model)
    documents, kept = DocumentRoutes(engine, jobs), JobRoutes(jobs)
    speech = TranscribeRoutes(engine, jobs, uploads, default_embed_model)
    return [
        Route("/api/rerank", ("POST",), native.rerank, "ollama"),
        *(Route(path, ("POST",), native.classify, "ollama") for path in _CLASSIFY_PATHS),
        Route("/api/ocr", ("POST",), native.ocr, "ollama"),
        Route("/api/documents", ("POST",), documents.documents, "native"),
        *(Route(path, ("POST",), speech.transcribe, "ollama") for path in _TRANSCRIBE_PATHS),
        Route("/api/audio/embed", ("POST",), speech.embed, "ollama"),
        Route("/api/jobs", ("GET",), kept.newest, "native"),
        Route("/api/jobs/", ("GET",), kept.one, "native", is_unbounded=True),
        Route("/api/jobs/", ("DELETE",), kept.remove, "native"),
        *(Route(path, ("POST",), native.vision, "ollama") for path in _VISION_PATHS),
        Route("/livez", ("GET",), native.livez, "native"),
        Route("/readyz", ("GET",), native.readyz, "native"),
        Route("/healthz", ("GET",), native.readyz, "native"),
        Route("/health", ("GET",), native.health, "native"),
        Route("/api/status", ("GET",), native.status, "ollama"),
        Route("/api/explain", ("GET",), native.explain, "ollama"),
    ]
