"""A resident's way through its states: every change of the table that is not a lease.

Nothing here waits. Loads and unloads are tasks that come back as callbacks.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import logging
import math
from collections.abc import Callable
from typing import Any, Generic

from turbov2.catalog import ModelSpec
from turbov2.errors import OutOfMemory, RunnerCrashed, Stopping, TurboError
from turbov2.residency.backoff import Backoff, is_worth_a_pause
from turbov2.residency.events import Journal
from turbov2.residency.footprints import Footprints
from turbov2.residency.loading import Loads
from turbov2.residency.memory import Memory
from turbov2.residency.pools import in_words
from turbov2.residency.room import Line
from turbov2.residency.states import TICK_S, H, Models, Resident, State
from turbov2.residency.table import Table
from turbov2.residency.unloading import Unloads
from turbov2.types.memory import EventKind
from turbov2.units import parse_duration_s

logger = logging.getLogger(__name__)


class Lifecycle(Generic[H]):
    """Starts and ends residents, and knows what becomes of one that failed."""

    def __init__(
        self,
        models: Models[H],
        memory: Memory,
        footprints: Footprints,
        journal: Journal,
        keep_alive_s: float,
        on_start: Callable[[], None],
    ) -> None:
        self._footprints = footprints
        self._journal = journal
        self._keep_alive_s = keep_alive_s
        self._on_start = on_start  # called at the begin of every load
        self.table: Table[H] = Table()
        self.unloads = Unloads(self.table, journal, footprints, self._on_gone)
        self.line = Line(self.table, memory, footprints, self.unloads.send_away)
        self.backoff = Backoff()
        self.pins: set[str] = set()
        self.is_closed = False
        self._is_within_budget = True
        self._loads = Loads(models, self.table, self.line, self.unloads, footprints)
        self._timer: asyncio.Handle | None = None
        self._sweep_at_s = math.inf  # kept here because uvloop's handle of a timer that is due has no `when`

    # --- loading

    def start_load(self, key: str, spec: ModelSpec) -> Resident[H]:
        """Returns the new resident, whose load has begun."""
        self.bury_dead()  # their memory may be just what is needed
        keep_alive_s = parse_duration_s(spec.keep_alive) if spec.keep_alive else self._keep_alive_s
        resident: Resident[H] = Resident(key, spec, keep_alive_s, is_pinned=key in self.pins)
        self.table.residents.pop(key, None)  # one that failed
        self.table.residents[key] = resident
        resident.loading = asyncio.create_task(self._loads.run(resident), name=f"load {spec.name}")
        resident.loading.add_done_callback(lambda task: self._on_loaded(resident, task))
        self._on_start()
        return resident

    def drop_if_unwanted(self, resident: Resident[H]) -> None:
        """Afterwards a load that still waits for room and that nobody waits for is gone."""
        if not resident.is_wanted() and self.line.holds(resident):
            self.table.forget(resident)
            assert resident.loading is not None
            resident.loading.cancel()

    def _on_loaded(self, resident: Resident[H], task: asyncio.Task[H]) -> None:
        if task.cancelled():
            if not self.is_closed and not resident.is_forgotten:
                name = resident.spec.name
                resident.failure = Stopping(f"loading model '{name}' was cut off; try again", retry_after_s=5)
            self.table.forget(resident)
        elif (failure := task.exception()) is not None:
            assert isinstance(failure, TurboError), "a load fails with our own errors. This is a bug."
            self._fail(resident, failure)
        else:
            self._succeed(resident, task.result())
        self.line.advance()

    def _succeed(self, resident: Resident[H], held: H) -> None:
        now_s = asyncio.get_running_loop().time()
        resident.held = held
        resident.base = dict(resident.bytes)
        resident.ready_s = resident.last_used_s = now_s
        resident.loaded_at = dt.datetime.now(dt.UTC)
        self.backoff.loaded(resident.key)
        self._footprints.loaded(resident.key, resident.bytes, resident.load_s)
        if resident.is_dead():
            self.crash(resident, "ended as soon as it had loaded")
        elif resident.state is State.DRAINING:
            self.unload_if_drained(resident)
        else:
            resident.state = State.READY
            if not resident.is_pinned:
                resident.expires_s = now_s + resident.keep_alive_s
                self.expire(resident, now_s)
        reason = f"it takes {in_words(resident.bytes)}, {in_words(resident.need)} were reserved"
        if not self.keep_budget():
            reason += "; that is over the budget, and too few models are idle"
        name, took = resident.spec.name, resident.bytes
        self._journal.add("loaded", name, resident.key, reason, took, resident.load_s)

    def keep_budget(self) -> bool:
        """Afterwards idle residents unload if need be; returns False if that is not enough for the budget."""
        was_within, self._is_within_budget = self._is_within_budget, self.line.shrink()
        if was_within and not self._is_within_budget:
            taken = in_words(self.table.committed())
            logger.warning("the loaded models take %s, over the budget, and too few are idle", taken)
        return self._is_within_budget

    # --- failing

    def crash(self, resident: Resident[H], reason: str) -> None:
        """Afterwards a resident whose runner ended unloads, whoever uses it.

        When it is gone it is failed, unless we ended the runner ourselves.
        """
        if resident.held is None or resident.state is State.UNLOADING:
            return
        what = f"the process that ran model '{resident.spec.name}' {reason}"
        if resident.held.was_abandoned:
            self.unloads.start(resident, "abandoned", what)
            return
        now_s = asyncio.get_running_loop().time()
        resident.retry_at_s = now_s + self.backoff.after_crash(resident.key, now_s)
        resident.failure = RunnerCrashed(f"{what}; the next request starts it again", retry_after_s=1)
        self.unloads.start(resident, "crashed", what)

    def bury_dead(self) -> None:
        """Afterwards every resident whose runner ended unloads, also where nobody told us."""
        for resident in self.table:
            if resident.is_dead():
                self.crash(resident, "ended")

    def _fail(self, resident: Resident[H], failure: TurboError) -> None:
        is_refused = isinstance(failure, OutOfMemory) and resident.started_s is None
        kind: EventKind = "refused" if is_refused else "load_failed"
        self._journal.add(kind, resident.spec.name, resident.key, failure.message, resident.need)
        resident.failure = failure
        # Whether there is room is found out in no time; only what was tried and failed rests.
        has_to_rest = is_worth_a_pause(failure) and not is_refused
        if resident.state is State.DRAINING or not (has_to_rest or resident.is_pinned):
            self.table.forget(resident)
            return
        pause_s = self.backoff.after_failed_load(resident.key)
        if failure.retry_after_s is None:
            failure.retry_after_s = pause_s
        resident.retry_at_s = asyncio.get_running_loop().time() + pause_s
        self._rest(resident)

    def _rest(self, resident: Resident[H]) -> None:
        """Afterwards it is failed, takes nothing, and is loaded again by itself if it is pinned."""
        resident.state = State.FAILED
        self.table.release(resident)
        if resident.is_pinned:
            self.wake_at(resident.retry_at_s)

    # --- unloading

    def unload_if_drained(self, resident: Resident[H]) -> None:
        """Afterwards a draining resident unloads if nobody uses it."""
        if resident.held is not None and not resident.leases:
            kind, reason = resident.leaves
            self.unloads.start(resident, kind, reason)

    def _on_gone(self, resident: Resident[H]) -> None:
        if resident.failure is not None and not self.is_closed:
            self._rest(resident)
        else:
            self.table.forget(resident)
            if resident.key in self.pins and not self.is_closed:
                self.start_load(resident.key, resident.spec)
        self.line.advance()

    def forgive(self, resident: Resident[H]) -> bool:
        """Afterwards a failed resident is forgotten; returns whether it had been loaded and not failed."""
        has_failed = resident.state is State.FAILED or resident.started_s is None
        if resident.state is State.FAILED:
            self.table.forget(resident)
        return not has_failed and resident.failure is None

    # --- the end

    def begin_close(self) -> None:
        """Afterwards nothing starts by itself and no memory is waited for."""
        self.is_closed = self.unloads.is_stopping = True
        self.line.close()
        if self._timer is not None:
            self._timer.cancel()

    def end_all(self) -> list[asyncio.Task[Any]]:
        """Returns the tasks after which what is resident has gone, or has just been loaded after all."""
        return [task for resident in self.table if (task := self._end(resident)) is not None]

    def _end(self, resident: Resident[H]) -> asyncio.Task[Any] | None:
        if resident.state is State.FAILED:
            self.table.forget(resident)
            return None
        if resident.held is None:
            assert resident.loading is not None
            resident.loading.cancel()
            return resident.loading
        self.unloads.start(resident, "unloaded", "the server is stopping")
        return resident.unloading

    # --- time

    def expire(self, resident: Resident[H], now_s: float) -> None:
        """Unloads it if it is idle and its time is over, else makes sure that a sweep comes by then."""
        if resident.leases:
            return  # its last lease looks again
        if resident.expires_s <= now_s + TICK_S:
            self.unloads.start(resident, "expired", "it was idle for as long as its keep_alive says")
        else:
            self.wake_at(resident.expires_s)

    def wake_at(self, at_s: float) -> None:
        """Afterwards a sweep comes no later than that."""
        if at_s < self._sweep_at_s:
            if self._timer is not None:
                self._timer.cancel()
            self._sweep_at_s = at_s
            self._timer = asyncio.get_running_loop().call_at(at_s, self._sweep)

    def _sweep(self) -> None:
        """Unloads what has expired, loads pinned ones that failed again, and asks for the next sweep."""
        self._timer = None
        self._sweep_at_s = math.inf
        now_s = asyncio.get_running_loop().time()
        for resident in self.table:
            if resident.state is State.READY and not resident.is_pinned:
                self.expire(resident, now_s)
            elif resident.state is State.FAILED and resident.is_pinned:
                if resident.is_due(now_s):
                    self.start_load(resident.key, resident.spec)
                else:
                    self.wake_at(resident.retry_at_s)
