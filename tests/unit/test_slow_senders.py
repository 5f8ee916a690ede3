"""Requests that arrive too slowly, on a clock that jumps: the server's own limits, in no time."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
import uvicorn
from uvicorn.server import ServerState

from tests.support.clock import now_s, on_clock, settle
from turbov2.server.connection import BODY_PAUSE_S, HEAD_S, BoundedProtocol

HEAD = b"POST /api/embed HTTP/1.1\r\nhost: x\r\ncontent-length: 9\r\n\r\n"
WHOLE = HEAD + b"123456789"
IDLE_S = 75.0


class Wire(asyncio.Transport):
    """A connection's other end: what came out of it, and when it was closed."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = b""
        self.closed_s: float | None = None

    def write(self, data: bytes | bytearray | memoryview) -> None:
        self.sent += bytes(data)

    def close(self) -> None:
        self.closed_s = self.closed_s or now_s()

    def is_closing(self) -> bool:
        return self.closed_s is not None

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None: ...
    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Connection:
    """The server's side of one connection, whose application takes `answer_s` once it has the body."""

    def __init__(self, answer_s: float = 0.0, *, answers_first: bool = False) -> None:
        self.began_s = now_s()
        self.wire = Wire()
        self._answer_s = answer_s
        self._answers_first = answers_first
        config = uvicorn.Config(
            self._app, interface="asgi3", log_config=None, proxy_headers=False, timeout_keep_alive=int(IDLE_S)
        )
        self._state = ServerState()
        self._protocol = BoundedProtocol(config, self._state, {}, asyncio.get_running_loop())
        self._protocol.connection_made(self.wire)

    async def _app(self, scope: Any, receive: Any, send: Any) -> None:
        start = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"2")]}
        if self._answers_first:
            await send(start)
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            if not message.get("more_body"):
                break
        await asyncio.sleep(self._answer_s)
        if not self._answers_first:
            await send(start)
        await send({"type": "http.response.body", "body": b"ok"})

    async def says(self, data: bytes) -> None:
        self._protocol.data_received(data)
        await settle()

    async def is_silent_for(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await settle()

    async def hang_up(self) -> float | None:
        """Returns after how many seconds the server closed; None if it did not."""
        closed_s = self.wire.closed_s
        self._protocol.connection_lost(None)
        await asyncio.gather(*self._state.tasks)
        return None if closed_s is None else closed_s - self.began_s

    def answers(self) -> list[tuple[int, bytes]]:
        return list(_answers(self.wire.sent))


def _answers(sent: bytes) -> Iterator[tuple[int, bytes]]:
    """Yields status and body of each answer, after checking that nothing else was sent."""
    while sent:
        head, _, rest = sent.partition(b"\r\n\r\n")
        status, *headers = head.split(b"\r\n")
        fields = dict(header.lower().split(b": ") for header in headers)
        length = int(fields[b"content-length"])
        yield int(status.split()[1]), rest[:length]
        sent = rest[length:]


def assert_told(connection: Connection) -> None:
    """Raises: AssertionError unless the last answer is a whole 408."""
    status, body = connection.answers()[-1]
    assert status == 408
    assert json.loads(body) == {"error": "the request did not arrive within 30 seconds"}
    assert b"connection: close" in connection.wire.sent


@on_clock
async def test_a_connection_that_says_nothing_is_closed_without_an_answer() -> None:
    connection = Connection()
    await connection.is_silent_for(2 * HEAD_S)
    assert await connection.hang_up() == HEAD_S
    assert connection.wire.sent == b""


@on_clock
async def test_half_a_head_is_answered_408() -> None:
    connection = Connection()
    await connection.says(HEAD[:20])
    await connection.is_silent_for(2 * HEAD_S)
    assert_told(connection)
    assert await connection.hang_up() == HEAD_S


@on_clock
async def test_a_head_that_trickles_has_no_longer_than_one_that_stops() -> None:
    connection = Connection()
    for byte in HEAD[:40]:
        await connection.says(bytes([byte]))
        await connection.is_silent_for(1.0)
        if connection.wire.is_closing():
            break
    assert_told(connection)
    assert await connection.hang_up() == HEAD_S


@on_clock
async def test_a_body_may_take_long_but_not_pause_long() -> None:
    connection = Connection()
    await connection.says(HEAD)
    for byte in b"12345":
        await connection.is_silent_for(BODY_PAUSE_S - 1)
        await connection.says(bytes([byte]))
    assert not connection.wire.is_closing()
    await connection.is_silent_for(2 * BODY_PAUSE_S)
    assert_told(connection)
    assert await connection.hang_up() == 5 * (BODY_PAUSE_S - 1) + BODY_PAUSE_S


@on_clock
async def test_a_body_that_stops_after_the_answer_began_is_cut_without_another() -> None:
    connection = Connection(answers_first=True)
    await connection.says(HEAD)
    await connection.is_silent_for(2 * BODY_PAUSE_S)
    assert connection.wire.sent.startswith(b"HTTP/1.1 200 OK")
    assert b"408" not in connection.wire.sent
    assert await connection.hang_up() == BODY_PAUSE_S


@on_clock
async def test_an_answer_may_take_as_long_as_it_likes() -> None:
    connection = Connection(answer_s=10 * HEAD_S)
    await connection.says(WHOLE)
    await connection.is_silent_for(10 * HEAD_S)
    assert connection.answers() == [(200, b"ok")]
    assert await connection.hang_up() is None


@on_clock
async def test_a_kept_connection_idles_until_its_own_limit() -> None:
    connection = Connection()
    await connection.says(WHOLE)
    await connection.is_silent_for(IDLE_S - 1)
    assert not connection.wire.is_closing()
    await connection.says(WHOLE)
    await connection.is_silent_for(2 * IDLE_S)
    assert connection.answers() == [(200, b"ok")] * 2
    assert await connection.hang_up() == IDLE_S - 1 + IDLE_S


@pytest.mark.parametrize("n_bytes", [1, 30, len(HEAD) - 1])
def test_the_second_request_of_a_connection_has_the_same_limits(n_bytes: int) -> None:
    @on_clock
    async def check() -> None:
        connection = Connection()
        await connection.says(WHOLE)
        await connection.is_silent_for(10.0)
        await connection.says(HEAD[:n_bytes])
        await connection.is_silent_for(2 * HEAD_S)
        assert connection.answers()[0] == (200, b"ok")
        assert_told(connection)
        assert await connection.hang_up() == 10.0 + HEAD_S

    check()


@on_clock
async def test_a_request_in_many_pieces_is_answered() -> None:
    connection = Connection()
    for byte in WHOLE + WHOLE:
        await connection.says(bytes([byte]))
        await connection.is_silent_for(0.1)
    assert connection.answers() == [(200, b"ok")] * 2
    assert await connection.hang_up() is None
