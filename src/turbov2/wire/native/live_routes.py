"""Live speech over a WebSocket: samples in, text out."""

from __future__ import annotations

from contextlib import aclosing

from turbov2.engine.protocol import Engine
from turbov2.types import LiveInput, TranscribeRequest
from turbov2.wire._forms import Form
from turbov2.wire._http import SWITCHED, Request, Response, Route
from turbov2.wire._live import LivePlaces, PcmReader
from turbov2.wire._sockets import Socket
from turbov2.wire.native.live import parse_live, parse_said, render_live, render_live_error

SUBPROTOCOL = "turbov2.live"


class _Inputs:
    """What a client sends, as the engine takes it. Ends with the client's `end`."""

    def __init__(self, socket: Socket, idle_s: float, rate_hz: int) -> None:
        self._socket = socket
        self._idle_s = idle_s
        self._pcm = PcmReader(rate_hz)
        self._has_ended = False

    def __aiter__(self) -> _Inputs:
        return self

    async def __anext__(self) -> LiveInput:
        if self._has_ended:
            raise StopAsyncIteration
        message = await self._socket.receive(self._idle_s)
        if isinstance(message, bytes):
            return self._pcm.read(message)
        said = parse_said(message)
        self._has_ended = said is None
        return said or self._pcm.finish()


class LiveRoutes:
    """The handler, around one engine."""

    def __init__(self, engine: Engine, places: LivePlaces) -> None:
        self._engine = engine
        self._places = places

    async def live(self, request: Request) -> Response:
        """GET /api/transcribe/live. A WebSocket: samples of a microphone in, text as it is spoken out."""
        socket = request.open_socket
        asked = parse_live(Form(request.query()))
        await self._engine.check_transcribe(TranscribeRequest(asked.request.model, asked.request.options))
        with self._places.taken():
            await socket.accept(SUBPROTOCOL, render_live_error)
            inputs = _Inputs(socket, self._places.idle_s, asked.rate_hz)
            async with aclosing(self._engine.live(asked.request, inputs, request.context)) as events:
                async for event in events:
                    await socket.send(render_live(event))
        return SWITCHED


def live_routes(engine: Engine, places: LivePlaces) -> list[Route]:
    """Returns the route of live speech."""
    live = LiveRoutes(engine, places)
    return [
        Route("/api/transcribe/live", ("GET",), live.live, "native", is_unbounded=True, is_socket=True),
    ]
