"""The child's end of the requests: bytes, and files that come with them."""

from __future__ import annotations

import array
import contextlib
import io
import os
import socket
from collections.abc import Iterator
from typing import Any


class Receiver(io.RawIOBase):
    """The bytes that come by a socket, and the descriptors that come with them (SCM_RIGHTS, unix(7))."""

    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._descriptors: list[int] = []

    def readable(self) -> bool:
        """True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Returns how many bytes came, 0 at the end; blocks."""
        room = socket.CMSG_LEN(array.array("i").itemsize)
        n, ancillary, _, _ = self._requests.recvmsg_into([buffer], room)
        for level, kind, numbers in ancillary:
            if (level, kind) == (socket.SOL_SOCKET, socket.SCM_RIGHTS):
                self._descriptors += array.array("i", numbers)
        return n

    @contextlib.contextmanager
    def descriptors(self) -> Iterator[list[int]]:
        """Gives those that came since the last time, and closes them."""
        came, self._descriptors = self._descriptors, []
        try:
            yield came
        finally:
            for descriptor in came:
                os.close(descriptor)
