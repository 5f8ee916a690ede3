"""An HTTP/1.1 client that is cheap enough for two shared cores: httptools on uvloop, requests encoded before.

Unlike `bench.load` it takes every answer as it comes: refusals and broken connections are results here.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import Callable, Coroutine
from typing import Any, NamedTuple, TypeVar

import httptools
import uvloop

T = TypeVar("T")
REFUSALS = (429, 503)
_NO_ANSWER = 0


class Answer(NamedTuple):
    """What came back. `status` is 0 when the connection ended without an answer, or this client left."""

    status: int
    retry_after_s: float | None = None
    body: bytes = b""
    has_left: bool = False

    @property
    def is_refusal(self) -> bool:
        """Whether the server said that it is busy and when to come back."""
        return self.status in REFUSALS and self.retry_after_s is not None


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request under way."""

    def __init__(self) -> None:
        self.is_open = False
        self._transport: Any = None
        self._on_answer: Callable[[Answer], None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._retry_after_s: float | None = None
        self._body: list[bytes] = []

    def send(self, request: bytes, on_answer: Callable[[Answer], None]) -> None:
        """Afterwards the request is on its way, and `on_answer` is called once."""
        self._on_answer = on_answer
        self._transport.write(request)

    def close(self) -> None:
        """Afterwards the server sees that this client has left; a request under way gets no answer."""
        self._on_answer = None
        self._transport.close()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the event loop."""
        self._transport = transport
        self.is_open = True

    def connection_lost(self, error: Exception | None) -> None:
        """Called by the event loop."""
        self.is_open = False
        self._answer(Answer(_NO_ANSWER, body=b"the connection ended"))

    def data_received(self, received: bytes) -> None:
        """Called by the event loop."""
        self._parser.feed_data(received)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Called by the parser."""
        if name.lower() == b"retry-after":
            self._retry_after_s = float(value)

    def on_body(self, piece: bytes) -> None:
        """Called by the parser."""
        self._body.append(piece)

    def on_message_complete(self) -> None:
        """Called by the parser."""
        answer = Answer(self._parser.get_status_code(), self._retry_after_s, b"".join(self._body))
        self._retry_after_s, self._body = None, []
        self.is_open &= self._parser.should_keep_alive()
        self._answer(answer)

    def _answer(self, answer: Answer) -> None:
        if (on_answer := self._on_answer) is not None:
            self._on_answer = None
            on_answer(answer)


class Pool:
    """Connections to one server, the longest unused first, so that none is idle until the server drops it."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._idle: deque[Connection] = deque()

    async def open(self, n_connections: int) -> None:
        """Afterwards so many more connections wait for requests."""
        for _ in range(n_connections):
            self._idle.append(await self._connect())

    def take(self) -> Connection | None:
        """Returns an idle connection, or None when all are busy."""
        while self._idle:
            if (connection := self._idle.popleft()).is_open:
                return connection
        return None

    def give_back(self, connection: Connection) -> None:
        """Afterwards the next request may use the connection."""
        if connection.is_open:
            self._idle.append(connection)

    async def ask(self, request: bytes, leaves_after_s: float) -> Answer:
        """Returns the answer; the client leaves after `leaves_after_s`, which is an answer of status 0."""
        try:
            connection = self.take() or await self._connect()
        except OSError:
            return Answer(_NO_ANSWER, body=b"no connection")
        answered: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        connection.send(request, answered.set_result)
        await asyncio.wait([answered], timeout=leaves_after_s)
        if not answered.done():
            connection.close()
            return Answer(_NO_ANSWER, body=b"no answer in time", has_left=True)
        self.give_back(connection)
        return answered.result()

    def close(self) -> None:
        """Afterwards the idle connections are closed."""
        while self._idle:
            self._idle.pop().close()

    async def _connect(self) -> Connection:
        loop = asyncio.get_running_loop()
        return (await loop.create_connection(Connection, "127.0.0.1", self._port))[1]


def run(main: Coroutine[Any, Any, T]) -> T:
    """Returns what `main` returns, run on uvloop."""
    gc.collect()
    gc.freeze()  # texts and prepared requests: no collection while the clock runs need look at them
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(main)
