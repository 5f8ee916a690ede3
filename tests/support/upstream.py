"""A server of OpenAI's API that says just what a test tells it to, byte by byte."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any

Write = Callable[[bytes], Awaitable[None]]
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n"
DONE = b"data: [DONE]\n\n"


class Request:
    """One request as it came."""

    def __init__(self, head: bytes, body: bytes) -> None:
        self.path = head.split(b" ")[1].decode()
        lines = head.decode("latin-1").split("\r\n")[1:]
        self.headers = {name.lower(): value.strip() for name, _, value in (x.partition(":") for x in lines)}
        self.json: dict[str, Any] = json.loads(body)


class Upstream:
    """Answers each connection's request as `says` does. left: set once a client hung up before the end."""

    def __init__(self, says: Callable[[int, Write], Awaitable[None]]) -> None:
        self._says = says
        self.requests: list[Request] = []
        self.left = asyncio.Event()
        self.port = 0
        self._handling: set[asyncio.Task[None]] = set()

    @property
    def base_url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    async def close(self) -> None:
        """Afterwards no connection is open."""
        for task in self._handling:
            task.cancel()
        await asyncio.gather(*self._handling, return_exceptions=True)

    async def handle(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._handling.add(task)
        try:
            await self._answer(reader, writer)
        finally:
            if self.left.is_set():
                writer.transport.abort()  # nobody reads what still waits
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        async def write(said: bytes) -> None:
            writer.write(said)
            await writer.drain()

        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            n_bytes = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
            self.requests.append(Request(head, await reader.readexactly(n_bytes)))
            saying = asyncio.ensure_future(self._says(len(self.requests), write))
            leaving = asyncio.ensure_future(reader.read(1))
            await asyncio.wait({saying, leaving}, return_when=asyncio.FIRST_COMPLETED)
            if leaving.done():
                self.left.set()
            for each in (saying, leaving):
                each.cancel()
            await asyncio.gather(saying, leaving, return_exceptions=True)


@contextlib.asynccontextmanager
async def upstream(says: Callable[[int, Write], Awaitable[None]]) -> AsyncGenerator[Upstream]:
    """Gives a server that answers by `says(number of the request, write)`."""
    one = Upstream(says)
    server = await asyncio.start_server(one.handle, "127.0.0.1", 0)
    one.port = server.sockets[0].getsockname()[1]
    try:
        yield one
    finally:
        server.close()
        await one.close()


def chunk(delta: dict[str, Any] | None = None, reason: str | None = None, **beside: Any) -> bytes:
    """Returns the event of one chunk."""
    choice = {"index": 0, "delta": delta or {}, "finish_reason": reason}
    return event({"object": "chat.completion.chunk", "choices": [choice], **beside})


def event(told: Any) -> bytes:
    return b"data: " + json.dumps(told).encode() + b"\n\n"


def plain(status: str, body: Any = None, *headers: str) -> bytes:
    """Returns a whole answer of JSON."""
    packed = json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"content-length: {len(packed)}", "connection: close", *headers]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + packed
