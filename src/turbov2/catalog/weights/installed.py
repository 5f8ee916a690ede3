"""What is known of weights that are here."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable
from pathlib import Path

import msgspec


class Installed(msgspec.Struct, frozen=True):
    """Weights on this machine, ready to be loaded."""

    files: dict[str, str]  # name in the model folder -> absolute path
    revision: str  # commit, or package version
    digest: str  # hex sha256 that identifies the weights
    size_bytes: int
    modified_at: dt.datetime  # aware, UTC


def elsewhere(name: str) -> Installed:
    """Returns what is known of weights that another server holds: nothing but whose they are."""
    never = dt.datetime.fromtimestamp(0, dt.UTC)
    return Installed({}, "", digest_of([(name, "remote")]), size_bytes=0, modified_at=never)


def digest_of(lines: Iterable[tuple[str, str]]) -> str:
    """Returns the hex sha256 over the sorted "name hash" lines."""
    text = "".join(f"{name} {value}\n" for name, value in sorted(lines))
    return hashlib.sha256(text.encode()).hexdigest()


def newest(paths: Iterable[Path]) -> dt.datetime:
    """Returns when the youngest of these files was written, in UTC."""
    return dt.datetime.fromtimestamp(max(path.stat().st_mtime for path in paths), tz=dt.UTC)
