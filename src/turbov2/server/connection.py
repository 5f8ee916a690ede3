"""One connection, of HTTP or a WebSocket: uvicorn's, with bounds on what it may bring and how slowly."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

MAX_HEAD_BYTES = 65_536  # request line and headers together; Claude Code sends 16 KB of them
HEAD_S = 30.0  # from a request's first byte to the end of its head
BODY_PAUSE_S = 30.0  # between two pieces of a body
MAX_MESSAGE_BYTES = 4 << 20  # of a WebSocket: two minutes of sound at once
MAX_FRAGMENTS = 1024  # that a message may come in
LINGER_S = 10.0  # for what was sent last to be read
MAX_UNREAD_BYTES = 1 << 20  # of answers to pings, which nothing else bounds
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json; charset=utf-8\r\n"
    b'content-length: 54\r\nconnection: close\r\n\r\n{"error":"the request head has more than 65536 bytes"}'
)
_TOO_SLOW = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: application/json; charset=utf-8\r\n"
    b'content-length: 56\r\nconnection: close\r\n\r\n{"error":"the request did not arrive within 30 seconds"}'
)


class BoundedProtocol(HttpToolsProtocol):
    """Answers 431 to a head past the limit, which the parser itself would gather for ever, and 408 to a
    request that arrives too slowly, which would hold its connection for ever.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._is_in_body = False
        self._n_head_bytes = 0
        self._patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        """Called by the loop. A connection that says nothing at all has no longer than a head."""
        super().connection_made(transport)
        self._be_patient(HEAD_S)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop."""
        self._lose_patience()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what arrived."""
        if self._is_in_head:
            self._n_head_bytes += len(data)
        if self._is_in_body:
            self._lose_patience()
        super().data_received(data)
        if self._is_in_head and self._n_head_bytes > MAX_HEAD_BYTES:
            self._refuse(_TOO_LARGE)
        elif self._patience is None and (self._is_in_body or (self._is_in_head and self._n_head_bytes)):
            self._be_patient(BODY_PAUSE_S if self._is_in_body else HEAD_S)

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        self._is_in_head = True
        # On a kept connection its first bytes came while no head was being read, and were not counted.
        self._n_head_bytes = max(self._n_head_bytes, 1)
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser after the empty line."""
        self._is_in_head = False
        self._is_in_body = True
        self._n_head_bytes = 0
        self._lose_patience()
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Called by the parser after the body's last byte."""
        self._is_in_body = False
        self._lose_patience()
        super().on_message_complete()

    def _be_patient(self, seconds: float) -> None:
        self._patience = self.loop.call_later(seconds, self._refuse, _TOO_SLOW)

    def _lose_patience(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
            self._patience = None

    def _refuse(self, answer: bytes) -> None:
        self._patience = None
        if self.transport.is_closing():
            return
        is_silent = self._is_in_head and not self._n_head_bytes  # as a browser's spare connection
        is_answered = self._is_in_body and self.cycle.response_started
        if not is_silent and not is_answered:
            self.transport.write(answer)
        self.transport.close()


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Answers handshakes that cannot be read, which would wait for ever; ends messages of endless fragments;
    lets who sent what nobody should read why; and drops who does not read the last words, or sends pings and
    reads none of the answers.
    """

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what arrived."""
        super().data_received(data)
        if not self.handshake_initiated and self.conn.handshake_exc is not None:
            self.transport.write(b"".join(self.conn.data_to_send()))
            self.transport.close()

    def handle_cont(self, event: Any) -> None:
        """Called with a part of a message that is not its first."""
        if len(self.frames) >= MAX_FRAGMENTS:
            self._refuse(1009, "too many fragments")
            return
        super().handle_cont(event)

    def handle_ping(self) -> None:
        """Called with a ping."""
        super().handle_ping()
        if self.transport.get_write_buffer_size() > MAX_UNREAD_BYTES:
            self.transport.abort()

    def send_receive_event_to_app(self) -> None:
        """Called with a whole message."""
        if self.curr_msg_data_type == "text" and not _is_text(b"".join(self.frames)):
            self._refuse(1007, "text is not UTF-8")
            return
        super().send_receive_event_to_app()

    def handle_parser_exception(self) -> None:
        """Called with each piece that comes, once one could not be read.

        Closing at once, while more arrives, would reset the connection before its client reads why.
        """
        if self.close_sent:
            return
        close = self.conn.close_sent
        code = 1002 if close is None else close.code
        self.queue.put_nowait({"type": "websocket.disconnect", "code": code, "reason": ""})
        self.transport.write(b"".join(self.conn.data_to_send()))
        self.close_sent = True
        self.close_timer = self.loop.call_later(LINGER_S, self.transport.close)

    def _refuse(self, code: int, reason: str) -> None:
        self.frames = []
        self.conn.fail(code, reason)
        self.handle_parser_exception()

    def on_task_complete(self, task: asyncio.Task[None]) -> None:
        """Called once the application has said all it has to say."""
        super().on_task_complete(task)
        self.loop.call_later(LINGER_S, self.transport.abort)


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True
