"""Clients that speak into a WebSocket as a microphone does: a frame of samples after the other."""

from __future__ import annotations

import base64
import contextlib
import json
import socket
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.support.ears import RATE_HZ
from tests.support.server import RunningServer

Samples = NDArray[np.int16]
FRAME_S = 0.05
DEADLINE_S = 20.0


def tones(n_seconds: int, silent: tuple[int, ...] = ()) -> Samples:
    """Returns a tone in every second but the silent ones: the samples of `ears.recording`."""
    t = np.arange(n_seconds * RATE_HZ)
    sound = (3000 * np.sin(2 * np.pi * 300 * t / RATE_HZ)).astype(np.int16)
    for second in silent:
        sound[second * RATE_HZ : (second + 1) * RATE_HZ] = 0
    return sound


class Mouth:
    """One session. `told`: all events so far."""

    def __init__(self, connection: ClientConnection) -> None:
        self.connection = connection
        self.told: list[dict[str, Any]] = []

    def speak(self, samples: Samples, frame_s: float = FRAME_S, rate_hz: int = RATE_HZ) -> None:
        """Sends samples, as fast as the server takes them."""
        step = round(frame_s * rate_hz)
        for first in range(0, len(samples), step):
            self.connection.send(samples[first : first + step].astype("<i2").tobytes())

    def say(self, **fields: Any) -> None:
        """Sends a message."""
        self.connection.send(json.dumps(fields))

    def hear(self, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Returns the next event. Raises: ConnectionClosed, TimeoutError."""
        event: dict[str, Any] = json.loads(self.connection.recv(timeout_s))
        self.told.append(event)
        return event

    def hear_what_came(self) -> None:
        """Takes the events that are there: who leaves many unread misses the answers to its pings."""
        with contextlib.suppress(TimeoutError):
            while True:
                self.hear(0)

    def until(self, name: str, timeout_s: float = DEADLINE_S) -> dict[str, Any]:
        """Returns the first event of this name (or type) from here on."""
        while True:
            event = self.hear(timeout_s)
            if name in (event.get("event"), event.get("type")):
                return event

    def rest(self) -> tuple[int | None, str]:
        """Returns the close code and reason, once all events came."""
        try:
            while True:
                self.hear()
        except ConnectionClosed as closed:
            received = closed.rcvd
            return (None, "") if received is None else (received.code, received.reason)

    def finals(self) -> list[dict[str, Any]]:
        """Returns the final texts so far."""
        return [event for event in self.told if event.get("event") == "final"]


@contextlib.contextmanager
def mouth(
    server: RunningServer, query: str = "", path: str = "/api/transcribe/live", **options: Any
) -> Iterator[Mouth]:
    """Opens a session; the query is added to the path."""
    url = f"ws://127.0.0.1:{server.port}{path}?{query}"
    options.setdefault("compression", None)
    with connect(url, **options) as connection:
        yield Mouth(connection)


def refused(
    server: RunningServer, query: str = "", path: str = "/api/transcribe/live", **options: Any
) -> tuple[int, dict[str, Any], dict[str, str]]:
    """Returns status, body and headers of a handshake that fails."""
    try:
        with mouth(server, query, path, **options):
            raise AssertionError("the handshake went through")
    except InvalidStatus as error:
        response = error.response
        return (
            response.status_code,
            json.loads(response.body or b"{}"),
            {k.lower(): v for k, v in response.headers.raw_items()},
        )


def handshake(
    server: RunningServer,
    path: str = "/api/transcribe/live",
    *,
    host: bytes = b"127.0.0.1",
    more: bytes = b"",
) -> tuple[socket.socket, bytes]:
    """Returns a connection whose handshake was sent, and what came back, for what no client sends."""
    key = base64.b64encode(b"0123456789abcdef")
    raw = server.connect()
    raw.sendall(
        b"GET " + path.encode() + b" HTTP/1.1\r\nHost: " + host + b"\r\nUpgrade: websocket\r\n"
        b"Connection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
        + key
        + b"\r\n"
        + more
        + b"\r\n"
    )
    answer = b""
    while b"\r\n\r\n" not in answer and (piece := raw.recv(65_536)):
        answer += piece
    return raw, answer
