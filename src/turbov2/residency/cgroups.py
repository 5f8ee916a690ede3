"""What control groups leave this process: the limits of a container and of everything it is nested in.

Files and their meaning: the Linux kernel's admin-guide, cgroup-v2.rst ("Memory Interface Files") and
cgroup-v1/memory.rst. Version 2 is tried first; a machine may mount both and limit memory in either.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_MEMBERSHIP = Path("/proc/self/cgroup")
_MOUNT = Path("/sys/fs/cgroup")


class _Files(NamedTuple):
    """Names in one version's folders. cached: the lines of memory.stat that count cached files."""

    limit: str
    usage: str
    cached: tuple[str, str]


_V2 = _Files("memory.max", "memory.current", ("inactive_file", "active_file"))
_V1 = _Files("memory.limit_in_bytes", "memory.usage_in_bytes", ("total_inactive_file", "total_active_file"))


class Group(NamedTuple):
    """One control group that limits memory."""

    folder: Path
    files: _Files

    def limit_bytes(self) -> int | None:
        """Returns its limit; None without one."""
        return _read_number(self.folder / self.files.limit)

    def free_bytes(self) -> int | None:
        """Returns what may still be taken: the limit less what is used, but for cached files.

        Those the kernel drops when memory is asked for; its own figure for a whole machine, MemAvailable
        (filesystems/proc.rst), counts them as available too.
        """
        limit = self.limit_bytes()
        usage = _read_number(self.folder / self.files.usage)
        if limit is None or usage is None:
            return None
        return max(limit - usage + self._cached_bytes(), 0)

    def _cached_bytes(self) -> int:
        lines = (line.partition(" ") for line in _read(self.folder / "memory.stat").splitlines())
        return sum(int(number) for name, _, number in lines if name in self.files.cached)


def limiting_groups(below_bytes: int, membership: Path = _MEMBERSHIP, mount: Path = _MOUNT) -> list[Group]:
    """Returns every group from this process's own up to the root with a limit below; none off Linux.

    `below_bytes` is the machine's memory: version 1 writes "no limit" as a number larger than any.
    """
    groups: dict[Path, Group] = {}
    for root, path, files in _hierarchies(membership, mount):
        for folder in _upwards(root, path):
            group = Group(folder, files)
            limit = group.limit_bytes()
            if limit is not None and limit < below_bytes:
                groups[folder] = group
    return list(groups.values())


def _hierarchies(membership: Path, mount: Path) -> Iterator[tuple[Path, str, _Files]]:
    """Yields (mount point, our path below it, file names); lines of the file are "id:controllers:path"."""
    for line in _read(membership).splitlines():
        _, controllers, path = line.split(":", 2)
        if not controllers:
            yield mount, path, _V2
            yield mount / "unified", path, _V2  # where both versions are mounted
        elif "memory" in controllers.split(","):
            yield mount / "memory", path, _V1


def _upwards(root: Path, path: str) -> Iterator[Path]:
    """Yields our folder and its parents up to the mount point.

    A container may see the names of the machine outside and only its own group mounted: then just that.
    """
    folder = root / path.strip("/")
    while folder != root and root in folder.parents:
        yield folder
        folder = folder.parent
    yield root


def _read_number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdigit() else None


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):
        return ""
