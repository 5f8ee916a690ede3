"""One HTTP connection: uvicorn's, with a bound on the size of a request's head."""

from __future__ import annotations

from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = 65_536  # request line and headers together; Claude Code sends 16 KB of them
_TOO_LARGE = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: application/json; charset=utf-8\r\n"
    b'content-length: 54\r\nconnection: close\r\n\r\n{"error":"the request head has more than 65536 bytes"}'
)


class BoundedHeadProtocol(HttpToolsProtocol):
    """Answers 431 and closes when the head passes the limit: the parser itself would gather it for ever."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._is_in_head = True
        self._n_head_bytes = 0

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what arrived."""
        if self._is_in_head:
            self._n_head_bytes += len(data)
        super().data_received(data)
        if self._is_in_head and self._n_head_bytes > MAX_HEAD_BYTES and not self.transport.is_closing():
            self.transport.write(_TOO_LARGE)
            self.transport.close()

    def on_message_begin(self) -> None:
        """Called by the parser at a request's first byte."""
        self._is_in_head = True
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        """Called by the parser after the empty line."""
        self._is_in_head = False
        self._n_head_bytes = 0
        super().on_headers_complete()
