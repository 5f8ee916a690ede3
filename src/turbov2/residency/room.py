"""The line of loads that wait for room, and who has to go for them.

A load has room when the sum of all residents stays within the budget and the machine, which others use as
well, has the memory free. Room is given in the order it was asked for; a later load may go first only where
it touches nothing that an earlier one waits for. Every decision here runs without `await`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple

from turbov2.errors import OutOfMemory
from turbov2.residency.footprints import Footprints
from turbov2.residency.memory import Memory
from turbov2.residency.policy import Candidate, choose_victims, value
from turbov2.residency.pools import HOST, Bytes, Pool, in_mb, in_words, lacking, sum_bytes
from turbov2.residency.states import H, Resident, State
from turbov2.residency.table import Table
from turbov2.types import PoolStatus


class _Place(Generic[H]):
    def __init__(self, resident: Resident[H]) -> None:
        self.resident = resident
        self.granted: asyncio.Future[None] = asyncio.get_running_loop().create_future()


class Free(NamedTuple):
    """Bytes per pool that a load may take: right now, and once all that is leaving has left.

    What loads in the line were promised is not part of `later`; both are negative where too much is taken.
    """

    now: dict[Pool, int]
    later: dict[Pool, int]


class Line(Generic[H]):
    """Gives room to loads, first come first served. `send_away` unloads a resident, or drains it if used."""

    def __init__(
        self,
        table: Table[H],
        memory: Memory,
        footprints: Footprints,
        send_away: Callable[[Resident[H], str], None],
    ) -> None:
        self._table = table
        self._memory = memory
        self._footprints = footprints
        self._send_away = send_away
        self._places: list[_Place[H]] = []
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self.clock = 0.0  # of the policy: the value of the dearest resident it has evicted

    async def wait(self, resident: Resident[H]) -> None:
        """Returns once `resident.need` is reserved for it. Raises: OutOfMemory when it can never have it."""
        place = _Place(resident)
        self._places.append(place)
        self.advance()
        try:
            await place.granted
        finally:
            with contextlib.suppress(ValueError):
                self._places.remove(place)
            self.advance()  # whoever stood behind may go on

    def could_use(self, resident: Resident[H]) -> bool:
        """Returns whether a load waits for a pool in which the resident, now idle, takes room."""
        if not self._places or resident.is_pinned:
            return False
        return any(resident.bytes.get(pool) for place in self._places for pool in place.resident.need)

    def holds(self, resident: Resident[H]) -> bool:
        """Returns whether its load waits here."""
        return any(place.resident is resident for place in self._places)

    def close(self) -> None:
        """Afterwards nobody is given room or sent away."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    # --- decisions

    def advance(self) -> None:
        """Gives room to all who can have it and starts to make room for the others."""
        if not self._places or self._is_closed:
            return
        promised: dict[Pool, int] = {}
        machine = self.machine_bytes()  # read once: it takes longer than all the rest
        for place in list(self._places):
            if not place.granted.done() and not self._settle(place, promised, machine):
                promised = sum_bytes((promised, place.resident.need))

    def shrink(self) -> bool:
        """Sends idle residents away until the budgets are kept; returns whether that is enough."""
        nothing = dict.fromkeys(self._memory.budgets(), 0)
        victims = choose_victims(nothing, self._over_budget(), self._candidates())
        self._send_all(victims or (), "the loaded models took more than the budget")
        return victims is not None

    def free(self, promised: Bytes, machine: Bytes) -> Free:
        """Returns what may be taken, after what is promised already."""
        committed, loading, leaving = self._table.committed(), self._table.loading(), self._table.leaving()
        now, later = {}, {}
        for pool, budget in self._memory.budgets().items():
            on_machine = machine[pool] - loading.get(pool, 0)
            now[pool] = min(budget - committed.get(pool, 0), on_machine)
            later[pool] = now[pool] + leaving.get(pool, 0) - promised.get(pool, 0)
        return Free(now, later)

    def pools(self) -> list[PoolStatus]:
        """Returns how each pool stands."""
        committed = self._table.committed()
        return [
            PoolStatus(
                pool,
                budget_bytes=budget,
                committed_bytes=committed.get(pool, 0),
                available_bytes=self._memory.available_bytes(pool),
                head_room_bytes=self._head_room_bytes(pool),
            )
            for pool, budget in self._memory.budgets().items()
        ]

    def promised(self) -> dict[Pool, int]:
        """Returns what all loads in the line wait for."""
        return sum_bytes(place.resident.need for place in self._places)

    def refusal(self, model: str, need: Bytes, machine: Bytes) -> OutOfMemory | None:
        """Returns why it can not have room even when everything that may go has gone; None if it can."""
        budgets, pinned = self._memory.budgets(), self._table.pinned()
        for pool in lacking(need, budgets):
            return OutOfMemory(
                f"model '{model}' needs about {in_words({pool: need[pool]})}, more than the whole budget of "
                f"{in_mb(budgets.get(pool, 0))}; raise {_variable(pool)}"
            )
        for pool in lacking(need, {p: n - pinned.get(p, 0) for p, n in budgets.items()}):
            return OutOfMemory(
                f"model '{model}' needs about {in_words({pool: need[pool]})}; pinned models leave "
                f"{in_mb(max(budgets[pool] - pinned.get(pool, 0), 0))} of the {in_mb(budgets[pool])} budget; "
                f"unload one or raise {_variable(pool)}",
                retry_after_s=5,
            )
        movable = sum_bytes(r.bytes for r in self._table if not r.is_pinned)
        for pool in need:
            free_bytes = machine[pool] + movable.get(pool, 0)
            if need[pool] > free_bytes:
                return OutOfMemory(
                    f"model '{model}' needs about {in_words({pool: need[pool]})}; this machine has "
                    f"{in_mb(max(free_bytes, 0))} left for it beside other programs and the memory that "
                    "running models need; end some of them or use a smaller model",
                    retry_after_s=5,
                )
        return None

    def _settle(self, place: _Place[H], promised: Bytes, machine: Bytes) -> bool:
        """Returns whether the place needs no promise: it has its room or was refused."""
        resident = place.resident
        if refusal := self.refusal(resident.spec.name, resident.need, machine):
            place.granted.set_exception(refusal)
            return True
        free = self.free(promised, machine)
        if not lacking(resident.need, free.now) and not lacking(resident.need, free.later):
            resident.bytes = dict(resident.need)
            place.granted.set_result(None)
            return True
        is_first = not any(promised.get(pool) for pool in resident.need)
        victims = self._choose(resident.need, free.later, may_drain=is_first)
        left = {pool: max(free.now.get(pool, 0), 0) for pool in resident.need}
        numbers = f"needed {in_words(resident.need)}, {in_words(left)} were free"
        self._send_all(victims, f"made room for {resident.spec.name}: {numbers}")
        return False

    def _choose(self, need: Bytes, later: Bytes, *, may_drain: bool) -> Sequence[Candidate]:
        """Returns who goes now: idle ones if they suffice, else used ones that have stayed long enough."""
        candidates = self._candidates()
        victims = choose_victims(need, later, candidates)
        if victims is None and may_drain:
            victims = choose_victims(need, later, candidates, may_drain=True)
            if victims is None:
                self._look_again_after_stays()
        return victims or ()

    def _look_again_after_stays(self) -> None:
        """Afterwards a timer advances the line when the next resident in use has stayed long enough."""
        loop = asyncio.get_running_loop()
        stays = (r.stays_until_s() for r in self._table if r.state is State.READY and not r.is_pinned)
        at_s = min((s for s in stays if s > loop.time()), default=None)
        if self._timer is not None:
            self._timer.cancel()
        if at_s is not None:
            self._timer = loop.call_at(at_s, self.advance)

    def _send_all(self, victims: Sequence[Candidate], reason: str) -> None:
        for victim in victims:
            self.clock = max(self.clock, value(victim))
            self._send_away(self._table.residents[victim.key], reason)

    # --- facts

    def _candidates(self) -> list[Candidate]:
        return self._table.candidates(self._footprints)

    def _over_budget(self) -> dict[Pool, int]:
        committed, leaving = self._table.committed(), self._table.leaving()
        return {
            pool: budget - committed.get(pool, 0) + leaving.get(pool, 0)
            for pool, budget in self._memory.budgets().items()
        }

    def machine_bytes(self) -> dict[Pool, int]:
        """Returns what the machine has free beside the head-room, per pool."""
        available = self._memory.available_bytes
        return {pool: available(pool) - self._head_room_bytes(pool) for pool in self._memory.budgets()}

    def _head_room_bytes(self, pool: Pool) -> int:
        """Returns what running models need on top: the largest peak of a batch, at least a margin."""
        return max(self._table.peak().get(pool, 0), self._memory.margin_bytes(pool))


def _variable(pool: Pool) -> str:
    return "TURBOV2_HOST_BUDGET" if pool == HOST else "TURBOV2_VRAM_BUDGET"
