"""Loads that fail and models that crash: who hears of it, and when they are tried again."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.clock import now_s, on_clock
from tests.support.residents import Call, World, spec_of
from turbov2.catalog import ModelSpec
from turbov2.errors import (
    LoadFailed,
    LoadTimeout,
    ModelNotFound,
    ModelUnavailable,
    OutOfMemory,
    PullFailed,
    RunnerCrashed,
    TurboError,
)
from turbov2.residency import HOST, State

A = spec_of("a", 40)


async def use(world: World, spec: ModelSpec = A) -> Call:
    """Returns the request, which holds the model, or has failed."""
    return await Call(world, spec).enter()


def state(world: World) -> State | None:
    residents = world.residency.residents()
    return residents[0].state if residents else None


@pytest.mark.parametrize("kind", [LoadFailed, RunnerCrashed, OutOfMemory, LoadTimeout, PullFailed])
def test_a_failed_load_rests_ever_longer(kind: type[TurboError]) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        world.failures["a"] = [kind("it is broken") for _ in range(9)]
        waits: list[float] = []
        for _ in range(9):
            await asyncio.sleep(max(waits[-1] - 2, 0) if waits else 0)  # who comes 2 s before waits it out
            call = await use(world)
            assert isinstance(call.error, kind)
            waits.append(world.residency.residents()[0].retry_at_s - now_s())
        assert waits == pytest.approx([0.5, 1, 2, 4, 8, 16, 32, 60, 60])
        assert world.loads == ["a"] * 9
        await world.end()

    run()


@on_clock
async def test_a_pinned_model_that_fails_is_told_until_it_is_loaded() -> None:
    world = World()
    world.residency.pin("a")
    world.failures["a"] = [LoadFailed("it is broken") for _ in range(2)]
    await use(world)
    told = []
    while state(world) is not State.READY:
        told.append((state(world), world.residency.is_well()))
        await asyncio.sleep(0.1)
    assert {state for state, _ in told} == {State.FAILED, State.LOADING}, "it was tried again by itself"
    assert not any(is_well for _, is_well in told)
    assert world.residency.is_well()
    await world.end()


@on_clock
async def test_a_failed_model_is_shown_and_answers_at_once() -> None:
    world = World()
    world.failures["a"] = [LoadFailed("weights are there and do not load") for _ in range(4)]
    for _ in range(3):
        await use(world)
    await use(world)
    started_s = now_s()
    calls = [await use(world) for _ in range(3)]
    assert now_s() == started_s
    assert [str(call.error) for call in calls] == ["weights are there and do not load"] * 3
    assert len({id(call.error) for call in calls}) == 3
    assert isinstance(calls[0].error, LoadFailed)
    assert calls[0].error.retry_after_s == pytest.approx(4)
    assert len(world.loads) == 4
    resident = world.residency.residents()[0]
    assert resident.state is State.FAILED
    assert resident.bytes == {}
    plan = world.residency.explain("a", A, {HOST: 40_000_000})
    assert plan.state == "failed"
    assert plan.failed_reason == "weights are there and do not load"
    assert plan.retry_in_s == pytest.approx(4)
    assert [event.kind for event in plan.last_events] == ["load_failed"] * 4
    await asyncio.sleep(4)
    await (await use(world)).end()
    assert state(world) is State.READY
    await world.end()


@on_clock
async def test_unloading_a_failed_model_forgives_it() -> None:
    world = World()
    world.failures["a"] = [LoadFailed("no") for _ in range(5)]
    for _ in range(4):
        await use(world)
    assert not await world.residency.unload("a")
    assert world.residency.residents() == []
    world.failures.clear()
    started_s = now_s()
    await (await use(world)).end()
    assert now_s() == started_s + world.load_s
    await world.end()


@pytest.mark.parametrize("kind", [ModelUnavailable, ModelNotFound])
def test_what_users_mend_does_not_rest(kind: type[TurboError]) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        world.failures["a"] = [kind("install it")]
        call = await use(world)
        assert isinstance(call.error, kind)
        assert world.residency.residents() == []
        started_s = now_s()
        await (await use(world)).end()
        assert now_s() == started_s + world.load_s
        await world.end()

    run()


@on_clock
async def test_no_room_is_no_failed_load() -> None:
    world = World()
    for _ in range(5):
        call = await use(world, spec_of("huge", 200))
        assert isinstance(call.error, OutOfMemory)
    assert world.residency.residents() == []
    assert [event.kind for event in world.events] == ["refused"] * 5
    assert list(world.residency.events()) == world.events[-1:], "only the last of the same is kept"
    await world.end()


@on_clock
async def test_the_first_crash_costs_no_pause_the_next_ones_do() -> None:
    world = World()
    pauses: list[float] = []
    for _ in range(4):
        call = await use(world)
        assert call.held is not None
        world.crash(call.held)
        await call.end()
        await asyncio.sleep(0.6)
        assert state(world) is State.FAILED
        pauses.append(world.residency.residents()[0].retry_at_s - now_s() + 0.6)
    assert pauses == pytest.approx([0, 0.5, 1, 2], abs=0.01)
    assert [event.kind for event in world.events] == ["loaded", "crashed"] * 4
    assert world.events[1].reason == "the process that ran model 'a' ended (signal 9)"
    await asyncio.sleep(70)
    call = await use(world)
    assert call.held is not None
    world.crash(call.held)
    await call.end()
    assert world.residency.residents()[0].retry_at_s <= now_s(), "a crash a minute later is a first one"
    await world.end()


@on_clock
async def test_a_crash_ends_a_model_whoever_uses_it() -> None:
    world = World()
    calls = [await use(world), await use(world)]
    world.crash(world.held[0])
    await asyncio.sleep(0.6)
    assert state(world) is State.FAILED
    late = await use(world)
    assert late.held is not None
    for call in (*calls, late):
        await call.end()
    assert [r.leases for r in world.residency.residents()] == [0]
    await world.end()


@on_clock
async def test_a_pinned_model_comes_back_by_itself() -> None:
    world = World()
    call = await use(world)
    world.residency.pin("a")
    await call.end()
    world.failures["a"] = [LoadFailed("no"), LoadFailed("no")]
    world.crash(world.held[0])
    await asyncio.sleep(0.6)
    assert state(world) is State.LOADING
    await asyncio.sleep(10)
    assert state(world) is State.READY
    assert world.loads == ["a"] * 4
    assert [event.kind for event in world.events] == [
        "loaded",
        "crashed",
        "load_failed",
        "load_failed",
        "loaded",
    ]
    assert world.residency.residents()[0].is_pinned
    assert await world.residency.unload("a")
    await asyncio.sleep(100)
    assert world.residency.residents() == []
    await world.end()


@on_clock
async def test_a_death_nobody_tells_of_is_noticed() -> None:
    world = World(keep_alive_s=1000)
    await (await use(world)).end()
    world.held[0].is_alive = False
    await asyncio.sleep(7)
    assert state(world) is State.FAILED
    assert world.events[-1].kind == "crashed"
    await world.end()


@on_clock
async def test_a_model_that_was_ended_because_nobody_waited_has_not_crashed() -> None:
    world = World()
    for _ in range(9):
        await (await use(world)).end()
        world.held[-1].was_abandoned = True
        world.crash(world.held[-1], "was ended, because nobody waits for what it computes")
        await asyncio.sleep(2 * world.close_s)
        assert world.residency.residents() == []
        assert world.events[-1].kind == "abandoned"
    began_s = now_s()
    await (await use(world)).end()
    assert now_s() - began_s < world.load_s + 0.1, "loaded again at once, the tenth time too"
    world.residency.pin("a")
    world.held[-1].was_abandoned = True
    world.crash(world.held[-1])
    await asyncio.sleep(10)
    assert state(world) is State.READY, "pinned"
    await world.end()


@on_clock
async def test_a_death_long_past_changes_nothing() -> None:
    world = World()
    await (await use(world)).end()
    world.residency.died("a", "ended (signal 9)")
    world.residency.died("nobody", "ended (signal 9)")
    assert state(world) is State.READY, "the one that died was another"
    await world.end()


@on_clock
async def test_a_model_that_dies_as_it_loads_has_crashed() -> None:
    world = World()
    load = world.load

    async def load_and_die(spec: ModelSpec) -> object:
        held = await load(spec)
        held.is_alive = len(world.loads) > 1
        return held

    world.load = load_and_die  # type: ignore[method-assign, assignment]
    call = await use(world)
    await call.end()
    assert call.outcomes == ["answered"], "by the second load"
    assert world.loads == ["a", "a"]
    await world.end()


@on_clock
async def test_a_model_keeps_its_own_keep_alive() -> None:
    world = World(keep_alive_s=1000)
    await (await use(world, spec_of("own", 10, keep_alive="5s"))).end()
    await asyncio.sleep(6)
    assert world.unloads == ["own"]
    await world.end()
