"""One file over a connection that may break: resumed where it stopped, then checked against its hash."""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

import msgspec

from turbov2.catalog.weights.checks import file_hash, file_sha256
from turbov2.catalog.weights.progress import Steps
from turbov2.errors import PullFailed

# Waited before another try when a try brought no byte at all; one that brought some is followed at once.
PAUSES_S = (0.2, 1.0)
_RANGE_NOT_SATISFIABLE = 416


class RemoteFile(msgspec.Struct, frozen=True):
    """A file as the hub lists it."""

    name: str
    size_bytes: int
    blob: str  # hex sha256 (64 digits), or git's sha1 of the blob (40) for small files

    @property
    def sha256(self) -> str:
        """The content's sha256; empty where the hub lists only git's own hash."""
        return self.blob if len(self.blob) == 64 else ""


class Answer(Protocol):
    """The part of an HTTP response that is used here."""

    @property
    def status_code(self) -> int:
        """206 when the answer starts where it was asked to."""

    @property
    def headers(self) -> Mapping[str, str]:
        """By name, in any letter case."""

    def iter_bytes(self) -> Iterator[bytes]:
        """Yields the content in pieces as they arrive."""


OpenAt = Callable[[int], AbstractContextManager[Answer]]


class _WrongSize(Exception):
    """The other side has more, or fewer, bytes than it listed."""


class Interrupted(PullFailed):
    """The other side could not be reached, or went silent, or failed in a way that may pass."""


def fetch(file: RemoteFile, partial: Path, open_at: OpenAt, steps: Steps) -> str:
    """Returns the sha256 of the file, now whole and checked at `partial`.

    `open_at` opens the file's bytes from an offset on; it raises Interrupted when another try may help.

    Raises:
        PullFailed: the bytes are not the listed ones (`partial` is gone), or the connection stays broken
            (`partial` is kept for the next pull).
    """
    partial.parent.mkdir(parents=True, exist_ok=True)
    partial.touch()  # a file of no bytes is never asked for
    stalls = 0
    while _size(partial) != file.size_bytes:
        before = _size(partial)
        try:
            _receive(file, partial, open_at, steps)
        except Interrupted:
            stalls = 0 if _size(partial) > before else stalls + 1
            if stalls > len(PAUSES_S):
                raise
            time.sleep(PAUSES_S[stalls - 1] if stalls else 0)
        except _WrongSize:
            partial.unlink()
            raise PullFailed(
                f"{file.name} is not of its listed {file.size_bytes} bytes and was removed; pull again."
            ) from None
    sha256 = check(file, partial, steps)
    if sha256 is None:
        partial.unlink()
        raise PullFailed(f"{file.name} did not match its hash and was removed; pull again")
    return sha256


def check(file: RemoteFile, path: Path, steps: Steps) -> str | None:
    """Returns the sha256 of what is at `path`; None when it is not the listed file."""
    if not path.is_file() or path.stat().st_size != file.size_bytes:
        return None
    told = steps.meter("verifying", file.name, file.sha256, file.size_bytes)
    sha256 = file_sha256(path, told)
    if file.sha256:
        return sha256 if sha256 == file.sha256 else None
    # Git hashes a short header before the content.
    git = hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)
    return sha256 if file_hash(path, git) == file.blob else None


def _receive(file: RemoteFile, partial: Path, open_at: OpenAt, steps: Steps) -> None:
    start = _size(partial)
    if start > file.size_bytes:
        partial.unlink()
        start = 0
    told = steps.meter("downloading", file.name, file.sha256, file.size_bytes)
    told(start)
    with open_at(start) as answer, partial.open("ab") as out:
        if answer.status_code == _RANGE_NOT_SATISFIABLE:
            raise _WrongSize
        if start and not _continues(answer, start):
            out.truncate(0)
            start = 0
        for piece in answer.iter_bytes():
            start += len(piece)
            if start > file.size_bytes:
                raise _WrongSize
            out.write(piece)
            told(start)
        out.flush()
        os.fsync(out.fileno())
    if start < file.size_bytes:
        raise Interrupted(f"the connection closed before {file.name} was whole; pull again to go on")


def _continues(answer: Answer, start: int) -> bool:
    """Returns whether the answer's first byte is byte `start`; a server may ignore the range it was asked."""
    return answer.status_code == 206 and answer.headers.get("Content-Range", "").startswith(f"bytes {start}-")


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
