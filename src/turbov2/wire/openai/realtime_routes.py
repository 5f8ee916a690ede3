"""OpenAI's realtime sessions that transcribe, over a WebSocket."""

from __future__ import annotations

import asyncio
from contextlib import aclosing

from turbov2.engine.protocol import Engine
from turbov2.errors import InvalidRequest, NotSupported, Stopping, TurboError
from turbov2.types import LiveClear, LiveCommit, LiveInput, LiveUpdate, TranscribeRequest
from turbov2.wire._http import SWITCHED, Request, Response
from turbov2.wire._live import LivePlaces, PcmReader
from turbov2.wire._sockets import Socket
from turbov2.wire.openai.realtime import (
    UPDATES,
    Config,
    Said,
    parse_event,
    parse_sound,
    parse_update,
    render_session,
)
from turbov2.wire.openai.realtime_events import Told

_SUBPROTOCOL = "realtime"
_RETRY_S = 5.0
_BETA_HEADER = b"openai-beta"
_BETA_SUBPROTOCOL = "openai-beta.realtime-v1"


class _Inputs:
    """What a client sends, as the engine takes it. What is wrong with an event is told, and it goes on.

    Until there is sound the model may change; `begun` waits for that.
    """

    def __init__(self, engine: Engine, socket: Socket, told: Told, config: Config, idle_s: float) -> None:
        self.config = config
        self._engine = engine
        self._socket = socket
        self._told = told
        self._idle_s = idle_s
        self._pcm: PcmReader | None = None
        self._first: LiveInput | None = None

    async def begun(self) -> None:
        """Returns once there is something to be done. Raises: Stopping when the server stops before that."""
        first = asyncio.ensure_future(self.__anext__())
        stopping = asyncio.ensure_future(self._engine.stopping())
        try:
            await asyncio.wait({first, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                raise Stopping("the server is stopping; begin the session again", retry_after_s=_RETRY_S)
            self._first = first.result()
        finally:
            first.cancel()
            stopping.cancel()

    def __aiter__(self) -> _Inputs:
        return self

    async def __anext__(self) -> LiveInput:
        if self._first is not None:
            first, self._first = self._first, None
            return first
        while True:
            message = await self._socket.receive(self._idle_s)
            event_id = None
            try:
                said = parse_event(message)
                event_id = said.event_id
                found = await self._understand(said)
            except TurboError as error:
                await self._socket.send(self._told.error(error, event_id))
                continue
            if found is not None:
                return found

    async def _understand(self, said: Said) -> LiveInput | None:
        """Returns what the engine is to know of an event. Raises: TurboError, to be told."""
        if said.type in UPDATES:
            return await self._update(said)
        if said.type == "input_audio_buffer.append":
            sound = parse_sound(said)
            self._pcm = self._pcm or PcmReader(self.config.rate_hz)
            return self._pcm.read(sound)
        if said.type == "input_audio_buffer.commit":
            return LiveCommit()
        if said.type == "input_audio_buffer.clear":
            return LiveClear()
        raise NotSupported(
            f"events of type {said.type[:60]!r} are not known to a session that transcribes", param="type"
        )

    async def _update(self, said: Said) -> LiveInput | None:
        config = parse_update(self.config, said)
        if self._pcm is not None and (config.model, config.rate_hz) != (
            self.config.model,
            self.config.rate_hz,
        ):
            raise InvalidRequest(
                "model and format cannot change once there was sound; begin a session with them"
            )
        if config.model != self.config.model:
            await self._engine.check_transcribe(TranscribeRequest(config.model))
        self.config = config
        self._told.is_manual = config.turns is None
        is_beta = said.type == UPDATES[1]
        session = render_session(config, self._told.session_id, is_beta=is_beta)
        await self._socket.send(self._told.event(f"{said.type}d", session=session))
        return None if self._pcm is None else LiveUpdate(config.request())


class RealtimeRoutes:
    """The handler, around one engine."""

    def __init__(self, engine: Engine, places: LivePlaces) -> None:
        self._engine = engine
        self._places = places

    async def realtime(self, request: Request) -> Response:
        """GET /v1/realtime. A WebSocket, with `intent=transcription`: sound in, text as it is spoken out."""
        socket, query = request.open_socket, request.query()
        if query.get("intent") != "transcription":
            raise NotSupported(
                "realtime sessions that answer are not here, only those that transcribe; add "
                "?intent=transcription",
                param="intent",
            )
        config = Config(model=query.get("model") or Config().model)
        if "model" in query:
            await self._engine.check_transcribe(TranscribeRequest(config.model))
        with self._places.taken():
            await self._converse(request, socket, config)
        return SWITCHED

    async def _converse(self, request: Request, socket: Socket, config: Config) -> None:
        told = Told()
        await socket.accept(_SUBPROTOCOL, told.error)
        is_beta = _is_beta(request)
        session = render_session(config, told.session_id, is_beta=is_beta)
        kind = "transcription_session" if is_beta else "session"
        await socket.send(told.event(f"{kind}.created", session=session))
        inputs = _Inputs(self._engine, socket, told, config, self._places.idle_s)
        await inputs.begun()
        live = self._engine.live(inputs.config.request(), inputs, request.context)
        async with aclosing(live) as events:
            async for event in events:
                for text in told.render(event):
                    await socket.send(text)


def _is_beta(request: Request) -> bool:
    header = request.header(_BETA_HEADER) or b""
    return header.startswith(b"realtime") or _BETA_SUBPROTOCOL in request.scope["subprotocols"]
