"""A storm of random events over residency, and what must stay true in it.

Bytes taken never pass a budget, in any pool; nothing that is held is closed unless its runner died; a model
is never loaded twice at a time (checked in `World`); every request ends exactly once; a cancelled request
loads nothing; who asks for a model that can fit gets it in time; no lease leaks; all memory comes back.
"""

from __future__ import annotations

import asyncio
import logging
import math
import random
from collections.abc import Callable

from tests.support.clock import run_on_clock, settle
from tests.support.residents import CUDA, UNIT, Call, FakeHeld, World, honest_bytes, spec_of
from turbov2.catalog import ModelSpec
from turbov2.errors import LoadFailed, LoadTimeout, OutOfMemory, TurboError
from turbov2.residency import HOST, Resident, State

EVENTS_A_WORLD = 2_000  # then all ends and a new world begins
BUDGET, CUDA_BUDGET = 12, 12
LOAD_TIMEOUT_S = 200.0  # how long the slowest rotation of all models through the smallest room may take
SPECS = (
    spec_of("a", 3, priority="low"),
    spec_of("b", 4, keep_alive="5s"),
    spec_of("c", 6),
    spec_of("d", 9, priority="high"),
    spec_of("e", 2, 5),
    spec_of("f", 1, 8),
    spec_of("g", 5, 3, priority="low"),
    spec_of("huge", 13),
)
KEEP_ALIVES_S = (None, None, None, 0.0, 5.0, 50.0, math.inf)


class Storm:
    """Does what users, backends, machines and operators do, one random event after the other."""

    def __init__(self, seed: int, *, is_honest: bool) -> None:
        self.random = random.Random(seed)
        self.world = World(BUDGET, CUDA_BUDGET, keep_alive_s=20.0, load_timeout_s=LOAD_TIMEOUT_S)
        self.world.is_honest = is_honest
        self.world.load_s, self.world.close_s = 0.5, 0.1
        self.calls: list[Call] = []
        self.others: list[asyncio.Task[object]] = []
        self.pinned: str = ""
        events: list[tuple[int, Callable[[], None]]] = [
            (300, self.ask), (300, self.go), (40, self.leave), (2, self.fail_next), (3, self.crash),
            (3, self.unload), (1, self.pin), (2, self.relieve), (10, self.explain), (10, self.linger),
        ]  # fmt: skip
        if not is_honest:
            events += [(2, self.creep), (2, self.leak)]
        self._weights = [weight for weight, _ in events]
        self._events = [event for _, event in events]

    async def run(self, n_events: int) -> None:
        """Returns after so many events, when all has ended well."""
        draw = self.random
        for event in draw.choices(self._events, self._weights, k=n_events):
            event()
            if draw.random() < 0.1:
                await asyncio.sleep(draw.choice((0.0, 0.0, 0.01, 0.3, 3.0)))
                self.check()
        await self.finish()

    # --- events

    def ask(self) -> None:
        if len(self.calls) < 60:
            spec = self.random.choice(SPECS)
            self.calls.append(Call(self.world, spec, self.random.choice(KEEP_ALIVES_S)))

    def go(self) -> None:
        if self.calls:
            self.random.choice(self.calls).go()

    def leave(self) -> None:
        if self.calls:
            self.random.choice(self.calls).task.cancel()

    def fail_next(self) -> None:
        name = self.random.choice(SPECS).name
        error: TurboError = LoadFailed(f"no {name}")
        if self.random.random() < 0.5:
            error = OutOfMemory(f"no memory for {name}")
        self.world.failures[name] = [error]

    def crash(self) -> None:
        if alive := [held for held in self.world.held if held.is_alive and not held.is_closing]:
            self.world.crash(self.random.choice(alive))

    def unload(self) -> None:
        key = self.random.choice(SPECS).name
        if key == self.pinned:
            self.pinned = ""
        self.others.append(asyncio.create_task(self.world.residency.unload(key)))
        if self.random.random() < 0.2:
            self.others[-1].cancel()

    def pin(self) -> None:
        """Pins one model at a time, and one so small that all others still fit beside it."""
        if not self.pinned:
            self.pinned = "a"
            self.world.residency.pin(self.pinned)

    def relieve(self) -> None:
        key = self.random.choice(SPECS).name
        self.others.append(asyncio.create_task(self.world.residency.relieve(key)))

    def explain(self) -> None:
        spec = self.random.choice(SPECS)
        plan = self.world.residency.explain(spec.name, spec, {HOST: spec.host_bytes, CUDA: spec.device_bytes})
        leased = {r.spec.name for r in self.world.residency.residents() if r.leases or r.is_pinned}
        assert not leased & {victim.model for victim in plan.victims}

    def linger(self) -> None:
        self.world.lingers_s = self.random.choice((0.0, 0.05, 2.0))

    def creep(self) -> None:
        if held := self._any_held():
            held.bytes = {pool: n_bytes + 400 * UNIT for pool, n_bytes in held.bytes.items()}

    def leak(self) -> None:
        self.world.lingers_s = 15.0

    def _any_held(self) -> FakeHeld | None:
        here = [held for held in self.world.held if held.is_alive and not held.is_closing]
        return self.random.choice(here) if here else None

    # --- what must be true

    def check(self) -> None:
        world = self.world
        assert not world.problems, world.problems
        if world.is_honest:
            assert world.keeps_budgets(), "more is taken than a budget allows"
            for pool, budget in world.budgets.items():
                assert world.residency.committed_bytes(pool) <= budget
        keys = {resident.key: resident for resident in world.residency.residents()}
        for resident in keys.values():
            assert resident.leases >= 0
            if isinstance(resident.held, FakeHeld):
                assert resident.leases >= resident.held.holders
        for held in world.held:
            owner = keys.get(held.spec.name)
            is_owned = owner is not None and (owner.held is held or _just_loads(owner))
            assert held.is_closing or is_owned, "nobody owns it"
        ended = [call for call in self.calls if call.task.done()]
        for call in ended:
            self.check_end(call)
        if ended:
            self.calls = [call for call in self.calls if not call.task.done()]
        self.others = [task for task in self.others if not task.done()]

    def check_end(self, call: Call) -> None:
        # A task that was cancelled before it ran never asked.
        assert len(call.outcomes) == 1 or call.task.cancelled(), "a request ends exactly once"
        assert not isinstance(call.error, LoadTimeout), f"{call.spec.name} starved"
        assert "the server's log says why" not in str(call.error), "an error without a name"
        if (
            isinstance(call.error, OutOfMemory)
            and "no memory" not in str(call.error)
            and self.world.is_honest
        ):
            assert not self.could_fit(call.spec), f"refused though it can fit: {call.error}"

    def could_fit(self, spec: ModelSpec) -> bool:
        pinned = honest_bytes(SPECS[0]) if self.pinned else {}
        need = honest_bytes(spec)
        return all(need[p] + 3 * UNIT * bool(pinned) <= self.world.budgets[p] for p in need)

    # --- the end

    async def finish(self) -> None:
        """Lets all end by itself: requests, loads, unloads, keep_alives; then stops the server."""
        world = self.world
        for _ in range(400):
            for call in self.calls:
                call.go()
            if not self.calls and not self.others:
                break
            await asyncio.sleep(1)
            self.check()
        assert not self.calls, "a request waits for ever"
        assert not self.others, "an unload waits for ever"
        world.failures.clear()
        world.lingers_s = 0.0
        await asyncio.sleep(70)  # longer than any finite keep_alive and any back-off
        for resident in world.residency.residents():
            assert resident.leases == 0, "a lease has leaked"
            assert resident.state in (State.READY, State.FAILED)
            stays = resident.is_pinned or math.isinf(resident.keep_alive_s)
            assert stays or resident.state is State.FAILED, "it should have gone"
        await self.cancelled_requests_load_nothing()
        await world.end()
        await asyncio.sleep(20)
        assert not world.held, "memory did not come back"

    async def cancelled_requests_load_nothing(self) -> None:
        n_loads = len(self.world.loads)
        ready = {r.key for r in self.world.residency.residents() if r.state is State.READY}
        calls = [Call(self.world, spec) for spec in SPECS if spec.name not in ready]
        for call in calls:
            call.task.cancel()
        await settle()
        await asyncio.sleep(1)
        for call in calls:
            await call.end()
        assert len(self.world.loads) == n_loads, "a cancelled request loaded a model"


def _just_loads(resident: Resident[FakeHeld]) -> bool:
    return resident.held is None and resident.state in (State.LOADING, State.DRAINING)


def residency_storm(seed: int, n_events: int) -> int:
    """Returns the events run. Raises: AssertionError that names the seed to run again."""
    logger = logging.getLogger("turbov2.residency")
    level = logger.level
    logger.setLevel(logging.CRITICAL)  # failures and crashes are what storms are made of
    try:
        for n_run in range(0, n_events, EVENTS_A_WORLD):
            _run(seed + n_run, min(EVENTS_A_WORLD, n_events - n_run))
    finally:
        logger.setLevel(level)
    return n_events


def _run(seed: int, n_events: int) -> None:
    async def main() -> None:
        await Storm(seed, is_honest=random.Random(seed).random() < 0.75).run(n_events)

    try:
        run_on_clock(main())
    except Exception as error:
        raise AssertionError(f"residency storm of seed {seed}, {n_events} events: {error}") from error
