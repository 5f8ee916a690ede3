"""The smallest request and response that every family needs, straight on ASGI."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import (
    AsyncGenerator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
)
from typing import Literal
from urllib.parse import parse_qs

import msgspec

from turbov2.errors import BodyTooLarge
from turbov2.types import Context
from turbov2.wire._sockets import Disconnected, Receive, Scope, Send, Socket

__all__ = ["Disconnected", "Receive", "Scope", "Send"]

Family = Literal["ollama", "openai", "anthropic", "cohere", "tei", "native"]

JSON = b"application/json; charset=utf-8"
NDJSON = b"application/x-ndjson"
TEXT = b"text/plain; charset=utf-8"

_FEWER_INPUTS = "send fewer inputs per request or raise TURBOV2_MAX_BODY"
_FEWER_BYTES = "send a shorter file, or one of fewer bits a second, or raise TURBOV2_AUDIO_MAX_UPLOAD"


class Limits(msgspec.Struct, frozen=True):
    """What one request may bring."""

    max_body_bytes: int
    max_texts: int
    max_text_chars: int
    max_upload_bytes: int  # of a body that goes to a disk


class Request:
    """One HTTP request. The server sets `route`, `path_rest` (what followed a prefix route) and `family`.

    `family` shapes the errors. A handler may change it where only the body tells whose client is calling.
    """

    __slots__ = (
        "_receive",
        "context",
        "family",
        "limits",
        "on_read",
        "path_rest",
        "route",
        "scope",
        "socket",
    )

    def __init__(
        self,
        scope: Scope,
        receive: Receive,
        context: Context,
        limits: Limits,
        on_read: Callable[[], None],
        socket: Socket | None = None,
    ) -> None:
        self.scope = scope
        self.context = context
        self.limits = limits
        self.route: Route | None = None
        self.path_rest = ""
        self.family: Family = "native"
        self.on_read = on_read  # called once the whole body has arrived
        self.socket = socket  # of a route that is one
        self._receive = receive

    @property
    def open_socket(self) -> Socket:
        """The WebSocket of a route that is one."""
        assert self.socket is not None, "the server checks that the route's requests are. This is a bug."
        return self.socket

    def header(self, name: bytes) -> bytes | None:
        """Returns the first header of this lower-case name."""
        for key, value in self.scope["headers"]:
            if key == name:
                return bytes(value)
        return None

    def query(self) -> dict[str, str]:
        """Returns the query parameters, the last of each name."""
        return {
            name: values[-1]
            for name, values in parse_qs(self.scope["query_string"].decode("latin-1")).items()
        }

    async def body(self) -> bytes:
        """Returns the whole body. Raises: BodyTooLarge as soon as it is known, Disconnected."""
        self._check_declared_length(self.limits.max_body_bytes, _FEWER_INPUTS)
        message = await self._receive()
        if message["type"] == "http.disconnect":
            raise Disconnected
        if not message.get("more_body"):
            self.on_read()
            return self._within_limit(message.get("body", b""))
        received = bytearray(message["body"])
        while message.get("more_body"):
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            received += message.get("body", b"")
            self._within_limit(received)
        self.on_read()
        return bytes(received)

    async def pieces(self) -> AsyncGenerator[bytes, None]:
        """Yields the body as it arrives, of at most `limits.max_upload_bytes`.

        Raises: BodyTooLarge as soon as it is known, Disconnected.
        """
        most, fix = self.limits.max_upload_bytes, _FEWER_BYTES
        self._check_declared_length(most, fix)
        n_bytes, has_more = 0, True
        while has_more:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise Disconnected
            piece = message.get("body", b"")
            n_bytes += len(piece)
            if n_bytes > most:
                raise _too_large(f"more than {most} bytes", most, fix)
            has_more = message.get("more_body", False)
            if not has_more:
                self.on_read()
            yield piece

    def _check_declared_length(self, most: int, fix: str) -> None:
        declared = self.header(b"content-length")
        if declared is not None and declared.isdigit() and int(declared) > most:
            raise _too_large(f"{int(declared)} bytes", most, fix)

    def _within_limit(self, body: bytes | bytearray) -> bytes:
        most = self.limits.max_body_bytes
        if len(body) > most:
            raise _too_large(f"more than {most} bytes", most, _FEWER_INPUTS)
        return body  # type: ignore[return-value]


def _too_large(size: str, most: int, fix: str) -> BodyTooLarge:
    return BodyTooLarge(f"the request body has {size}, the limit is {most}; {fix}")


class Response(msgspec.Struct):
    """What to answer. Pieces are made and sent one by one; an async body is a stream of frames."""

    body: bytes | Iterator[bytes] | AsyncGenerator[bytes, None]
    status: int = 200
    media_type: bytes = JSON
    headers: Iterable[tuple[bytes, bytes]] = ()


Handler = Callable[[Request], Awaitable[Response]]


class Route(msgspec.Struct, frozen=True):
    """A path (or, ending in "/", a prefix) with its methods. HEAD follows GET by itself."""

    path: str
    methods: tuple[str, ...]
    handler: Handler
    family: Family
    is_unbounded: bool = False  # as a pull: the server's own time limit does not apply
    is_socket: bool = False  # a WebSocket; its handler returns SWITCHED once it was accepted and is done


SWITCHED = Response(b"", status=101)


async def send_response(
    send: Send, response: Response, extra: list[tuple[bytes, bytes]], is_head: bool
) -> int:
    """Returns the number of body bytes sent."""
    body = response.body
    headers = [(b"content-type", response.media_type), *response.headers, *extra]
    if isinstance(body, bytes):
        headers.append((b"content-length", b"%d" % len(body)))
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if is_head else body})
        return len(body)
    if isinstance(body, Iterator):
        return await _send_pieces(send, response.status, headers, body)
    return await _send_stream(send, response.status, headers, body)


async def _send_pieces(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], pieces: Iterator[bytes]
) -> int:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    n_bytes = 0
    for piece in pieces:
        n_bytes += len(piece)
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        await asyncio.sleep(0)  # each piece took a while to make: let others run
    await send({"type": "http.response.body", "body": b""})
    return n_bytes


async def _send_stream(
    send: Send, status: int, headers: list[tuple[bytes, bytes]], frames: AsyncGenerator[bytes, None]
) -> int:
    # Proxies must pass each frame on at once; X-Accel-Buffering is nginx's switch for that.
    headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    n_bytes = 0
    # A client that leaves while a frame is sent ends the work behind it.
    async with contextlib.aclosing(frames):
        async for frame in frames:
            n_bytes += len(frame)
            await send({"type": "http.response.body", "body": frame, "more_body": True})
    await send({"type": "http.response.body", "body": b""})
    return n_bytes
