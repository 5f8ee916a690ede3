"""The table of residents, and what it says about memory. Holds facts; decides nothing."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator
from typing import Generic

import msgspec

from turbov2.residency.footprints import Footprints
from turbov2.residency.policy import Candidate
from turbov2.residency.pools import HOST, Pool, largest_bytes, sum_bytes
from turbov2.residency.states import TICK_S, H, Resident, State


class Leak(msgspec.Struct, Generic[H]):
    """A closed model whose memory is not back: it counts until it is."""

    held: H
    key: str
    model: str
    bytes: dict[Pool, int]


class Table(Generic[H]):
    """Every resident by key, in order of loading, and every leak."""

    def __init__(self) -> None:
        self.residents: dict[str, Resident[H]] = {}
        self.leaks: list[Leak[H]] = []

    def __iter__(self) -> Iterator[Resident[H]]:
        return iter(list(self.residents.values()))

    def forget(self, resident: Resident[H]) -> None:
        """Afterwards it takes nothing, is not in the table, and who waits for its end goes on."""
        if self.residents.get(resident.key) is resident:
            del self.residents[resident.key]
        self.release(resident)
        resident.is_forgotten = True

    def release(self, resident: Resident[H]) -> None:
        """Afterwards it takes nothing, and who waits for its end goes on."""
        resident.held = None
        resident.bytes = {}
        resident.gone.set()

    def committed(self) -> dict[Pool, int]:
        """Returns what residents take, loads have reserved and leaks hold, per pool."""
        return sum_bytes([*(r.bytes for r in self.residents.values()), *(leak.bytes for leak in self.leaks)])

    def loading(self) -> dict[Pool, int]:
        """Returns what loads in progress have reserved; how much of it they already took is not known."""
        return sum_bytes(r.bytes for r in self.residents.values() if r.state is State.LOADING)

    def leaving(self) -> dict[Pool, int]:
        """Returns what comes back once those that drain or unload are gone."""
        leaving = (State.DRAINING, State.UNLOADING)
        return sum_bytes(r.bytes for r in self.residents.values() if r.state in leaving)

    def pinned(self) -> dict[Pool, int]:
        """Returns what no eviction gives back: pinned residents and leaks."""
        pinned = (r.bytes for r in self.residents.values() if r.is_pinned and r.state is not State.UNLOADING)
        return sum_bytes([*pinned, *(leak.bytes for leak in self.leaks)])

    def peak(self) -> dict[Pool, int]:
        """Returns the largest of what running batches took on top, over all residents."""
        return largest_bytes(r.peak for r in self.residents.values() if r.held is not None)

    def candidates(self, footprints: Footprints) -> list[Candidate]:
        """Returns the facts of all ready residents for the policy."""
        now_s = asyncio.get_running_loop().time()
        return [_candidate(r, footprints, now_s) for r in self.residents.values() if r.state is State.READY]


def with_unseen(resident: Resident[H], measured: dict[Pool, int]) -> dict[Pool, int]:
    """Returns the measurement, with what was reserved on devices where nothing can be seen.

    In a container drivers often hide which process takes what; then the reservation is the best guess.
    """
    unseen = {p: n for p, n in resident.need.items() if p != HOST and not measured.get(p)}
    return measured | unseen


def _candidate(resident: Resident[H], footprints: Footprints, now_s: float) -> Candidate:
    footprint = footprints.of(resident.key)
    return Candidate(
        key=resident.key,
        bytes=resident.bytes,
        leases=resident.leases,
        is_pinned=resident.is_pinned,
        priority=resident.spec.priority,
        is_for_ever=math.isinf(resident.keep_alive_s),
        has_stayed=resident.stays_until_s() <= now_s + TICK_S,
        last_used_s=resident.last_used_s,
        n_uses=resident.n_uses,
        reload_s=footprint.load_s if footprint else resident.load_s,
        clock=resident.clock,
    )
