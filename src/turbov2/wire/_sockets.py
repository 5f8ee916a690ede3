"""A WebSocket, straight on ASGI: messages in and out, in bounds, and how it ends."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from collections.abc import Awaitable, Callable, MutableMapping, Sequence
from typing import Any

from turbov2.errors import (
    CapacityError,
    DeadlineExceeded,
    MediaTooLarge,
    RequestError,
    Stopping,
    TurboError,
)

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

MAX_WAITING_BYTES = 2 << 20  # of messages that nobody took yet: a minute of sound
_MESSAGE_BYTES = 128  # that one takes beside its content
SEND_S = 30.0  # for a client to read on
_WELL_CLOSED = (1000, 1001)


class Disconnected(Exception):
    """The client left before its request was complete."""


class Socket:
    """One WebSocket. `on_leave` is called, once, when the client is gone, or does not read what it is sent.

    What arrives is taken ahead, up to a bound, so that a client that leaves is noticed while others have
    their turn; beyond it nothing is read, and the sender has to wait.
    """

    def __init__(
        self, receive: Receive, send: Send, on_leave: Callable[[], None], subprotocols: Sequence[str]
    ) -> None:
        self._receive = receive
        self._send = send
        self._on_leave = on_leave
        self._subprotocols = subprotocols
        self._render_error: Callable[[TurboError], str] = str
        self._waiting: deque[str | bytes] = deque()
        self._n_waiting_bytes = 0
        self._news = asyncio.Event()
        self._room = asyncio.Event()
        self._pump: asyncio.Task[None] | None = None
        self._is_closed = False
        self.n_bytes_sent = 0
        self.was_closed_well = False  # by the client

    @property
    def is_accepted(self) -> bool:
        """Whether errors can no longer be answered by a status."""
        return self._pump is not None

    async def accept(self, subprotocol: str, render_error: Callable[[TurboError], str]) -> None:
        """Afterwards messages come and go. `subprotocol` is agreed on if the client offered it."""
        agreed = subprotocol if subprotocol in self._subprotocols else None
        await self._send({"type": "websocket.accept", "subprotocol": agreed})
        self._render_error = render_error
        self._pump = asyncio.create_task(self._take_ahead(), name="receive messages")

    async def receive(self, idle_s: float) -> str | bytes:
        """Returns the next message. Raises: DeadlineExceeded when none comes for so long."""
        try:
            async with asyncio.timeout(idle_s):
                while not self._waiting:
                    self._news.clear()
                    await self._news.wait()
        except TimeoutError:
            raise DeadlineExceeded(f"no message came for {idle_s:g} s; begin another session") from None
        message = self._waiting.popleft()
        self._n_waiting_bytes -= len(message) + _MESSAGE_BYTES
        self._room.set()
        return message

    async def send(self, text: str) -> None:
        """Returns once the message is on its way. Raises: Disconnected."""
        try:
            async with asyncio.timeout(SEND_S):
                await self._send({"type": "websocket.send", "text": text})
        except (OSError, TimeoutError):
            if self._pump is not None:
                self._pump.cancel()
            self._on_leave()
            raise Disconnected from None
        self.n_bytes_sent += len(text)

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Afterwards no message comes or goes."""
        if self._is_closed or self._pump is None:
            return
        self._is_closed = True
        self._pump.cancel()
        with contextlib.suppress(OSError, RuntimeError, TimeoutError):
            async with asyncio.timeout(SEND_S):
                await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def fail(self, error: TurboError) -> None:
        """Afterwards the client was told of the error, and the socket is closed."""
        if not self._is_closed:
            with contextlib.suppress(Disconnected):
                await self.send(self._render_error(error))
        await self.close(close_code_of(error), error.code)

    async def _take_ahead(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                self.was_closed_well = message.get("code") in _WELL_CLOSED
                self._is_closed = True
                self._on_leave()
                return
            text = message.get("text")
            taken: str | bytes = message["bytes"] if text is None else text
            if taken == b"":
                continue  # is no sign of life
            self._waiting.append(taken)
            self._n_waiting_bytes += len(taken) + _MESSAGE_BYTES
            self._news.set()
            while self._n_waiting_bytes > MAX_WAITING_BYTES:
                self._room.clear()
                await self._room.wait()


def close_code_of(error: TurboError) -> int:
    """Returns the code of RFC 6455, or of IANA's list, that says most of an error."""
    if isinstance(error, Stopping):
        return 1001
    if isinstance(error, MediaTooLarge):
        return 1009
    if isinstance(error, RequestError | DeadlineExceeded):
        return 1008
    return 1013 if isinstance(error, CapacityError) else 1011
