"""HTTP to a server on this machine, which serves us alone."""

from __future__ import annotations

import contextlib
import http.client
import queue
import socket
import threading
import time
from collections.abc import Generator, Mapping
from typing import Any

import msgspec

Address = str | int  # a socket's path, or a port of this machine

_LOOPBACK = "127.0.0.1"
_LOOK_S = 0.05  # for whoever reads an answer, to see whether anybody still waits for it
_SILENCE_S = 600.0  # a whole context, read on a slow machine, takes minutes


class Connection(http.client.HTTPConnection):
    """One connection, for one request. key: sent as a bearer token, unless it is empty."""

    def __init__(self, address: Address, key: str = "") -> None:
        super().__init__("localhost")
        self._address = address
        self._key = key
        self._socket: socket.socket | None = None  # `sock` is given up as soon as an answer has begun

    def connect(self) -> None:
        """Raises: OSError."""
        if isinstance(self._address, int):
            self.sock = self._socket = socket.create_connection((_LOOPBACK, self._address))
            return
        self.sock = self._socket = socket.socket(socket.AF_UNIX)
        self.sock.connect(self._address)

    def post(self, route: str, body: Mapping[str, Any]) -> http.client.HTTPResponse:
        """Returns the head of the answer. Raises: OSError, HTTPException."""
        headers = {"Content-Type": "application/json"}
        if self._key:
            headers["Authorization"] = f"Bearer {self._key}"
        self.request("POST", route, msgspec.json.encode(body), headers)
        return self.getresponse()

    def is_well(self, route: str = "/health") -> bool:
        """Returns whether somebody is there who says so."""
        try:
            self.request("GET", route)
            return self.getresponse().status == http.client.OK
        except (OSError, http.client.HTTPException):
            return False

    def end(self) -> None:
        """Afterwards whoever reads the answer, in any thread, is told that it is over."""
        if self._socket is not None:
            with contextlib.suppress(OSError):
                self._socket.shutdown(socket.SHUT_RDWR)


def heard(connection: Connection, response: http.client.HTTPResponse) -> Generator[bytes, None, None]:
    """Yields an answer's lines as they come, and b"" while there is none: whoever reads may look about then.

    Closing the iterator ends the answer. Raises: TimeoutError after ten minutes of silence; OSError and
    HTTPException for an answer that broke off.
    """
    lines: queue.SimpleQueue[bytes | Exception | None] = queue.SimpleQueue()
    reading = threading.Thread(target=_read, args=(response, lines), name="answer", daemon=True)
    reading.start()
    last_s = time.monotonic()
    try:
        while (line := _next(lines)) is not None:
            if line:
                last_s = time.monotonic()
            elif time.monotonic() - last_s > _SILENCE_S:
                raise TimeoutError
            yield line
    finally:
        connection.end()
        reading.join()


def free_port() -> int:
    """Returns a port of this machine that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind((_LOOPBACK, 0))
        return int(probe.getsockname()[1])


def _read(response: http.client.HTTPResponse, lines: queue.SimpleQueue[bytes | Exception | None]) -> None:
    """Puts each line, and at the end None, or what went wrong."""
    try:
        for line in response:
            lines.put(line)
        lines.put(None)
    except (OSError, http.client.HTTPException, ValueError) as error:
        lines.put(error)


def _next(lines: queue.SimpleQueue[bytes | Exception | None]) -> bytes | None:
    """Returns the next line, b"" if none comes at once; None at the end. Raises: what went wrong."""
    try:
        line = lines.get(timeout=_LOOK_S)
    except queue.Empty:
        return b""
    if isinstance(line, Exception):
        raise line
    return line
