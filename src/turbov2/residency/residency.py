"""Residency: which models are in memory, who holds them, and when they go."""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable, Sequence
from typing import Generic

from turbov2.catalog import ModelSpec
from turbov2.residency.events import Journal
from turbov2.residency.footprints import Footprints
from turbov2.residency.leases import Lease, Leases
from turbov2.residency.lifecycle import Lifecycle
from turbov2.residency.memory import Memory
from turbov2.residency.plan import Planner
from turbov2.residency.pools import HOST, Bytes, Pool
from turbov2.residency.states import H, Models, Resident, State
from turbov2.residency.watch import EVERY_S, Watch
from turbov2.types import MemoryEvent, MemoryPlan, PoolStatus

logger = logging.getLogger(__name__)


class Residency(Generic[H]):
    """The one owner of memory: `models` does the slow work, `memory` says what there is.

    A resident with a lease goes only when its runner died, or with `close`. Every decision runs without
    `await`, so it is atomic in the event loop. All times are the loop's.
    """

    def __init__(
        self,
        models: Models[H],
        memory: Memory,
        *,
        keep_alive_s: float,
        load_timeout_s: float,
        footprints: Footprints,
        on_event: Callable[[MemoryEvent], None],
    ) -> None:
        self._memory = memory
        self._footprints = footprints
        self._journal = Journal(on_event)
        self._life = Lifecycle(models, memory, footprints, self._journal, keep_alive_s, self._keep_watch)
        self._table = self._life.table
        self._leases = Leases(self._life, load_timeout_s)
        self._watch = Watch(self._table, footprints, self._recycle)
        self._planner = Planner(self._table, self._life.line, footprints, self._journal)
        self._watching: asyncio.Task[None] | None = None

    # --- what there is

    def residents(self) -> Sequence[Resident[H]]:
        """Returns the table, failed ones with it, in order of loading."""
        return list(self._table)

    def pools(self) -> Sequence[PoolStatus]:
        """Returns every memory pool of this machine, the host first."""
        return self._life.line.pools()

    def committed_bytes(self, pool: Pool) -> int:
        """Returns what residents take and loads reserve; what unloads counts until it is seen back."""
        return self._table.committed().get(pool, 0)

    def events(self) -> Sequence[MemoryEvent]:
        """Returns the last 256 things that happened, newest last."""
        return self._journal.events()

    def explain(self, key: str, spec: ModelSpec, estimate: Bytes) -> MemoryPlan:
        """Returns what a request for the model would find and set off now. Loads nothing."""
        return self._planner.plan(key, spec, estimate)

    def is_well(self) -> bool:
        """Returns False while a pinned model has failed, and while it is tried again."""
        return not any(
            resident.is_pinned
            and (resident.state is State.FAILED or self._life.backoff.is_failing(resident.key))
            for resident in self._table
        )

    # --- use

    def lease(self, key: str, spec: ModelSpec, keep_alive_s: float | None, linger_s: float = 0.0) -> Lease[H]:
        """Returns the context manager that holds the model, loading it first if needed; see Lease.

        Raises on entering: OutOfMemory, LoadTimeout, Stopping after `close`, what loading raises, and that
        again while a model that failed is left alone.
        """
        return Lease(self._leases, key, spec, keep_alive_s, linger_s)

    def ready(self, key: str) -> H | None:
        """Returns the model if it can be used right now, for a use that ends within this step of the loop.

        Such a use needs no lease, because nothing else happens meanwhile; it ends with `used`.
        """
        resident = self._table.residents.get(key)
        return resident.held if resident is not None and resident.is_usable() else None

    def used(self, key: str, keep_alive_s: float | None) -> None:
        """Afterwards a use of the model that `ready` gave is over, as if a lease had ended."""
        resident = self._table.residents[key]
        resident.leases += 1
        self._leases.release(resident, keep_alive_s)

    def pin(self, key: str) -> None:
        """Afterwards the model stays until it is unloaded by name, whatever keep_alive requests ask for.

        After a crash it is loaded again by itself.
        """
        self._life.pins.add(key)
        if (resident := self._table.residents.get(key)) is not None:
            resident.is_pinned = True
            resident.expires_s = math.inf
            if resident.state is State.FAILED:
                self._life.wake_at(resident.retry_at_s)

    async def unload(self, key: str) -> bool:
        """Returns once the model is gone, or at once if it is in use: then it goes with its last lease.

        Requests that come meanwhile wait until it is gone and load it anew, so it does go. Returns False
        when the model was not there. One that is loading is loaded to the end, for those who wait for it.
        One that failed is forgiven: the next request loads it.
        """
        self._life.pins.discard(key)
        self._life.backoff.forget(key)
        resident = self._table.residents.get(key)
        if resident is None:
            return False
        resident.is_pinned = False
        resident.expires_s = asyncio.get_running_loop().time()
        if resident.state in (State.LOADING, State.READY, State.DRAINING):
            resident.state = State.DRAINING
            resident.leaves = "unloaded", "it was asked to go"
            self._life.drop_if_unwanted(resident)
            self._life.unload_if_drained(resident)
        # `wait` and not `gather`: cancelling our caller must not end what others wait for.
        if resident.loading is not None:
            await asyncio.wait((resident.loading,))
        if resident.unloading is not None:
            await asyncio.wait((resident.unloading,))
        return self._life.forgive(resident)

    def died(self, key: str, reason: str) -> None:
        """Afterwards a model whose runner ended goes, whoever uses it. `reason` follows "the process ..."."""
        resident = self._table.residents.get(key)
        if resident is not None and resident.is_dead():
            self._life.crash(resident, reason)

    async def relieve(self, key: str) -> int:
        """Returns the bytes that came back, after memory ran out in a run of the model.

        All idle neighbours in its pools have gone: on its device, if it has one.
        """
        resident = self._table.residents.get(key)
        if resident is None:
            return 0
        pools = [pool for pool in resident.bytes if pool != HOST] or [HOST]
        reason = f"memory ran out while {resident.spec.name} ran"
        return await self._life.unloads.clear(pools, reason)

    async def close(self) -> None:
        """Afterwards nothing is resident and nothing loads: loads are cancelled, leased models unloaded."""
        self._life.begin_close()
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait((self._watching,))
        while ending := self._life.end_all():
            await asyncio.wait(ending)
        self._table.leaks.clear()
        await self._footprints.save()

    # --- the regular look

    async def tick(self) -> None:
        """Afterwards residents are measured, the dead have gone, and waiting loads were looked at."""
        self._life.bury_dead()
        await self._watch.tick()
        self._life.keep_budget()
        self._life.line.advance()

    def _keep_watch(self) -> None:
        """Afterwards a task ticks for as long as there is something to look at."""
        if self._watching is None or self._watching.done():
            self._watching = asyncio.create_task(self._tick_while_needed(), name="residency watch")

    async def _tick_while_needed(self) -> None:
        while self._table.leaks or any(r.state is not State.FAILED for r in self._table):
            await asyncio.sleep(EVERY_S)
            try:
                await self.tick()
            except Exception:
                logger.exception("looking at residents failed. This is a bug.")

    def _recycle(self, resident: Resident[H], reason: str) -> None:
        self._life.unloads.start(resident, "recycled", reason)
