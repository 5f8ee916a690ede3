"""Leases: how a request gets its model, waits for it, and gives it back."""

from __future__ import annotations

import asyncio
import copy
import math
from types import TracebackType
from typing import Generic

from turbov2.catalog import ModelSpec
from turbov2.errors import LoadTimeout, Stopping, TurboError
from turbov2.residency.lifecycle import Lifecycle
from turbov2.residency.states import H, Resident, State

SHORT_PAUSE_S = 2.0  # who comes this little before a failed model's next try waits for it


class Lease(Generic[H]):
    """Holds a model while a request uses it: nothing evicts it, nothing cuts it.

    `keep_alive_s` decides how long the model stays after this use, and after later uses that do not
    say; None leaves what was said last, at first the model's own or the server's default. When several uses
    overlap, the one that ends last decides. After this use it stays for `linger_s` at least, unless others
    need the room: more uses follow.
    """

    __slots__ = ("_keep_alive_s", "_key", "_leases", "_linger_s", "_resident", "_spec")

    def __init__(
        self, leases: Leases[H], key: str, spec: ModelSpec, keep_alive_s: float | None, linger_s: float
    ) -> None:
        self._leases = leases
        self._key = key
        self._spec = spec
        self._keep_alive_s = keep_alive_s
        self._linger_s = linger_s
        self._resident: Resident[H] | None = None

    async def __aenter__(self) -> H:
        resident = self._leases.residents.get(self._key)
        # The usual case takes no await: the model is there and its runner lives.
        if resident is not None and resident.is_usable():
            resident.leases += 1
        else:
            resident = await self._leases.join(self._key, self._spec)
        self._resident = resident
        assert resident.held is not None, "a ready resident holds its model. This is a bug."
        return resident.held

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._resident is not None, "left a lease that was never entered. This is a bug."
        self._leases.release(self._resident, self._keep_alive_s, self._linger_s)


class Leases(Generic[H]):
    """Counts who holds what. `load_timeout_s` bounds how long a request waits for its model."""

    def __init__(self, life: Lifecycle[H], load_timeout_s: float) -> None:
        self._life = life
        self._load_timeout_s = load_timeout_s if math.isfinite(load_timeout_s) else None
        self.residents = life.table.residents

    async def join(self, key: str, spec: ModelSpec) -> Resident[H]:
        """Returns the resident, ready, with a lease that is the caller's to release."""
        try:
            async with asyncio.timeout(self._load_timeout_s) as timeout:
                while (resident := await self._try_join(key, spec)) is None:
                    pass  # every try that gives nothing has waited for the table to change
                return resident
        except TimeoutError as error:
            if not timeout.expired():
                raise
            message = f"model '{spec.name}' was not ready within {self._load_timeout_s:g} s; try again"
            raise LoadTimeout(message, retry_after_s=5) from error

    def release(self, resident: Resident[H], keep_alive_s: float | None, linger_s: float = 0.0) -> None:
        """Afterwards the lease is over; the model stays as long as was said last."""
        resident.leases -= 1
        if resident.held is None:
            if not resident.leases:
                self._life.drop_if_unwanted(resident)
            return
        now_s = asyncio.get_running_loop().time()
        resident.last_used_s = now_s
        resident.n_uses += 1
        resident.clock = self._life.line.clock
        if not resident.held.is_alive:
            self._life.crash(resident, "ended")
        elif resident.state is State.DRAINING:
            self._life.unload_if_drained(resident)
        elif resident.state is State.READY:
            if not resident.is_pinned:
                if keep_alive_s is not None:
                    resident.keep_alive_s = keep_alive_s
                resident.expires_s = now_s + max(resident.keep_alive_s, linger_s)
                self._life.expire(resident, now_s)
            if not resident.leases and self._life.line.could_use(resident):
                self._life.line.advance()

    async def _try_join(self, key: str, spec: ModelSpec) -> Resident[H] | None:
        """Returns the leased resident, or None once it is worth looking again."""
        if self._life.is_closed:
            raise Stopping("the server is stopping; send it to another, or later", retry_after_s=5)
        now_s = asyncio.get_running_loop().time()
        resident = self.residents.get(key)
        if resident is None or resident.is_due(now_s):
            resident = self._life.start_load(key, spec)
        if resident.is_usable():
            resident.leases += 1
            return resident
        if resident.state is State.LOADING:
            return resident if await self._join_load(resident) else None
        if resident.state is State.FAILED:
            await _wait_out(resident, resident.retry_at_s - now_s)
            return None
        if resident.is_dead():
            self._life.crash(resident, "ended")
        await resident.gone.wait()
        return None

    async def _join_load(self, resident: Resident[H]) -> bool:
        """Returns once it is loaded: True with a lease, False when it was dropped, died or was closed.

        Raises: what loading raised, a copy for each who waited.
        """
        assert resident.loading is not None
        resident.leases += 1  # from now on, so that nothing evicts it between its load and our use
        try:
            # The load is shared and goes on when we leave.
            await asyncio.wait((resident.loading,))
        except BaseException:
            self.release(resident, None)
            raise
        if resident.held is not None and resident.state is not State.UNLOADING:
            return True
        resident.leases -= 1
        if resident.failure is not None and resident.held is None:
            raise _told_again(resident.failure)
        return False


async def _wait_out(resident: Resident[H], pause_s: float) -> None:
    """Returns when a failed model may be tried again. Raises: its failure, when that is not soon."""
    assert resident.failure is not None
    if pause_s > SHORT_PAUSE_S:
        raise _told_again(resident.failure, retry_after_s=pause_s)
    await asyncio.sleep(pause_s)


def _told_again(failure: TurboError, retry_after_s: float | None = None) -> TurboError:
    """Returns a copy: one exception raised in many tasks would gather the frames of all of them."""
    told = copy.copy(failure)
    told.__cause__ = failure
    if retry_after_s is not None:
        told.retry_after_s = retry_after_s
    return told
