"""Residency: which models are in memory, who holds them, and when they go.

Every decision runs without `await`, so it is atomic in the event loop; loading and unloading run as
tasks of their own and come back as callbacks that change the table.
"""

from __future__ import annotations

import asyncio
import copy
import datetime as dt
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic

from turbov2.catalog import ModelSpec
from turbov2.errors import LoadTimeout, OutOfMemory, Stopping, TurboError
from turbov2.residency.policy import Candidate, choose_victims
from turbov2.residency.states import H, Resident, State

logger = logging.getLogger(__name__)
UNLOAD_GRACE_S = 10.0
STOP_GRACE_S = 1.0  # at the server's end requests have already had their time
_TICK_S = 0.001  # uvloop rounds timers to this; what expires within it has expired


class Lease(Generic[H]):
    """Holds a model while a request uses it: nothing evicts it, nothing cuts it.

    `keep_alive_s` decides how long the model stays after this use, and after later uses that do not
    say; None leaves what was said last, at first the server's default. When several uses overlap, the
    one that ends last decides.
    """

    __slots__ = ("_keep_alive_s", "_key", "_resident", "_residency", "_spec")

    def __init__(
        self, residency: Residency[H], key: str, spec: ModelSpec, keep_alive_s: float | None
    ) -> None:
        self._residency = residency
        self._key = key
        self._spec = spec
        self._keep_alive_s = keep_alive_s
        self._resident: Resident[H] | None = None

    async def __aenter__(self) -> H:
        resident = self._residency._residents.get(self._key)
        # The usual case takes no await: the model is there and its runner lives.
        if resident is not None and resident.is_usable():
            resident.leases += 1
        else:
            resident = await self._residency._join(self._key, self._spec)
        self._resident = resident
        assert resident.held is not None, "a ready resident holds its model. This is a bug."
        return resident.held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._resident is not None, "left a lease that was never entered. This is a bug."
        self._residency._release(self._resident, self._keep_alive_s)


class Residency(Generic[H]):
    """The table of residents. `load` does the slow work; `budget_bytes` bounds the sum of all residents.

    A resident with a lease goes only when its runner died, or with `close`.
    """

    def __init__(
        self,
        load: Callable[[ModelSpec], Awaitable[H]],
        budget_bytes: int,
        keep_alive_s: float,
        load_timeout_s: float,
    ) -> None:
        self._load = load
        self._budget_bytes = budget_bytes
        self._keep_alive_s = keep_alive_s
        self._load_timeout_s = load_timeout_s if math.isfinite(load_timeout_s) else None
        self._residents: dict[str, Resident[H]] = {}
        self._pins: set[str] = set()
        self._unloads: set[asyncio.Task[None]] = set()
        self._timer: asyncio.Handle | None = None
        self._sweep_at_s = math.inf  # kept here because uvloop's handle of a timer that is due has no `when`
        self._is_closed = False

    @property
    def budget_bytes(self) -> int:
        """What all residents may take together."""
        return self._budget_bytes

    def residents(self) -> Sequence[Resident[H]]:
        """Returns the table, in order of loading."""
        return list(self._residents.values())

    def committed_bytes(self) -> int:
        """Returns what residents take and running loads reserve; unloading ones count until they are gone."""
        return sum(r.need_bytes for r in self._residents.values() if not r.awaits_room)

    def lease(self, key: str, spec: ModelSpec, keep_alive_s: float | None) -> Lease[H]:
        """Returns the context manager that holds the model, loading it first if needed.

        Raises on entering: OutOfMemory, LoadTimeout, Stopping after `close`, and what loading raises.
        """
        return Lease(self, key, spec, keep_alive_s)

    def pin(self, key: str) -> None:
        """Afterwards the model stays until it is unloaded by name, whatever keep_alive requests ask for.

        Loaded again after a crash, it is pinned again.
        """
        self._pins.add(key)
        if (resident := self._residents.get(key)) is not None:
            resident.is_pinned = True
            resident.expires_s = math.inf

    async def unload(self, key: str) -> bool:
        """Returns once the model is gone, or at once if it is in use: then it goes with its last lease.

        Requests that come meanwhile wait until it is gone and load it anew, so it does go. Returns False
        when the model was not there. One that is loading is loaded to the end, for those who wait for it.
        """
        self._pins.discard(key)
        resident = self._residents.get(key)
        if resident is None:
            return False
        resident.is_pinned = False
        resident.expires_s = asyncio.get_running_loop().time()
        if resident.state is not State.UNLOADING:
            resident.state = State.DRAINING
            self._unload_if_drained(resident)
        # `wait` and not `gather`: cancelling our caller must not end what others wait for.
        if resident.loading is not None:
            await asyncio.wait((resident.loading,))
        if resident.unloading is not None:
            await asyncio.wait((resident.unloading,))
        return resident.failure is None

    async def close(self) -> None:
        """Afterwards nothing is resident and nothing loads: loads are cancelled, leased models unloaded."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()
        while self._residents:
            await asyncio.wait([self._end(resident) for resident in self._residents.values()])

    # --- leases

    async def _join(self, key: str, spec: ModelSpec) -> Resident[H]:
        """Returns the resident, ready, with a lease that is the caller's to release."""
        try:
            async with asyncio.timeout(self._load_timeout_s) as timeout:
                while True:
                    if self._is_closed:
                        raise Stopping(
                            "the server is stopping; send it to another, or later", retry_after_s=5
                        )
                    resident = self._residents.get(key) or self._start_load(key, spec)
                    if resident.is_usable():
                        resident.leases += 1
                        return resident
                    if resident.state is State.LOADING:
                        if await self._join_load(resident):
                            return resident
                    else:
                        if resident.is_dead():
                            self._start_unload(resident, "its runner died")
                        await resident.gone.wait()
        except TimeoutError as error:
            if not timeout.expired():
                raise
            message = f"model '{spec.name}' was not ready within {self._load_timeout_s:g} s; try again"
            raise LoadTimeout(message, retry_after_s=5) from error

    async def _join_load(self, resident: Resident[H]) -> bool:
        """Returns once it is loaded: True with a lease, False when it has already died or been closed.

        Raises: what loading raised, a copy for each who waited.
        """
        assert resident.loading is not None
        resident.leases += 1  # from now on, so that nothing evicts it between its load and our use
        try:
            # The load is shared and goes on when we leave.
            await asyncio.wait((resident.loading,))
        except BaseException:
            self._release(resident, None)
            raise
        failure = resident.failure
        if isinstance(failure, TurboError):
            raise copy.copy(failure) from failure
        if failure is not None:
            raise failure
        return resident.held is not None and resident.state is not State.UNLOADING

    def _release(self, resident: Resident[H], keep_alive_s: float | None) -> None:
        resident.leases -= 1
        if resident.held is None or resident.state is State.UNLOADING:
            return
        now_s = asyncio.get_running_loop().time()
        resident.last_used_s = now_s
        if not resident.held.is_alive:
            self._start_unload(resident, "its runner died")
        elif resident.state is State.DRAINING:
            self._unload_if_drained(resident)
        elif not resident.is_pinned:
            if keep_alive_s is not None:
                resident.keep_alive_s = keep_alive_s
            resident.expires_s = now_s + resident.keep_alive_s
            self._watch(resident, now_s)

    # --- loading

    def _start_load(self, key: str, spec: ModelSpec) -> Resident[H]:
        """Returns the new resident, its room promised; it loads once that is free. Raises: OutOfMemory."""
        self._make_room(spec)
        resident: Resident[H] = Resident(key, spec, self._keep_alive_s, is_pinned=key in self._pins)
        self._residents[key] = resident
        resident.loading = asyncio.create_task(self._run_load(resident), name=f"load {spec.name}")
        resident.loading.add_done_callback(lambda task: self._on_loaded(resident, task))
        return resident

    async def _run_load(self, resident: Resident[H]) -> H:
        while self.committed_bytes() + resident.need_bytes > self._budget_bytes:
            if not self._unloads:  # others took more than they had reserved
                raise self._no_room(resident.spec, self._budget_bytes - self.committed_bytes())
            await asyncio.wait(self._unloads, return_when=asyncio.FIRST_COMPLETED)
            if not resident.leases:  # all who wanted it have left
                self._forget(resident)
                raise asyncio.CancelledError
        resident.awaits_room = False
        started_s = asyncio.get_running_loop().time()
        held = await self._load(resident.spec)
        resident.load_s = asyncio.get_running_loop().time() - started_s
        return held

    def _on_loaded(self, resident: Resident[H], task: asyncio.Task[H]) -> None:
        name = resident.spec.name
        failure = None if task.cancelled() else task.exception()
        if task.cancelled() or failure is not None:
            if not isinstance(failure, Exception):
                failure = Stopping(f"loading model '{name}' was cut off; try again", retry_after_s=5)
            trace = None if isinstance(failure, TurboError) else failure
            logger.warning("model %s did not load: %s", name, failure, exc_info=trace)
            resident.failure = failure
            resident.state = State.FAILED
            self._forget(resident)
            return
        now_s = asyncio.get_running_loop().time()
        resident.held = held = task.result()
        resident.need_bytes = held.host_bytes()
        resident.loaded_at = dt.datetime.now(dt.UTC)
        resident.last_used_s = now_s
        logger.info("model %s is ready after %.2f s", name, resident.load_s)
        if resident.state is State.DRAINING:
            self._unload_if_drained(resident)
            return
        resident.state = State.READY
        if not resident.is_pinned:
            resident.expires_s = now_s + resident.keep_alive_s
            self._watch(resident, now_s)
        self._shrink()

    # --- room

    def _make_room(self, spec: ModelSpec) -> None:
        """Starts the unloads after which the model fits. Raises: OutOfMemory when none would do."""
        need_bytes = spec.host_bytes
        if need_bytes > self._budget_bytes:
            raise OutOfMemory(
                f"model '{spec.name}' needs about {_mb(need_bytes)} MB, more than the whole budget of "
                f"{_mb(self._budget_bytes)} MB; raise TURBOV2_HOST_BUDGET"
            )
        for resident in self.residents():
            if resident.is_dead():
                self._start_unload(resident, "its runner died")
        free_bytes = self._unpromised_bytes()
        victims = choose_victims(need_bytes, free_bytes, self._candidates())
        if victims is None:
            raise self._no_room(spec, free_bytes)
        for key in victims:
            self._start_unload(self._residents[key], f"it makes room for {spec.name}")

    def _no_room(self, spec: ModelSpec, free_bytes: int) -> OutOfMemory:
        return OutOfMemory(
            f"model '{spec.name}' needs about {_mb(spec.host_bytes)} MB; {_mb(max(free_bytes, 0))} MB of the "
            f"{_mb(self._budget_bytes)} MB budget are free and the loaded models are in use or pinned; "
            "unload one or raise TURBOV2_HOST_BUDGET",
            retry_after_s=5,
        )

    def _shrink(self) -> None:
        """Unloads what is idle until the sum fits again, after a load took more than it had reserved."""
        victims = choose_victims(0, self._unpromised_bytes(), self._candidates())
        if victims is None:
            logger.warning(
                "the loaded models take %s MB, the budget is %s MB, and none is idle",
                _mb(self.committed_bytes()),
                _mb(self._budget_bytes),
            )
        for key in victims or ():
            self._start_unload(self._residents[key], "the loaded models take more than the budget")

    def _unpromised_bytes(self) -> int:
        """Returns what is free once all that is unloading has gone; less than 0 when it is overdrawn."""
        staying = (r.need_bytes for r in self._residents.values() if r.state is not State.UNLOADING)
        return self._budget_bytes - sum(staying)

    def _candidates(self) -> list[Candidate]:
        ready = (r for r in self._residents.values() if r.state is State.READY)
        return [Candidate(r.key, r.need_bytes, r.leases, r.is_pinned, r.last_used_s) for r in ready]

    # --- expiry

    def _watch(self, resident: Resident[H], now_s: float) -> None:
        """Unloads it if it is idle and its time is over, else makes sure that a sweep comes by then."""
        if resident.leases:
            return  # its last lease looks again
        if resident.expires_s <= now_s + _TICK_S:
            self._start_unload(resident, "it was idle")
        elif resident.expires_s < self._sweep_at_s:
            if self._timer is not None:
                self._timer.cancel()
            self._sweep_at_s = resident.expires_s
            self._timer = asyncio.get_running_loop().call_at(resident.expires_s, self._sweep)

    def _sweep(self) -> None:
        """Unloads what has expired and asks for the next sweep."""
        self._timer = None
        self._sweep_at_s = math.inf
        now_s = asyncio.get_running_loop().time()
        for resident in self.residents():
            if resident.state is State.READY:
                self._watch(resident, now_s)

    # --- unloading

    def _end(self, resident: Resident[H]) -> asyncio.Task[H] | asyncio.Task[None]:
        """Returns the task after which the resident is gone, or has just been loaded after all."""
        if resident.held is None:
            assert resident.loading is not None
            resident.loading.cancel()
            return resident.loading
        self._start_unload(resident, "the server is stopping")
        assert resident.unloading is not None
        return resident.unloading

    def _unload_if_drained(self, resident: Resident[H]) -> None:
        if resident.held is not None and not resident.leases:
            self._start_unload(resident, "it was asked to go")

    def _start_unload(self, resident: Resident[H], why: str) -> None:
        if resident.state is State.UNLOADING or resident.held is None:
            return
        logger.info("unloading %s: %s", resident.spec.name, why)
        resident.state = State.UNLOADING
        resident.unloading = task = asyncio.create_task(
            resident.held.close(STOP_GRACE_S if self._is_closed else UNLOAD_GRACE_S),
            name=f"unload {resident.spec.name}",
        )
        self._unloads.add(task)
        task.add_done_callback(lambda task: self._on_unloaded(resident, task))

    def _on_unloaded(self, resident: Resident[H], task: asyncio.Task[None]) -> None:
        self._unloads.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("unloading %s failed. This is a bug.", resident.spec.name, exc_info=error)
        resident.held = None
        self._forget(resident)

    def _forget(self, resident: Resident[H]) -> None:
        if self._residents.get(resident.key) is resident:
            del self._residents[resident.key]
        resident.gone.set()


def _mb(n_bytes: int) -> str:
    return f"{n_bytes / 1e6:.0f}"
