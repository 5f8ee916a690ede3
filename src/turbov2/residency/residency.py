"""Residency: which models are in memory, who holds them, and when they go.

Every decision runs without `await`, so it is atomic in the event loop; loading and unloading run as
tasks of their own and come back through the same table.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime as dt
import logging
import math
from collections.abc import Awaitable, Callable, Sequence
from types import TracebackType
from typing import Generic

from turbov2.catalog import ModelSpec
from turbov2.errors import LoadTimeout, OutOfMemory
from turbov2.residency.policy import Candidate, choose_victims
from turbov2.residency.states import H, Resident, State

logger = logging.getLogger(__name__)
UNLOAD_GRACE_S = 10.0


class Lease(Generic[H]):
    """Holds a model while a request uses it: nothing evicts it, nothing cuts it.

    `keep_alive_s` decides how long the model stays after this use; None keeps the server's default.
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
        self._resident = resident = await self._residency._acquire(self._key, self._spec)
        assert resident.held is not None, "a ready resident holds its model. This is a bug."
        return resident.held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._resident is not None, "left a lease that was never entered. This is a bug."
        self._residency._release(self._resident, self._keep_alive_s)


class Residency(Generic[H]):
    """The table of residents. `load` does the slow work; `budget_bytes` bounds the sum of all residents."""

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
        self._load_timeout_s = load_timeout_s
        self._residents: dict[str, Resident[H]] = {}
        self._unloads: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    @property
    def budget_bytes(self) -> int:
        return self._budget_bytes

    def residents(self) -> Sequence[Resident[H]]:
        """Returns the table, in order of loading."""
        return list(self._residents.values())

    def committed_bytes(self) -> int:
        """Returns what residents take and loads in progress reserve."""
        return sum(resident.need_bytes for resident in self._residents.values())

    def lease(self, key: str, spec: ModelSpec, keep_alive_s: float | None) -> Lease[H]:
        """Returns the context manager that holds the model, loading it first if needed.

        Raises on entering: OutOfMemory, LoadTimeout, and what loading raises.
        """
        return Lease(self, key, spec, keep_alive_s)

    def pin(self, key: str) -> None:
        """Afterwards the model stays until it is unloaded by name."""
        self._residents[key].is_pinned = True
        self._residents[key].expires_s = math.inf

    async def unload(self, key: str) -> bool:
        """Returns False when the model was not there. A model in use goes when its last lease ends."""
        resident = self._residents.get(key)
        if resident is None:
            return False
        if resident.loading is not None:
            await asyncio.gather(resident.loading, return_exceptions=True)
        resident.is_pinned = False
        resident.keep_alive_s = 0.0
        resident.expires_s = 0.0
        self._sweep()
        if resident.state is State.UNLOADING:
            await asyncio.wait(self._unloads)
        return True

    async def close(self) -> None:
        """Afterwards nothing is resident."""
        if self._timer is not None:
            self._timer.cancel()
        loads = [r.loading for r in self._residents.values() if r.loading is not None]
        for task in loads:
            task.cancel()
        await asyncio.gather(*loads, return_exceptions=True)
        for resident in list(self._residents.values()):
            self._start_unload(resident)
        await asyncio.gather(*self._unloads, return_exceptions=True)

    async def _acquire(self, key: str, spec: ModelSpec) -> Resident[H]:
        resident = self._residents.get(key)
        # The usual case takes no await: the model is there and its runner lives.
        if resident is None or resident.state is not State.READY or not self._is_alive(resident):
            resident = await self._make_ready(key, spec)
        resident.leases += 1
        return resident

    def _release(self, resident: Resident[H], keep_alive_s: float | None) -> None:
        resident.leases -= 1
        now_s = asyncio.get_running_loop().time()
        resident.last_used_s = now_s
        if keep_alive_s is not None:
            resident.keep_alive_s = keep_alive_s
            resident.is_pinned = resident.is_pinned and keep_alive_s > 0
        if not resident.is_pinned:
            resident.expires_s = now_s + resident.keep_alive_s
            self._watch(resident.expires_s)
        if not self._is_alive(resident):
            self._start_unload(resident)

    async def _make_ready(self, key: str, spec: ModelSpec) -> Resident[H]:
        try:
            async with asyncio.timeout(self._load_timeout_s if math.isfinite(self._load_timeout_s) else None):
                while True:
                    resident = self._residents.get(key)
                    if resident is None and self._make_room(spec):
                        resident = self._start_load(key, spec)
                    if resident is None:
                        await asyncio.wait(self._unloads, return_when=asyncio.FIRST_COMPLETED)
                    elif resident.state is State.READY and self._is_alive(resident):
                        return resident
                    else:
                        await self._settle(resident)
        except TimeoutError as error:
            raise LoadTimeout(f"model '{spec.name}' is still loading; try again", retry_after_s=5) from error

    async def _settle(self, resident: Resident[H]) -> None:
        """Returns when the resident left its passing state. Raises: what loading raised."""
        if resident.loading is not None:
            # Shielded: others wait for the same load, and one leaving client must not end it.
            await asyncio.shield(resident.loading)
            return
        self._start_unload(resident)  # dead or draining
        if self._unloads:
            await asyncio.wait(self._unloads, return_when=asyncio.FIRST_COMPLETED)

    def _start_load(self, key: str, spec: ModelSpec) -> Resident[H]:
        resident: Resident[H] = Resident(key, spec, spec.host_bytes)
        resident.keep_alive_s = self._keep_alive_s
        self._residents[key] = resident
        resident.loading = asyncio.create_task(self._run_load(resident), name=f"load {spec.name}")
        # Retrieved here as well, so that a load nobody waits for any more does not warn.
        resident.loading.add_done_callback(lambda task: None if task.cancelled() else task.exception())
        return resident

    def _make_room(self, spec: ModelSpec) -> bool:
        """Returns True if the model fits now; else starts the unloads that make it fit.

        Raises: OutOfMemory when it cannot fit beside what is in use.
        """
        free_bytes = self._budget_bytes - self.committed_bytes()
        if spec.host_bytes <= free_bytes:
            return True
        leaving_bytes = sum(r.need_bytes for r in self._residents.values() if r.state is State.UNLOADING)
        victims = choose_victims(spec.host_bytes, free_bytes + leaving_bytes, self._candidates())
        if victims is None:
            raise OutOfMemory(
                f"model '{spec.name}' needs about {spec.host_bytes / 1e6:.0f} MB; "
                f"{max(free_bytes, 0) / 1e6:.0f} MB of the {self._budget_bytes / 1e6:.0f} MB budget are free and the "
                "loaded models are in use or pinned; unload one or raise TURBOV2_HOST_BUDGET",
                retry_after_s=5,
            )
        for key in victims:
            logger.info("unloading %s to make room for %s", self._residents[key].spec.name, spec.name)
            self._start_unload(self._residents[key])
        return False

    def _candidates(self) -> list[Candidate]:
        ready = (r for r in self._residents.values() if r.state is State.READY)
        return [Candidate(r.key, r.need_bytes, r.leases, r.is_pinned, r.last_used_s) for r in ready]

    async def _run_load(self, resident: Resident[H]) -> None:
        loop = asyncio.get_running_loop()
        started_s = loop.time()
        try:
            resident.held = await self._load(resident.spec)
        except BaseException:
            resident.state = State.FAILED
            self._residents.pop(resident.key, None)
            raise
        finally:
            resident.loading = None
        resident.load_s = loop.time() - started_s
        resident.loaded_at = dt.datetime.now(dt.UTC)
        resident.need_bytes = resident.held.host_bytes()
        resident.last_used_s = loop.time()
        resident.expires_s = loop.time() + resident.keep_alive_s
        resident.state = State.READY
        self._watch(resident.expires_s)
        logger.info("model %s is ready after %.2f s", resident.spec.name, resident.load_s)

    def _is_alive(self, resident: Resident[H]) -> bool:
        return resident.held is not None and resident.held.is_alive

    def _watch(self, when_s: float) -> None:
        """Makes sure that a sweep happens no later than `when_s`."""
        if math.isinf(when_s) or (self._timer is not None and self._timer.when() <= when_s):
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when_s, self._sweep)

    def _sweep(self) -> None:
        """Unloads what has expired and is not leased; asks for the next sweep."""
        self._timer = None
        now_s = asyncio.get_running_loop().time()
        ready = [r for r in self._residents.values() if r.state is State.READY and not r.is_pinned]
        for resident in ready:
            if resident.expires_s <= now_s and not resident.leases:
                logger.info("unloading %s, idle", resident.spec.name)
                self._start_unload(resident)
        coming = [r.expires_s for r in ready if r.state is State.READY and r.expires_s > now_s]
        if coming:
            self._watch(min(coming))

    def _start_unload(self, resident: Resident[H]) -> None:
        if resident.state is State.UNLOADING or resident.held is None:
            return
        resident.state = State.UNLOADING
        task = asyncio.create_task(
            self._run_unload(resident, resident.held), name=f"unload {resident.spec.name}"
        )
        self._unloads.add(task)
        task.add_done_callback(self._unloads.discard)

    async def _run_unload(self, resident: Resident[H], held: H) -> None:
        await held.close(UNLOAD_GRACE_S)
        resident.held = None
        with contextlib.suppress(KeyError):
            del self._residents[resident.key]
