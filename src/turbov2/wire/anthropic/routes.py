"""Anthropic's routes."""

from __future__ import annotations

from functools import partial

import msgspec
from msgspec.structs import replace

from turbov2.engine.protocol import Engine
from turbov2.wire._body import parse_aside
from turbov2.wire._chat import stream_answer, whole_answer
from turbov2.wire._http import Request, Response, Route
from turbov2.wire._served import naming, served_as
from turbov2.wire.anthropic.adapt import parse_counting, parse_messages, render_message
from turbov2.wire.anthropic.stream import MessageEvents


class AnthropicRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def messages(self, request: Request) -> Response:
        """POST /v1/messages. A conversation in, the answer whole or event by event."""
        parse = partial(parse_messages, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        model = self._engine.model(asked.model)
        asked = replace(asked, model=served_as(asked.model, model))
        events = self._engine.chat(asked.request, request.context)
        if asked.is_streamed:
            frames = MessageEvents(asked, request.context.request_id)
            return naming(await stream_answer(events, frames), model)
        return naming(Response(render_message(asked, await whole_answer(events))), model)

    async def count_tokens(self, request: Request) -> Response:
        """POST /v1/messages/count_tokens: what an answer would read, with its template, tools and images."""
        parse = partial(parse_counting, limits=request.limits)
        asked = await parse_aside(await request.body(), parse)
        n_tokens = await self._engine.count_tokens(asked, request.context)
        return Response(msgspec.json.encode({"input_tokens": n_tokens}))


def routes(engine: Engine) -> list[Route]:
    """Returns this family's routes."""
    anthropic = AnthropicRoutes(engine)
    return [
        Route("/v1/messages", ("POST",), anthropic.messages, "anthropic"),
        Route("/v1/messages/count_tokens", ("POST",), anthropic.count_tokens, "anthropic"),
    ]
