"""Server-sent events out of bytes that come in any pieces. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from turbov2.errors import RemoteFailed

MAX_LINE_BYTES = 4 << 20  # a call of a tool may come in one event, with a whole file in it


class EventReader:
    """Finds what each event says. Servers of OpenAI's API put it on one line.

    n_lines: those that were whole, comments that only show life among them.
    """

    def __init__(self) -> None:
        self.n_lines = 0
        self._held = bytearray()

    def read(self, received: bytes) -> Iterator[bytes]:
        """Yields the data of each event that is whole by now. Raises: RemoteFailed for an endless line."""
        n_searched = len(self._held)
        self._held += received
        begin = 0
        while (end := self._held.find(b"\n", max(begin, n_searched))) >= 0:
            line = bytes(self._held[begin:end]).rstrip(b"\r")
            begin = end + 1
            self.n_lines += 1
            if line.startswith(b"data:"):
                yield line[5:].strip()
        del self._held[:begin]
        if len(self._held) > MAX_LINE_BYTES:
            raise RemoteFailed("the server that runs the model sent a line without end")
