"""Files without a name, for what is too large for memory: on a disk, within a budget, gone once closed.

They have no name from the start, so neither a killed server nor another process leaves or finds one.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from turbov2.errors import MediaTooLarge, NoStorage, QueueFull

SPOOL_FOLDER = "spool"  # in the server's home

log = logging.getLogger(__name__)

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Spools:
    """The unnamed files of one folder. max_bytes: in all of them together."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._n_bytes = 0

    @property
    def n_bytes(self) -> int:
        """Bytes in all files that are open."""
        return self._n_bytes

    def open(self) -> Spool:
        """Returns a new, empty file. Blocks. Raises: NoStorage."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with tempfile.TemporaryFile(dir=self._folder, buffering=0) as file:
                return Spool(self, os.dup(file.fileno()))
        except OSError as error:
            raise _no_storage(error) from error

    def take(self, n_bytes: int, n_held_bytes: int) -> None:
        """Afterwards so many bytes more count. Raises: QueueFull, MediaTooLarge past the budget."""
        with self._lock:
            if n_held_bytes + n_bytes > self._max_bytes:
                limit = f"more than {self._max_bytes} bytes of disk, the limit"
                raise MediaTooLarge(f"the file takes {limit}; send it in parts")
            if self._n_bytes + n_bytes > self._max_bytes:
                held = f"{self._n_bytes} bytes of files are held on disk, the limit is {self._max_bytes}"
                raise QueueFull(f"{held}; try again in a moment", retry_after_s=5)
            self._n_bytes += n_bytes

    def give_back(self, n_bytes: int) -> None:
        """Afterwards so many bytes less count."""
        with self._lock:
            self._n_bytes -= n_bytes


class Spool:
    """One unnamed file, appended to and read anywhere, by any thread.

    `close` frees its disk once whoever is still reading or writing it is done. n_bytes: written so far.
    """

    def __init__(self, spools: Spools, descriptor: int) -> None:
        self._spools = spools
        self._descriptor = descriptor
        self._lock = threading.Lock()
        self._n_users = 1  # `close` ends the first one's use
        self._is_closed = False
        self._n_taken_bytes = 0
        self.n_bytes = 0

    def __enter__(self) -> Spool:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def fileno(self) -> int:
        """Returns its descriptor; valid until `close`."""
        return self._descriptor

    def append(self, data: bytes | bytearray | memoryview) -> None:
        """Writes at the end; blocks; one thread at a time. Raises: NoStorage, QueueFull, MediaTooLarge."""
        with self._used():
            view = memoryview(data).cast("B")
            self._spools.take(len(view), self._n_taken_bytes)
            self._n_taken_bytes += len(view)
            try:
                while view:
                    n = os.pwrite(self._descriptor, view, self.n_bytes)
                    view, self.n_bytes = view[n:], self.n_bytes + n
            except OSError as error:
                raise _no_storage(error) from error

    def read(self, start: int, n_bytes: int) -> NDArray[np.uint8]:
        """Returns uint8 `[n]`, fewer than asked for at the end; blocks. Raises: NoStorage."""
        with self._used():
            found = np.empty(max(0, min(n_bytes, self.n_bytes - start)), np.uint8)
            view, at = found.data, start
            try:
                while view:
                    n = os.preadv(self._descriptor, [view], at)
                    if n == 0:
                        raise OSError(errno.EIO, "a spooled file is shorter than what was written")
                    view, at = view[n:], at + n
            except OSError as error:
                raise _no_storage(error) from error
            return found

    def close(self) -> None:
        """Afterwards it takes no requests, and its disk is free or about to be."""
        with self._lock:
            is_first, self._is_closed = not self._is_closed, True
        if is_first:
            self._leave()

    @contextlib.contextmanager
    def _used(self) -> Iterator[None]:
        with self._lock:
            if self._is_closed:
                raise ValueError("the spooled file is closed")
            self._n_users += 1
        try:
            yield
        finally:
            self._leave()

    def _leave(self) -> None:
        with self._lock:
            self._n_users -= 1
            is_last = self._n_users == 0
        if is_last:
            os.close(self._descriptor)
            self._spools.give_back(self._n_taken_bytes)


def _no_storage(error: OSError) -> NoStorage:
    log.error("a spooled file failed: %s", error)
    if error.errno in _FULL:
        words = "the server's disk is full: there is no room for the file"
        return NoStorage(f"{words}; try again later, or send a shorter one", retry_after_s=30)
    return NoStorage("the server cannot keep the file on its disk; its log says why")
