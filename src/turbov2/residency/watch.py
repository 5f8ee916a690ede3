"""The regular look at what residents take: growth is counted, creep ends in a reload, leaks come back."""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic

from turbov2.residency.footprints import Footprints
from turbov2.residency.pools import Pool, in_words, largest_bytes
from turbov2.residency.states import H, Resident, State
from turbov2.residency.table import Table, with_unseen

EVERY_S = 5.0
# What a model takes is the most of its first dozen idle measurements, a minute: pages of its weights come in,
# and libraries keep what their first batches needed. Idle beyond the limit over that, it creeps.
N_BASE_LOOKS = 12
CREEP_FACTOR = 1.5
CREEP_BYTES = 256 * 10**6


class Watch(Generic[H]):
    """Measures every loaded model once a tick, busy or idle. `recycle` unloads one that creeps."""

    def __init__(
        self, table: Table[H], footprints: Footprints, recycle: Callable[[Resident[H], str], None]
    ) -> None:
        self._table = table
        self._footprints = footprints
        self._recycle = recycle

    async def tick(self) -> None:
        """Afterwards the table says what was measured just now."""
        for resident in self._table:
            if resident.held is None or resident.state not in (State.READY, State.DRAINING):
                continue
            held, n_uses, was_idle = resident.held, resident.n_uses, resident.is_idle()
            measured = await held.measure()
            if resident.held is held and resident.unloading is None:
                is_idle = was_idle and resident.is_idle() and n_uses == resident.n_uses
                self._look(resident, with_unseen(resident, measured), is_idle=is_idle)
        for leak in list(self._table.leaks):
            leak.bytes = await leak.held.measure()
        self._table.leaks = [leak for leak in self._table.leaks if leak.bytes]
        await self._footprints.save()

    def _look(self, resident: Resident[H], measured: dict[Pool, int], *, is_idle: bool) -> None:
        resident.bytes = measured
        if not is_idle:
            over = {pool: n_bytes - resident.base.get(pool, 0) for pool, n_bytes in measured.items()}
            peak = largest_bytes((resident.peak, {pool: n for pool, n in over.items() if n > 0}))
            if peak != resident.peak:
                resident.peak = peak
                self._footprints.peaked(resident.key, peak)
        elif resident.n_idle_looks < N_BASE_LOOKS:
            resident.n_idle_looks += 1
            resident.base = largest_bytes((resident.base, measured))
            self._footprints.grown(resident.key, resident.base)
        elif any(n > _limit_bytes(resident.base.get(pool, 0)) for pool, n in measured.items()):
            self._recycle(resident, f"it had grown from {in_words(resident.base)} to {in_words(measured)}")


def _limit_bytes(base_bytes: int) -> int:
    return int(base_bytes * CREEP_FACTOR) + CREEP_BYTES
