"""A TCP relay before a server that keeps every byte a client sends, to see what unchanged clients say."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from types import TracebackType

import msgspec

_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding: *chunked\r\n", re.IGNORECASE)
_LAST_CHUNK = b"\r\n0\r\n\r\n"


class Sent(msgspec.Struct, frozen=True):
    """One request as it came: the request line with the headers, without the empty line, and the body."""

    head: bytes
    body: bytes

    @property
    def path(self) -> str:
        return self.head.split(b" ", 2)[1].decode()

    def header(self, name: str) -> str:
        """Returns the first header of this lower-case name, "" if there is none."""
        for line in self.head.split(b"\r\n")[1:]:
            key, _, value = line.partition(b":")
            if key.lower() == name.encode():
                return value.strip().decode("latin-1")
        return ""


class Recorder:
    """Listens on a port of its own and passes everything on to `port`, both ways, while entered."""

    def __init__(self, port: int) -> None:
        self._target = ("127.0.0.1", port)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._streams: list[bytearray] = []  # one a connection, in the order of their begin
        self.base_url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def __enter__(self) -> Recorder:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def requests(self) -> list[Sent]:
        """Returns the requests that have come whole, those of a connection in their order."""
        return [sent for stream in self._streams for sent in _requests(bytes(stream))]

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                stream = bytearray()
                self._streams.append(stream)
                threading.Thread(target=self._serve, args=(client, stream), daemon=True).start()

    def _serve(self, client: socket.socket, stream: bytearray) -> None:
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=_relay, args=(server, client, bytearray()), daemon=True)
            back.start()
            _relay(client, server, stream)
            back.join()


def _relay(source: socket.socket, target: socket.socket, kept: bytearray) -> None:
    """Returns when one side has closed; the other is then told."""
    with contextlib.suppress(OSError):
        while piece := source.recv(65536):
            kept += piece
            target.sendall(piece)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


def _requests(stream: bytes) -> list[Sent]:
    found = []
    while b"\r\n\r\n" in stream:
        head, rest = stream.split(b"\r\n\r\n", 1)
        n_bytes = _body_bytes(head + b"\r\n", rest)
        if n_bytes is None:
            break
        found.append(Sent(head, rest[:n_bytes]))
        stream = rest[n_bytes:]
    return found


def _body_bytes(head: bytes, rest: bytes) -> int | None:
    """Returns how many bytes of `rest` are the body, None while some are missing."""
    if _CHUNKED.search(head):
        end = rest.find(_LAST_CHUNK)
        return None if end < 0 else end + len(_LAST_CHUNK)
    declared = _LENGTH.search(head)
    n_bytes = int(declared[1]) if declared else 0
    return n_bytes if len(rest) >= n_bytes else None
