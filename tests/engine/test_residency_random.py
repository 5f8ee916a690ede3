"""Residency under random events: whatever comes in whatever order, these stay true.

The memory that is really taken never passes a budget; nothing that is held is closed; a model is never
loaded twice at a time (checked in `World`); every request ends exactly once; none leaks its lease; after the
last one and its keep_alive the model goes; no task is left over and nobody waits for ever. Hypothesis picks
the order down to the single step of the loop; the storms are longer, and their time passes by itself.
"""

from __future__ import annotations

import asyncio
import math
import os

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.clock import run_on_clock, settle
from tests.support.residents import Call, FakeHeld, World, spec_of
from tests.support.storms import residency_storm
from turbov2.errors import LoadFailed
from turbov2.residency import HOST, State

N_EXAMPLES = int(os.environ.get("TURBOV2_TEST_EXAMPLES", "150"))
LOAD_TIMEOUT_S = 30.0
SPECS = [spec_of("a", 3), spec_of("b", 4, 6), spec_of("c", 6, 7), spec_of("d", 9), spec_of("huge", 11)]

_index = st.integers(0, 20)  # of what there is at the time, modulo its number
_model = st.integers(0, len(SPECS) - 1)
_keep_alive_s = st.sampled_from([None, None, None, 0.0, 5.0, 50.0, math.inf])
_event = st.one_of(
    st.tuples(st.just("ask"), _model, _keep_alive_s),
    st.tuples(st.just("ask"), _model, _keep_alive_s),
    st.tuples(st.just("go"), _index, st.none()),
    st.tuples(st.just("go"), _index, st.none()),
    st.tuples(st.just("leave"), _index, st.none()),
    st.tuples(st.just("load ends"), _index, st.booleans()),
    st.tuples(st.just("load ends"), _index, st.just(True)),
    st.tuples(st.just("load ends"), _index, st.just(True)),
    st.tuples(st.just("load ends"), _index, st.just(True)),
    st.tuples(st.just("close ends"), _index, st.none()),
    st.tuples(st.just("close ends"), _index, st.none()),
    st.tuples(st.just("crash"), _index, st.none()),
    st.tuples(st.just("unload"), _model, st.none()),
    st.tuples(st.just("leave unload"), _index, st.none()),
    st.tuples(st.just("pin"), _model, st.none()),
    st.tuples(st.just("wait"), st.sampled_from([1, 5, 40]), st.none()),
)
# How many steps of the loop pass before the next event: 0 means in the very same one.
_events = st.lists(st.tuples(_event, st.sampled_from([0, 1, 3, 20, 20, 20])), min_size=40, max_size=80)


class Driver:
    """Turns events into what users, backends and operators do, and checks after each."""

    def __init__(self, growth: int) -> None:
        self.world = World(10, 10, keep_alive_s=20.0, load_timeout_s=LOAD_TIMEOUT_S, is_manual=True)
        self.world.growth = growth
        self.calls: list[Call] = []
        self.unloads: list[asyncio.Task[bool]] = []

    async def run(self, events: list[tuple[tuple[str, int, object], int]]) -> None:
        for (kind, index, value), n_steps in events:
            getattr(self, "do_" + kind.replace(" ", "_"))(index, value)
            if kind == "wait":
                await asyncio.sleep(index)
            await settle(n_steps)
            self.check()
        await self.finish()

    def do_ask(self, index: int, keep_alive_s: object) -> None:
        assert keep_alive_s is None or isinstance(keep_alive_s, float)
        self.calls.append(Call(self.world, SPECS[index], keep_alive_s))

    def do_go(self, index: int, _: object) -> None:
        if holding := [call for call in self.calls if call.held is not None]:
            holding[index % len(holding)].go()

    def do_leave(self, index: int, _: object) -> None:
        if here := [call for call in self.calls if not call.task.done()]:
            here[index % len(here)].task.cancel()

    def do_load_ends(self, index: int, is_well: object) -> None:
        if waiting := [(name, load) for name, load in self.world.loading.items() if not load.done()]:
            name, load = waiting[index % len(waiting)]
            self.world.failures[name] = [] if is_well else [LoadFailed(f"no {name}")]
            load.set_result(None)

    def do_close_ends(self, index: int, _: object) -> None:
        if closing := [held for held in self.world.held if held.is_closing and not held.may_close.done()]:
            closing[index % len(closing)].may_close.set_result(None)

    def do_crash(self, index: int, _: object) -> None:
        alive = [held for held in self.world.held if held.is_alive and not held.is_closing]
        if alive and index % 2:
            self.world.crash(alive[index % len(alive)])
        elif alive:  # nobody tells: it is noticed
            alive[index % len(alive)].is_alive = False

    def do_unload(self, index: int, _: object) -> None:
        self.unloads.append(asyncio.create_task(self.world.residency.unload(SPECS[index].name)))

    def do_leave_unload(self, index: int, _: object) -> None:
        if self.unloads:
            self.unloads[index % len(self.unloads)].cancel()

    def do_pin(self, index: int, _: object) -> None:
        self.world.residency.pin(SPECS[index].name)

    def do_wait(self, index: int, _: object) -> None:
        pass

    def check(self) -> None:
        residents = self.world.residency.residents()
        if not self.world.growth:
            assert self.world.keeps_budgets()
            assert self.world.residency.committed_bytes(HOST) <= self.world.budgets[HOST]
        for resident in residents:
            assert resident.leases >= 0
            if isinstance(resident.held, FakeHeld):
                assert resident.leases >= resident.held.holders
        for held in self.world.held:
            is_owned = any(resident.key == held.spec.name for resident in residents)
            assert held.is_closing or is_owned, "nobody owns it"

    async def finish(self) -> None:
        """Lets everything end by itself: requests, loads, unloads, keep_alives; then stops the server."""
        for _ in range(120):  # longer than any finite keep_alive, back-off or wait for a load
            self._let_all_end()
            await asyncio.sleep(1)
        assert all(call.task.done() for call in self.calls), "a request waits for ever"
        assert all(task.done() for task in self.unloads), "an unload waits for ever"
        # A task that was cancelled before it ran never asked.
        assert all(len(call.outcomes) == 1 or call.task.cancelled() for call in self.calls)
        for resident in self.world.residency.residents():
            assert resident.leases == 0, "a lease has leaked"
            if resident.state is not State.FAILED:
                assert resident.state is State.READY
                assert resident.is_pinned or math.isinf(resident.keep_alive_s), "it should have gone"
        self.world.is_ending = True
        closing = asyncio.create_task(self.world.residency.close())
        while not closing.done():
            self._let_all_end()
            await asyncio.sleep(1)
        await self.world.end()

    def _let_all_end(self) -> None:
        for call in self.calls:
            call.go()
        for i in range(20):
            self.do_load_ends(i, True)
            self.do_close_ends(i, None)


@settings(max_examples=N_EXAMPLES, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(_events, st.sampled_from([0, 0, 2]))
def test_invariants(events: list[tuple[tuple[str, int, object], int]], growth: int) -> None:
    async def run() -> None:
        await Driver(growth).run(events)

    run_on_clock(run())


@pytest.mark.parametrize("seed", range(1, 11))
def test_storm(seed: int) -> None:
    assert residency_storm(seed * 1_000_003, 4_000) == 4_000
