"""Ollama's routes."""

from __future__ import annotations

from functools import partial

import msgspec

from turbov2.engine.protocol import Engine
from turbov2.errors import InvalidRequest, ModelNotFound, ModelUnavailable, NotCapable, NotSupported
from turbov2.types import ModelStatus
from turbov2.wire._body import parse_aside, parse_json
from turbov2.wire._chat import stream_answer, whole_answer
from turbov2.wire._encoding import encoding_of
from turbov2.wire._http import TEXT, Request, Response, Route
from turbov2.wire._keep_alive import parse_keep_alive_s
from turbov2.wire._served import naming
from turbov2.wire.ollama import adapt, answers, chat, listing
from turbov2.wire.ollama.chat import AskedText
from turbov2.wire.ollama.judging import parse_judging, render_judgement
from turbov2.wire.ollama.pull import pull_frames, pull_whole
from turbov2.wire.ollama.schema import EmbedBody, EmbeddingsBody, ModelBody

# Clients gate features on it; the newest release whose embedding behaviour these routes follow.
OLLAMA_VERSION = "0.13.5"

_PS_EVENTS = 10

_EMBED = msgspec.json.Decoder(EmbedBody)
_EMBEDDINGS = msgspec.json.Decoder(EmbeddingsBody)
_MODEL = msgspec.json.Decoder(ModelBody)


class OllamaRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine, default_embed_model: str) -> None:
        self._engine = engine
        self._default_embed_model = default_embed_model

    async def root(self, request: Request) -> Response:
        """GET /: what Ollama's clients look for."""
        return Response(b"Ollama is running", media_type=TEXT)

    async def version(self, request: Request) -> Response:
        """GET /api/version."""
        return Response(msgspec.json.encode({"version": OLLAMA_VERSION}))

    async def embed(self, request: Request) -> Response:
        """POST /api/embed. Without input it loads, or with keep_alive 0 unloads."""
        body = parse_json(await request.body(), _EMBED)
        model = body.model or self._default_embed_model
        if not body.input:
            await self._load_or_unload(request, model, parse_keep_alive_s(body.keep_alive))
            return Response(msgspec.json.encode({"model": model, "embeddings": []}))
        asked = adapt.parse_embed(body, model, request.limits)
        result = await self._engine.embed(asked, request.context)
        encoding = encoding_of(body.encoding_format)
        return Response(adapt.render_embed(model, result, asked.outputs, encoding))

    async def embeddings(self, request: Request) -> Response:
        """POST /api/embeddings."""
        body = parse_json(await request.body(), _EMBEDDINGS)
        model = _required(body.model)
        if not body.prompt:
            await self._load_or_unload(request, model, parse_keep_alive_s(body.keep_alive))
            return Response(b'{"embedding":[]}')
        result = await self._engine.embed(
            adapt.parse_embeddings(body, model, request.limits), request.context
        )
        return Response(adapt.render_embeddings(result))

    async def tags(self, request: Request) -> Response:
        """GET /api/tags: every catalogued model, with why it cannot run if it cannot."""
        return Response(listing.render_tags(await self._engine.models()))

    async def ps(self, request: Request) -> Response:
        """GET /api/ps."""
        engine = self._engine
        events = engine.events()[-_PS_EVENTS:]
        return Response(listing.render_ps(engine.residents(), engine.pools(), events))

    async def show(self, request: Request) -> Response:
        """POST /api/show."""
        body = parse_json(await request.body(), _MODEL)
        return Response(listing.render_show(await self._engine.describe(_required(body.model or body.name))))

    async def pull(self, request: Request) -> Response:
        """POST /api/pull. Streams unless told otherwise."""
        body = parse_json(await request.body(), _MODEL)
        name = self._engine.model(_required(body.model or body.name)).name
        steps = self._engine.pull(name, accept_license=bool(body.accept_license))
        return Response(await pull_whole(steps)) if body.stream is False else await pull_frames(steps)

    async def delete(self, request: Request) -> Response:
        """DELETE /api/delete."""
        body = parse_json(await request.body(), _MODEL)
        name = _required(body.model or body.name)
        if not await self._engine.delete(name):
            raise ModelNotFound(f"model '{name}' not found", param="model")
        return Response(b"")

    async def generate(self, request: Request) -> Response:
        """POST /api/generate. Goes on from a prompt; without one it loads, or with keep_alive 0 unloads."""
        parse = partial(chat.parse_generate, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        status = self._runnable(asked.model)
        judged = parse_judging(asked.prompt, status.name, asked.keep_alive_s)
        if judged is not None and status.capability in ("embed", "rerank"):
            text = render_judgement(await self._engine.rerank(judged, request.context))
            return Response(answers.render_done(asked, "stop", text))
        return await self._write(request, asked, status)

    async def chat(self, request: Request) -> Response:
        """POST /api/chat. Goes on with a conversation; without messages it loads, or unloads."""
        parse = partial(chat.parse_chat, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        return await self._write(request, asked, self._runnable(asked.model))

    async def _write(self, request: Request, asked: AskedText, status: ModelStatus) -> Response:
        is_writer = status.capability in ("vision", "generate")
        if not is_writer and (asked.request is not None or status.capability != "embed"):
            raise NotCapable(f'"{status.name}" does not support {asked.verb}', param="model")
        if asked.request is None:
            await self._load_or_unload(request, status.name, asked.keep_alive_s)
            return Response(answers.render_done(asked, "unload" if asked.keep_alive_s == 0 else "load"))
        events = self._engine.chat(asked.request, request.context)
        if asked.is_streamed:
            return naming(await stream_answer(events, answers.Lines(asked)), status)
        return naming(Response(answers.render_text(asked, await whole_answer(events))), status)

    def _runnable(self, model: str) -> ModelStatus:
        """Returns the model. Raises: ModelNotFound, ModelUnavailable."""
        status = self._engine.model(model)
        if status.availability == "unavailable":
            raise ModelUnavailable(f"model '{status.name}' cannot run here: {status.reason}; {status.fix}")
        return status

    async def authoring(self, request: Request) -> Response:
        """POST /api/create, /api/copy, /api/push: models come from the catalogue."""
        raise NotSupported("not supported here: models are added in the models file (TURBOV2_MODELS_FILE)")

    async def _load_or_unload(self, request: Request, model: str, keep_alive_s: float | None) -> None:
        if keep_alive_s == 0:
            await self._engine.unload(model)
        else:
            await self._engine.load(model, keep_alive_s, request.context)


def _required(name: str | None) -> str:
    if not name:
        raise InvalidRequest("model is required", param="model")
    return name


def routes(engine: Engine, default_embed_model: str) -> list[Route]:
    """Returns this family's routes."""
    ollama = OllamaRoutes(engine, default_embed_model)
    table = [
        ("/", ("GET",), ollama.root),
        ("/api/version", ("GET",), ollama.version),
        ("/api/tags", ("GET",), ollama.tags),
        ("/api/ps", ("GET",), ollama.ps),
        ("/api/show", ("POST",), ollama.show),
        ("/api/embed", ("POST",), ollama.embed),
        ("/api/embeddings", ("POST",), ollama.embeddings),
        ("/api/pull", ("POST",), ollama.pull),
        ("/api/delete", ("DELETE",), ollama.delete),
        ("/api/generate", ("POST",), ollama.generate),
        ("/api/chat", ("POST",), ollama.chat),
        ("/api/create", ("POST",), ollama.authoring),
        ("/api/copy", ("POST",), ollama.authoring),
        ("/api/push", ("POST",), ollama.authoring),
    ]
    return [
        Route(path, methods, handler, "ollama", is_unbounded=path == "/api/pull")
        for path, methods, handler in table
    ]
