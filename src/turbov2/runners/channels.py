"""The channels between a parent and its child."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from typing import IO, NamedTuple

log = logging.getLogger("turbov2.runners.process")

_STDERR_LINES = 40  # kept for the log entry about a death
_STDERR_LINE_BYTES = 500
_STDERR_LINES_PER_S = 100  # logged


class Ends(NamedTuple):
    """One side's ends of the three channels between parent and child.

    Requests and answers have a socket each: when asyncio fails to write to a dead child it drops that
    socket, and with it answers that came before the death. stderr is no asyncio pipe, because those
    count a process as running for as long as a grandchild holds them open.
    """

    requests: socket.socket
    answers: socket.socket
    stderr: IO[bytes]

    def close(self) -> None:
        """Afterwards this side's ends are closed."""
        for end in self:
            end.close()


def open_channels() -> tuple[Ends, Ends]:
    """Returns the parent's ends and the child's."""
    requests, answers, stderr = socket.socketpair(), socket.socketpair(), os.pipe()
    ours = Ends(requests[0], answers[0], os.fdopen(stderr[0], "rb"))
    return ours, Ends(requests[1], answers[1], os.fdopen(stderr[1], "wb"))


class Stderr(asyncio.Protocol):
    """Logs what the child prints, and keeps the last lines.

    Bounded whatever a child prints: lines are cut, of each read only the last lines are looked at, and
    beyond so many a second they are counted instead of logged. speaker: what the child is, for the log.
    """

    def __init__(self, speaker: str) -> None:
        loop = asyncio.get_running_loop()
        self.tail: deque[str] = deque(maxlen=_STDERR_LINES)
        self.closed: asyncio.Future[None] = loop.create_future()
        self._speaker = speaker
        self._rest = b""
        self._time = loop.time
        self._second = 0  # of the loop's time, in which `_n_logged` lines were logged
        self._n_logged = 0
        self._n_left_out = 0

    def data_received(self, data: bytes) -> None:
        """Called by the loop with what was printed."""
        # Progress bars end their lines with a carriage return.
        head, *lines = (b"\n" + self._rest + data.replace(b"\r", b"\n")).rsplit(b"\n", _STDERR_LINES)
        self._n_left_out += head.count(b"\n")
        self._rest = lines.pop()[:_STDERR_LINE_BYTES]
        for line in lines:
            self._keep(line)

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop when the child has closed its end."""
        self._keep(self._rest)
        self._tell_left_out()
        self.closed.set_result(None)

    def _keep(self, line: bytes) -> None:
        if text := line[:_STDERR_LINE_BYTES].decode(errors="replace").rstrip():
            self.tail.append(text)
            self._log(text)

    def _log(self, text: str) -> None:
        if (second := int(self._time())) != self._second:
            self._tell_left_out()
            self._second, self._n_logged = second, 0
        if self._n_logged < _STDERR_LINES_PER_S:
            self._n_logged += 1
            log.info("%s says: %s", self._speaker, text)
        else:
            self._n_left_out += 1

    def _tell_left_out(self) -> None:
        if self._n_left_out:
            log.info("%s said %d lines more", self._speaker, self._n_left_out)
            self._n_left_out = 0
