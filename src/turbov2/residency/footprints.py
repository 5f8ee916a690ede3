"""What models took when they were loaded before, remembered over restarts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from pathlib import Path

import msgspec

from turbov2.residency.pools import Bytes, Pool, largest_bytes

logger = logging.getLogger(__name__)
N_KEYS = 1_000
MARGIN_PERCENT = 15  # an estimate knows the weights; buffers and the allocator's slack come on top
_N_LOADS = 3
_NEWEST_WEIGHT = 0.3  # of the newest duration in the moving average


class Footprint(msgspec.Struct):
    """What is known of one key."""

    loads: list[dict[Pool, int]] = []  # bytes of the last loads, newest last
    n_loads: int = 0
    load_s: float = 0.0  # exponential moving average
    unload_s: float = 0.0
    peak: dict[Pool, int] = {}  # the most its batches took on top, when it was last loaded


class Footprints:
    """Footprints by key, the most recently loaded last. `path` None: they live as long as we do.

    A file that cannot be read or written costs one warning and what it would have remembered.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._is_dirty = False
        self._has_warned = False
        self._footprints: dict[str, Footprint] = self._read()

    def need(self, key: str, estimate: Bytes) -> dict[Pool, int]:
        """Returns what to reserve: the largest of the last three loads, or the estimate and a margin.

        The largest, because a measurement comes out low when pages were not yet touched, and the smaller
        error of two is to keep a little free; of three, so that weights that shrank are believed soon.
        """
        if self.is_measured(key):
            return largest_bytes(self._footprints[key].loads)
        return {pool: n_bytes + n_bytes * MARGIN_PERCENT // 100 for pool, n_bytes in estimate.items()}

    def is_measured(self, key: str) -> bool:
        """Returns whether it was ever loaded here."""
        return bool(key in self._footprints and self._footprints[key].loads)

    def of(self, key: str) -> Footprint | None:
        """Returns what is known of one key."""
        return self._footprints.get(key)

    def loaded(self, key: str, bytes_: Bytes, load_s: float) -> None:
        """Remembers one load."""
        footprint = self._footprints.pop(key, None) or Footprint()
        footprint.loads = [*footprint.loads[1 - _N_LOADS :], dict(bytes_)]
        footprint.load_s = _average(footprint.load_s, load_s, footprint.n_loads)
        footprint.n_loads += 1
        footprint.peak = {}
        self._footprints[key] = footprint
        while len(self._footprints) > N_KEYS:
            del self._footprints[next(iter(self._footprints))]
        self._is_dirty = True

    def grown(self, key: str, bytes_: Bytes) -> None:
        """Corrects the last load by what was measured since, where that is more."""
        if (footprint := self._footprints.get(key)) and footprint.loads:
            footprint.loads[-1] = largest_bytes((footprint.loads[-1], bytes_))
            self._is_dirty = True

    def peaked(self, key: str, peak: Bytes) -> None:
        """Remembers the most its batches took on top."""
        if footprint := self._footprints.get(key):
            footprint.peak = dict(peak)
            self._is_dirty = True

    def unloaded(self, key: str, unload_s: float) -> None:
        """Remembers how long it took until the memory was seen back."""
        if footprint := self._footprints.get(key):
            footprint.unload_s = _average(footprint.unload_s, unload_s, footprint.n_loads - 1)
            self._is_dirty = True

    async def save(self) -> None:
        """Afterwards the file holds what is known now, whole or not at all. Never raises."""
        if self._path is None or not self._is_dirty:
            return
        self._is_dirty = False
        body = msgspec.json.encode(self._footprints)
        await asyncio.to_thread(self._write, self._path, body)

    def _read(self) -> dict[str, Footprint]:
        if self._path is None:
            return {}
        try:
            return msgspec.json.decode(self._path.read_bytes(), type=dict[str, Footprint])
        except FileNotFoundError:
            return {}
        except (OSError, msgspec.DecodeError) as error:
            self._warn("read", error)
            return {}

    def _write(self, path: Path, body: bytes) -> None:
        temporary = path.with_name(f"{path.name}.{os.getpid()}.new")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary.write_bytes(body)
            os.replace(temporary, path)
        except OSError as error:
            self._warn("written", error)
            with contextlib.suppress(OSError):
                temporary.unlink()

    def _warn(self, done: str, error: Exception) -> None:
        if not self._has_warned:
            logger.warning("measured footprints cannot be %s (%s): they are estimated anew", done, error)
        self._has_warned = True


def _average(before: float, newest: float, n_before: int) -> float:
    return newest if n_before < 1 else before + _NEWEST_WEIGHT * (newest - before)
