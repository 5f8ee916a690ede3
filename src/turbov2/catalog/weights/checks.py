"""Which names and files are let in, and whether there is room for them."""

from __future__ import annotations

import errno
import fnmatch
import hashlib
import re
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from turbov2.errors import PullFailed

# Loading any of these may run code that the file carries, or hides a format that does.
REFUSED_SUFFIXES = frozenset(
    (".pt", ".pth", ".pkl", ".pickle", ".ckpt", ".joblib", ".dill", ".npy", ".npz", ".h5", ".msgpack", ".bin")
)
MARGIN_BYTES = 64 * 2**20

_PLAIN = re.compile(r"[a-z0-9._-]")
_LONGEST = 120  # of a folder name: leaves room for our suffixes on file systems that stop at 143 bytes
# Windows opens a device for these, whatever follows the first dot.
_DEVICE = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\.|$)")
# Our own names beside a model's folder; a model that ended so would share a path with another one's.
_OURS = (".json", ".lock", ".partial", ".tmp")


def safe_name(name: str) -> str:
    """Returns a folder name for any model name: never empty, hidden or "..", and no two names share one."""
    text = "".join(c if _PLAIN.match(c) else _escape(c) for c in name)
    if not text or text.startswith(".") or _DEVICE.match(text):
        text = (_escape(text[0]) if text else "%") + text[1:]
    if text.endswith((".", *_OURS)):
        head, _, tail = text.rpartition(".")
        text = f"{head}%2e{tail}"
    if len(text) > _LONGEST:
        # A lone "%" never comes out of the escapes above, so a cut name meets no whole one.
        digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()
        text = f"{text[: _LONGEST - 40]}%-{digest[:32]}"
    return text


def _escape(character: str) -> str:
    return "".join(f"%{byte:02x}" for byte in character.encode("utf-8", "surrogatepass"))


def is_safe_path(name: str) -> bool:
    """Returns whether `name`, given by others, stays inside the folder it is joined to, on any system."""
    if not name or any(ord(c) < 32 or c in '\\:*?"<>|' for c in name):
        return False
    return all(part not in ("", ".", "..") for part in name.split("/"))


def is_refused(name: str, backend: str) -> bool:
    """Returns whether `name` is of a format that can run code when it is loaded."""
    path = PurePosixPath(name.lower())
    # CTranslate2 names its own plain tensor format so; its reader never unpickles.
    if backend == "whisper" and path.name == "model.bin":
        return False
    return path.suffix in REFUSED_SUFFIXES


def require_safe(name: str, backend: str) -> None:
    """Raises PullFailed unless `name` is a safe path of a format that may be loaded."""
    if not is_safe_path(name):
        raise PullFailed("the model lists a file whose name is not safe; it was not fetched")
    if is_refused(name, backend):
        raise PullFailed(f"{name} is of a format that can run code when loaded; it was not fetched")


def select(names: Iterable[str], patterns: Sequence[str], backend: str) -> list[str]:
    """Returns the names to fetch: those that match a pattern, less the refused formats a wildcard swept up.

    Raises:
        PullFailed: a matching name is unsafe, a file asked for by its full name is refused or absent, or
            nothing matches.
    """
    matching = sorted({n for n in names if any(fnmatch.fnmatchcase(n, p) for p in patterns)})
    for pattern in patterns:
        if not set(pattern) & set("*?["):
            require_safe(pattern, backend)
            if pattern not in matching:
                raise PullFailed(f"the model has no file named {pattern}")
    if not all(is_safe_path(name) for name in matching):
        raise PullFailed("the model lists a file whose name is not safe; nothing was fetched")
    chosen = [name for name in matching if not is_refused(name, backend)]
    if not chosen and matching:
        raise PullFailed("the model's only matching files are of formats that can run code when loaded")
    if not chosen:
        raise PullFailed("the model has no file that matches " + ", ".join(patterns))
    return chosen


def free_bytes(folder: Path) -> int:
    """Returns the bytes free where `folder` is, or will be made."""
    while not folder.exists():
        folder = folder.parent
    return shutil.disk_usage(folder).free


def require_space(folder: Path, need_bytes: int) -> None:
    """Raises PullFailed, with both numbers, unless `need_bytes` and a margin are free at `folder`."""
    need_bytes += MARGIN_BYTES
    free = free_bytes(folder)
    if need_bytes > free:
        raise PullFailed(
            f"Not enough free disk space: the pull needs {need_bytes} bytes and {free} are free."
        )


@contextmanager
def disk_errors() -> Iterator[None]:
    """Inside, an error of the file system becomes a PullFailed that names it without the path."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            text = "the disk became full during the pull; free some space and pull again to go on"
        elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
            text = "the model folder cannot be written; give this user the right to write to it"
        else:
            text = "the file system failed during the pull; the log has the details"
        raise PullFailed(text) from error


def file_sha256(path: Path, on_bytes: Callable[[int], None] | None = None) -> str:
    """Returns the hex sha256 of a file."""
    return file_hash(path, hashlib.sha256(), on_bytes)


def file_hash(path: Path, hasher: hashlib._Hash, on_bytes: Callable[[int], None] | None = None) -> str:
    """Returns the hex digest once `hasher` has read the whole file."""
    done = 0
    with path.open("rb") as source:
        while piece := source.read(1 << 20):
            hasher.update(piece)
            done += len(piece)
            if on_bytes:
                on_bytes(done)
    return hasher.hexdigest()
