"""Unloading: a model is closed, and gone only when its memory is seen back."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection
from typing import Generic, cast

from turbov2.residency.events import Journal
from turbov2.residency.footprints import Footprints
from turbov2.residency.pools import Pool, in_words
from turbov2.residency.states import H, Resident, State
from turbov2.residency.table import Leak, Table
from turbov2.types.memory import EventKind

logger = logging.getLogger(__name__)
GRACE_S = 10.0
STOP_GRACE_S = 1.0  # at the server's end requests have already had their time
SEEN_BACK_S = 10.0  # what is not back by then is a leak
_FIRST_PAUSE_S = 0.01
_LONGEST_PAUSE_S = 0.5


class Unloads(Generic[H]):
    """Runs every unload as a task of its own, and calls `on_gone` when it is over."""

    def __init__(
        self,
        table: Table[H],
        journal: Journal,
        footprints: Footprints,
        on_gone: Callable[[Resident[H]], None],
    ) -> None:
        self._table = table
        self._journal = journal
        self._footprints = footprints
        self._on_gone = on_gone
        self.is_stopping = False  # then nobody needs the room: memory is not waited for

    def send_away(self, resident: Resident[H], reason: str) -> None:
        """Afterwards it unloads, or drains first if it is in use."""
        if resident.leases:
            logger.info("model %s drains: %s", resident.spec.name, reason)
            resident.state, resident.leaves = State.DRAINING, ("evicted", reason)
        else:
            self.start(resident, "evicted", reason)

    def start(self, resident: Resident[H], kind: EventKind, reason: str) -> None:
        """Afterwards it unloads, whoever uses it; the event is written when it is gone."""
        if resident.state is State.UNLOADING or resident.held is None:
            return
        resident.state = State.UNLOADING
        task = asyncio.create_task(self._run(resident.held), name=f"unload {resident.spec.name}")
        resident.unloading = task
        started_s = asyncio.get_running_loop().time()
        task.add_done_callback(lambda task: self._on_unloaded(resident, kind, reason, started_s, task))

    async def clear(self, pools: Collection[Pool], reason: str) -> int:
        """Returns the bytes of these pools that came back from all idle residents nobody has pinned."""
        idle = [r for r in self._table if r.is_idle() and not r.is_pinned]
        taken = [(r, r.bytes) for r in idle if any(r.bytes.get(pool) for pool in pools)]
        for resident, _ in taken:
            self.start(resident, "evicted", reason)
        unloads = [(cast("asyncio.Task[dict[Pool, int]]", r.unloading), bytes_) for r, bytes_ in taken]
        if not unloads:
            return 0
        await asyncio.wait([task for task, _ in unloads])  # not `gather`: they go on when our caller leaves
        return sum(bytes_.get(p, 0) - task.result().get(p, 0) for task, bytes_ in unloads for p in pools)

    async def _run(self, held: H) -> dict[Pool, int]:
        """Returns the bytes that are not back."""
        try:
            await held.close(STOP_GRACE_S if self.is_stopping else GRACE_S)
        except Exception:
            logger.exception("closing a model failed. This is a bug.")
        clock = asyncio.get_running_loop().time
        until_s, pause_s = clock() + SEEN_BACK_S, _FIRST_PAUSE_S
        while (left := await held.measure()) and clock() < until_s and not self.is_stopping:
            await asyncio.sleep(pause_s)
            pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)
        return left

    def _on_unloaded(
        self,
        resident: Resident[H],
        kind: EventKind,
        reason: str,
        started_s: float,
        task: asyncio.Task[dict[Pool, int]],
    ) -> None:
        took_s = asyncio.get_running_loop().time() - started_s
        left = {} if task.cancelled() else task.result()
        key, name = resident.key, resident.spec.name
        self._footprints.unloaded(key, took_s)
        self._journal.add(kind, name, key, reason, resident.bytes, took_s)
        if left and not self.is_stopping:
            self._table.leaks.append(Leak(cast(H, resident.held), key, name, left))
            why = f"{in_words(left)} were not back after {took_s:.0f} s and stay counted until they are"
            self._journal.add("leaked", name, key, why, left, took_s)
        self._on_gone(resident)
