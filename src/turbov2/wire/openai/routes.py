"""OpenAI's routes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from turbov2.engine.protocol import Engine
from turbov2.spools import Spools
from turbov2.wire._body import parse_aside, parse_json
from turbov2.wire._chat import Answer, Frames, stream_answer, whole_answer
from turbov2.wire._http import Request, Response, Route
from turbov2.wire._live import LivePlaces
from turbov2.wire._served import naming, served_as
from turbov2.wire.openai import adapt, chat, chat_answers, completions, response_answers, responses
from turbov2.wire.openai.audio import AudioRoutes
from turbov2.wire.openai.models import model_object, render_models
from turbov2.wire.openai.realtime_routes import RealtimeRoutes
from turbov2.wire.openai.schema import EmbeddingsBody

Asked = TypeVar("Asked", chat.AskedText, responses.AskedResponse)

_EMBEDDINGS = msgspec.json.Decoder(EmbeddingsBody)


class OpenAIRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine, default_embed_model: str) -> None:
        self._engine = engine
        self._default_embed_model = default_embed_model

    async def embeddings(self, request: Request) -> Response:
        """POST /v1/embeddings."""
        body = parse_json(await request.body(), _EMBEDDINGS)
        model = body.model or self._default_embed_model
        result = await self._engine.embed(
            adapt.parse_embeddings(body, model, request.limits), request.context
        )
        return Response(adapt.render_embeddings(model, result, adapt.parse_encoding(body)))

    async def chat(self, request: Request) -> Response:
        """POST /v1/chat/completions. A conversation in, the answer whole or as it is written."""
        parse = partial(chat.parse_chat, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        return await self._write(request, asked, chat_answers.Chunks, chat_answers.render_chat)

    async def completions(self, request: Request) -> Response:
        """POST /v1/completions. A prompt in, without the model's template, and what follows it."""
        parse = partial(completions.parse_completion, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        return await self._write(request, asked, completions.CompletionChunks, completions.render_completion)

    async def responses(self, request: Request) -> Response:
        """POST /v1/responses. A conversation in, items out, whole or as they are written."""
        parse = partial(responses.parse_response, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        return await self._write(
            request, asked, response_answers.ResponseEvents, response_answers.render_response
        )

    async def _write(
        self,
        request: Request,
        asked: Asked,
        frames: Callable[[Asked], Frames],
        render: Callable[[Asked, Answer], bytes],
    ) -> Response:
        model = self._engine.model(asked.model)
        asked = replace(asked, model=served_as(asked.model, model))
        events = self._engine.chat(asked.request, request.context)
        if asked.is_streamed:
            return naming(await stream_answer(events, frames(asked)), model)
        return naming(Response(render(asked, await whole_answer(events))), model)

    async def models(self, request: Request) -> Response:
        """GET /v1/models."""
        _answer_as_its_client_reads(request)
        return Response(render_models(await self._engine.models(), request.query()))

    async def model(self, request: Request) -> Response:
        """GET /v1/models/{id}; ids may hold "/" and ":"."""
        _answer_as_its_client_reads(request)
        return Response(msgspec.json.encode(model_object(self._engine.model(request.path_rest))))


def _answer_as_its_client_reads(request: Request) -> None:
    """Afterwards an error has Anthropic's shape for Anthropic's clients, who list models here too."""
    if request.header(b"anthropic-version") is not None:
        request.family = "anthropic"


def routes(engine: Engine, default_embed_model: str, uploads: Spools, places: LivePlaces) -> list[Route]:
    """Returns this family's routes. uploads: where files lie while they are read."""
    realtime = RealtimeRoutes(engine, places)
    openai, audio = OpenAIRoutes(engine, default_embed_model), AudioRoutes(engine, uploads)
    return [
        Route("/v1/embeddings", ("POST",), openai.embeddings, "openai"),
        Route("/v1/chat/completions", ("POST",), openai.chat, "openai"),
        Route("/v1/completions", ("POST",), openai.completions, "openai"),
        Route("/v1/responses", ("POST",), openai.responses, "openai"),
        Route("/v1/audio/transcriptions", ("POST",), audio.transcriptions, "openai"),
        Route("/v1/audio/translations", ("POST",), audio.translations, "openai"),
        Route("/v1/realtime", ("GET",), realtime.realtime, "openai", is_unbounded=True, is_socket=True),
        Route("/v1/models", ("GET",), openai.models, "openai"),
        Route("/v1/models/", ("GET",), openai.model, "openai"),
    ]
