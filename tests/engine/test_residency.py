"""Residency, one situation at a time, under a clock that jumps."""

from __future__ import annotations

import asyncio
import math
from pathlib import Path

import pytest

from tests.support.clock import now_s, on_clock, settle
from tests.support.residents import UNIT, Call, World, spec_of
from turbov2.catalog import ModelSpec
from turbov2.errors import LoadFailed, LoadTimeout, OutOfMemory, Stopping
from turbov2.residency import HOST, Footprints, State

A, B, C = (spec_of(name, mb) for name, mb in (("a", 40), ("b", 40), ("c", 60)))


def names(world: World) -> list[str]:
    return [resident.key for resident in world.residency.residents()]


async def use(world: World, spec: ModelSpec = A, keep_alive_s: float | None = None) -> Call:
    """Returns the request, which holds the model, or has failed."""
    return await Call(world, spec, keep_alive_s).enter()


# --- leases


@on_clock
async def test_a_ready_model_is_leased_without_suspending() -> None:
    world = World()
    await (await use(world)).end()
    entering = world.residency.lease("a", A, None).__aenter__()
    with pytest.raises(StopIteration) as stopped:  # it ends within its first step
        entering.send(None)
    assert stopped.value.value is world.held[0]
    assert world.residency.residents()[0].leases == 1
    world.is_ending = True
    await world.residency.close()


@on_clock
async def test_a_lease_is_released_when_its_request_fails() -> None:
    world = World()
    with pytest.raises(ZeroDivisionError):
        async with world.residency.lease("a", A, None):
            raise ZeroDivisionError
    assert world.residency.residents()[0].leases == 0
    await world.end()


# --- loading


@on_clock
async def test_many_requests_share_one_load() -> None:
    world = World()
    calls = [Call(world, A) for _ in range(50)]
    await asyncio.sleep(2)
    assert world.loads == ["a"]
    assert world.residency.residents()[0].leases == 50
    for call in calls:
        await call.end()
    assert [call.outcomes for call in calls] == [["answered"]] * 50
    await world.end()


@on_clock
async def test_the_first_to_ask_may_leave() -> None:
    world = World()
    first, second = Call(world, A), Call(world, A)
    await asyncio.sleep(0.5)
    first.task.cancel()
    await settle()
    assert first.outcomes == ["cancelled"]
    await second.end()
    assert second.outcomes == ["answered"]
    assert world.loads == ["a"]
    assert world.residency.residents()[0].leases == 0
    await world.end()


@on_clock
async def test_a_load_that_all_left_ends_and_expires() -> None:
    world = World(keep_alive_s=5)
    call = Call(world, A)
    await asyncio.sleep(0.5)
    call.task.cancel()
    await asyncio.sleep(1)
    assert world.residency.residents()[0].state is State.READY
    assert world.residency.residents()[0].leases == 0
    await asyncio.sleep(6)
    assert world.unloads == ["a"]
    await world.end()


@on_clock
async def test_leaving_in_the_very_step_the_load_ends_leaks_no_lease() -> None:
    world = World()
    call = Call(world, A)
    await asyncio.sleep(world.load_s)  # same time as the load's end
    call.task.cancel()
    await settle()
    assert call.outcomes == ["cancelled"]
    assert [resident.leases for resident in world.residency.residents()] == [0]
    await world.end()


@on_clock
async def test_all_who_wait_hear_why_it_failed_and_the_next_tries_again() -> None:
    world = World()
    world.failures["a"] = [LoadFailed("weights are there and do not load")]
    calls = [Call(world, A) for _ in range(5)]
    await asyncio.sleep(1.2)
    assert [str(call.error) for call in calls] == ["weights are there and do not load"] * 5
    assert world.residency.committed_bytes(HOST) == 0
    after = await use(world)
    await after.end()
    assert after.outcomes == ["answered"]
    assert world.loads == ["a", "a"]
    await world.end()


@pytest.mark.parametrize("error", [OSError("/secret/path"), TimeoutError("of the load")])
def test_errors_without_a_name_get_one(error: Exception) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        world.failures["a"] = [error]
        call = await use(world)
        assert isinstance(call.error, LoadFailed)
        assert str(call.error) == "model 'a' did not load; the server's log says why"
        assert call.error.__cause__ is not None
        await world.end()

    run()


@on_clock
async def test_errors_of_one_load_are_told_apart() -> None:
    """One exception object raised in many tasks would gather the frames of all of them."""
    world = World()
    world.failures["a"] = [LoadFailed("no", param="model", retry_after_s=7)]
    calls = [Call(world, A) for _ in range(3)]
    await asyncio.sleep(2)
    errors = [call.error for call in calls]
    assert len({id(error) for error in errors}) == 3
    assert all(
        isinstance(error, LoadFailed) and error.retry_after_s == 7 and error.param == "model"
        for error in errors
    )
    await world.end()


@on_clock
async def test_waiting_has_an_end_and_the_load_goes_on() -> None:
    world = World(load_timeout_s=5)
    world.load_s = 12
    first = Call(world, A)
    await asyncio.sleep(4)
    second = Call(world, A)
    await asyncio.sleep(3)
    assert isinstance(first.error, LoadTimeout)
    assert "'a' was not ready within 5 s" in str(first.error)
    assert first.error.retry_after_s
    assert second.outcomes == []
    await asyncio.sleep(3)
    assert isinstance(second.error, LoadTimeout)
    await asyncio.sleep(3)
    third = await use(world)
    await third.end()
    assert third.outcomes == ["answered"]
    assert world.loads == ["a"]
    await world.end()


@on_clock
async def test_no_load_timeout() -> None:
    world = World(load_timeout_s=math.inf)
    world.load_s = 1e4
    call = await use(world)
    await call.end()
    assert call.outcomes == ["answered"]
    await world.end()


# --- keep_alive


@pytest.mark.parametrize(
    ("default_s", "asked", "stays_s"),
    [
        (60, [None], 60),
        (60, [5], 5),
        (60, [500], 500),
        (60, [0], 0),
        (0, [None], 0),
        (60, [5, None], 5),  # sticky, as in Ollama
        (60, [500, 5], 5),
        (60, [5, 500], 500),
        (60, [math.inf, 5], 5),
        (60, [5, math.inf], math.inf),
        (math.inf, [None], math.inf),
        (math.inf, [5], 5),
        (60, [math.inf, None], math.inf),
    ],
)
def test_stays_as_long_as_the_last_use_said(
    default_s: float, asked: list[float | None], stays_s: float
) -> None:
    @on_clock
    async def run() -> None:
        world = World(keep_alive_s=default_s)
        for keep_alive_s in asked:
            await (await use(world, A, keep_alive_s)).end()
        if stays_s > 1:
            await asyncio.sleep(min(stays_s, 1e4) - 1)
            assert names(world) == ["a"]
            assert world.residency.residents()[0].state is State.READY
        if math.isfinite(stays_s):
            await asyncio.sleep(2)
            assert names(world) == []
        assert world.loads == ["a"]
        await world.end()

    run()


@on_clock
async def test_each_goes_at_its_own_time() -> None:
    world = World(budget=1000)
    started_s = now_s()
    for name, keep_alive_s in (("long", 90), ("short", 10), ("middle", 40), ("shorter", 5)):
        await (await use(world, spec_of(name), keep_alive_s)).end()
    gone: dict[str, float] = {}
    while len(gone) < 4:
        await asyncio.sleep(0.25)
        for name in world.unloads:
            gone.setdefault(name, now_s() - started_s)
    assert list(gone) == ["shorter", "short", "middle", "long"]
    assert list(gone.values()) == pytest.approx([9.5, 12.5, 43.5, 91.5], abs=0.8)
    await world.end()


@on_clock
async def test_a_use_starts_the_time_anew() -> None:
    world = World(keep_alive_s=10)
    for _ in range(5):
        await (await use(world)).end()
        await asyncio.sleep(9)
    assert world.loads == ["a"]
    await asyncio.sleep(2)
    assert names(world) == []
    await world.end()


@on_clock
async def test_time_over_while_leased_goes_with_the_lease() -> None:
    world = World(keep_alive_s=5)
    call = await use(world)
    await asyncio.sleep(100)
    assert names(world) == ["a"]
    await call.end()
    await asyncio.sleep(4)
    assert names(world) == ["a"]
    await asyncio.sleep(2)
    assert names(world) == []
    await world.end()


@on_clock
async def test_zero_beside_another_lease() -> None:
    world = World()
    zero, other = await use(world, A, 0), await use(world, A)
    await zero.end()
    await asyncio.sleep(5)
    assert names(world) == ["a"]
    assert other.held is not None
    await other.end()  # said nothing, so what `zero` said holds
    await settle()
    assert world.residency.residents()[0].state is State.UNLOADING
    await asyncio.sleep(1)
    assert names(world) == []
    await world.end()


@on_clock
async def test_zero_by_default_serves_those_who_waited_for_the_load() -> None:
    """A sweep between the load's end and the first use would load for ever and answer nobody."""
    world = World(keep_alive_s=0)
    calls = [Call(world, A) for _ in range(3)]
    await asyncio.sleep(3)
    for call in calls:
        await call.end()
    assert [call.outcomes for call in calls] == [["answered"]] * 3
    await asyncio.sleep(1)
    assert world.loads == world.unloads == ["a"]
    await world.end()


def test_zero_twice_at_a_time_under_uvloop() -> None:
    """uvloop's handle of a timer that is due at once knows no time."""
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop")

    async def run() -> None:
        world = World(keep_alive_s=0.0004)
        world.load_s = world.close_s = 0
        for _ in range(20):
            first, second = await use(world, A, 0), await use(world, B, 0.0004)
            await first.end()
            await second.end()
            assert first.outcomes + second.outcomes == ["answered"] * 2
        await world.end()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@pytest.mark.parametrize("name", ["asyncio", "uvloop"])
def test_what_was_measured_outlives_a_restart(name: str, tmp_path: Path) -> None:
    loops = pytest.importorskip(name, reason=f"needs {name}")

    async def run() -> None:
        world = World(footprints=Footprints(tmp_path / "footprints.json"))
        world.load_s = world.close_s = 0
        call = await use(world)
        await call.end()
        await world.end()

    with asyncio.Runner(loop_factory=loops.new_event_loop) as runner:
        runner.run(run())
    assert Footprints(tmp_path / "footprints.json").need("a", {}) == {HOST: 40 * UNIT}


# --- pins


@on_clock
async def test_a_pinned_model_stays_whatever_requests_say() -> None:
    world = World(keep_alive_s=5)
    call = await use(world)
    world.residency.pin("a")
    await call.end()
    for keep_alive_s in (0, 5, None):
        await (await use(world, A, keep_alive_s)).end()
        await asyncio.sleep(100)
        assert names(world) == ["a"]
    assert world.residency.residents()[0].expires_s == math.inf
    assert world.loads == ["a"]
    assert await world.residency.unload("a")
    assert names(world) == []
    await (await use(world)).end()
    await asyncio.sleep(7)
    assert names(world) == [], "unloading by name ends the pin"
    await world.end()


@on_clock
async def test_a_pin_outlives_a_crash() -> None:
    world = World(keep_alive_s=5)
    call = await use(world)
    world.residency.pin("a")
    world.held[0].is_alive = False
    await call.end()
    await (await use(world)).end()
    await asyncio.sleep(100)
    assert names(world) == ["a"]
    assert world.loads == ["a", "a"]
    await world.end()


# --- unload


@on_clock
async def test_unload_returns_when_it_is_gone() -> None:
    world = World()
    assert not await world.residency.unload("a")
    await (await use(world)).end()
    assert await world.residency.unload("a")
    assert world.unloads == ["a"]
    assert names(world) == []
    await world.end()


@on_clock
async def test_unload_of_a_model_in_use() -> None:
    """It goes with its last lease; who comes meanwhile waits and loads it anew, so that it does go."""
    world = World()
    one, two = await use(world), await use(world)
    started_s = now_s()
    assert await world.residency.unload("a")
    assert now_s() == started_s, "it does not wait for those who use it"
    assert world.residency.residents()[0].state is State.DRAINING
    late = Call(world, A)
    await one.end()
    await asyncio.sleep(5)
    assert two.held is not None
    assert late.held is None
    assert world.unloads == []
    await two.end()
    await asyncio.sleep(5)
    assert world.unloads == ["a"]
    assert world.loads == ["a", "a"]
    assert late.held is world.held[0]
    await late.end()
    assert [call.outcomes for call in (one, two, late)] == [["answered"]] * 3
    await asyncio.sleep(50)
    assert world.residency.residents()[0].state is State.READY, "the reloaded one has its own keep_alive"
    await world.end()


@on_clock
async def test_a_later_keep_alive_does_not_revoke_an_unload() -> None:
    world = World()
    call = await use(world, A, math.inf)
    await world.residency.unload("a")
    await call.end()
    await asyncio.sleep(1)
    assert names(world) == []
    await world.end()


@on_clock
async def test_unload_while_loading_serves_those_who_wait_and_then_goes() -> None:
    world = World()
    call = Call(world, A)
    await asyncio.sleep(0.5)
    unload = asyncio.create_task(world.residency.unload("a"))
    await settle()
    late = Call(world, A)
    await asyncio.sleep(1)
    assert call.held is not None
    assert await unload
    assert late.held is None
    await call.end()
    await asyncio.sleep(5)
    assert world.loads == ["a", "a"]
    await late.end()
    assert late.outcomes == ["answered"]
    await world.end()


@on_clock
async def test_unload_of_a_load_nobody_waits_for() -> None:
    world = World()
    call = Call(world, A)
    await asyncio.sleep(0.5)
    call.task.cancel()
    await settle()
    assert await world.residency.unload("a")
    assert world.unloads == ["a"]
    assert names(world) == []
    await world.end()


@on_clock
async def test_unload_of_a_load_that_fails() -> None:
    world = World()
    world.failures["a"] = [LoadFailed("no")]
    call = Call(world, A)
    await asyncio.sleep(0.5)
    assert not await world.residency.unload("a")
    assert call.outcomes == ["failed"]
    await world.end()


@on_clock
async def test_leaving_an_unload_ends_neither_the_load_nor_the_unload() -> None:
    world = World()
    call = Call(world, A)
    await asyncio.sleep(0.5)
    unload = asyncio.create_task(world.residency.unload("a"))
    await settle()
    unload.cancel()
    await asyncio.sleep(1)
    assert unload.cancelled()
    assert call.held is not None
    await call.end()
    unload = asyncio.create_task(world.residency.unload("a"))
    await settle()
    unload.cancel()
    await asyncio.sleep(1)
    assert world.unloads == ["a"]
    await world.end()


# --- room


@on_clock
async def test_the_least_recently_used_makes_room() -> None:
    world = World()
    for spec in (A, B, A, C):
        await (await use(world, spec)).end()
        await asyncio.sleep(1)
    assert world.unloads == ["b"]
    assert names(world) == ["a", "c"]
    assert world.residency.committed_bytes(HOST) == 100 * UNIT
    await world.end()


@on_clock
async def test_what_is_pinned_does_not_make_room() -> None:
    world = World()
    await (await use(world, B)).end()
    world.residency.pin("b")
    big = await use(world, spec_of("big", 70))
    assert isinstance(big.error, OutOfMemory)
    assert "'big' needs about 80 MB; pinned models leave 69 MB of the 115 MB budget" in str(big.error)
    assert "TURBOV2_HOST_BUDGET" in str(big.error)
    assert big.error.retry_after_s
    assert names(world) == ["b"]
    assert [event.kind for event in world.events] == ["loaded", "refused"]
    await world.end()


@on_clock
async def test_a_model_larger_than_the_budget_evicts_nobody() -> None:
    world = World()
    await (await use(world)).end()
    for huge, pool, variable in (
        (spec_of("huge", 250), "", "TURBOV2_HOST_BUDGET"),
        (spec_of("huge", 1, 250), " on cuda:0", "TURBOV2_VRAM_BUDGET"),
    ):
        call = await use(world, huge)
        assert isinstance(call.error, OutOfMemory)
        told = f"'huge' needs about 288 MB{pool}, more than the whole budget of 115 MB; raise {variable}"
        assert told in str(call.error)
        assert call.error.retry_after_s is None, "trying again does not help"
    assert names(world) == ["a"]
    await world.end()


@on_clock
async def test_only_who_has_memory_on_the_device_makes_room_there() -> None:
    world = World()
    await (await use(world, spec_of("on host", 60))).end()
    await (await use(world, spec_of("on device", 5, 60))).end()
    await (await use(world, spec_of("new", 5, 60))).end()
    assert world.unloads == ["on device"]
    assert names(world) == ["on host", "new"]
    await world.end()


@on_clock
async def test_what_other_programs_take_is_not_given_away() -> None:
    world = World()
    await (await use(world, A)).end()
    world.memory.margins[HOST] = 20 * UNIT
    world.memory.others[HOST] = world.memory.total_bytes[HOST] - 90 * UNIT  # 50 are free beside a
    await (await use(world, spec_of("b", 30))).end()
    assert world.unloads == []
    await (await use(world, spec_of("c", 10))).end()
    assert world.unloads == ["a"], "the budget had room, the machine had not"
    call = await use(world, spec_of("d", 90))
    assert isinstance(call.error, OutOfMemory)
    assert "this machine has 80 MB left for it" in str(call.error)
    await world.end()


@on_clock
async def test_who_asked_first_gets_the_room() -> None:
    """The victim's own next request must not take back the room that it was unloaded to make."""
    world = World()
    await (await use(world, A)).end()
    await (await use(world, B)).end()
    first = Call(world, C)
    await settle()
    assert world.residency.residents()[0].state is State.UNLOADING
    back = Call(world, A)
    await asyncio.sleep(2)
    assert first.held is not None
    await asyncio.sleep(2)
    assert back.held is not None, "b is idle and made room in turn"
    assert world.unloads == ["a", "b"]
    await first.end()
    await back.end()
    await world.end()


@on_clock
async def test_a_request_that_leaves_while_room_is_made_loads_nothing() -> None:
    world = World()
    await (await use(world, A)).end()
    await (await use(world, B)).end()
    call = Call(world, C)
    await asyncio.sleep(0.25)
    call.task.cancel()
    await asyncio.sleep(5)
    assert world.loads == ["a", "b"]
    assert names(world) == ["b"]
    await (await use(world, C)).end()
    assert world.loads == ["a", "b", "c"]
    await world.end()


@pytest.mark.parametrize("n_steps", range(12))
def test_a_request_that_comes_as_a_load_is_given_up(n_steps: int) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        await (await use(world, spec_of("other", 90))).end()
        gone = Call(world, C)
        await settle()
        gone.task.cancel()
        await asyncio.sleep(world.close_s)  # same time as the end of the unload that makes room
        await settle(n_steps)
        call = await use(world, C)
        await call.end()
        assert call.outcomes == ["answered"]
        assert names(world) == ["c"]
        assert [resident.leases for resident in world.residency.residents()] == [0]
        await world.end()

    run()


@on_clock
async def test_two_loads_never_overshoot_together() -> None:
    world = World()
    calls = [Call(world, spec_of(name, 60)) for name in "xyz"]
    await asyncio.sleep(0.9)
    assert world.residency.committed_bytes(HOST) == 60 * UNIT
    assert world.loads == ["x"]
    for call in calls:
        await call.enter()
        await call.end()
    assert [call.outcomes for call in calls] == [["answered"]] * 3
    await world.end()


@on_clock
async def test_a_load_that_takes_more_than_reserved_makes_idle_ones_go() -> None:
    world = World()
    await (await use(world, A)).end()
    world.growth = 25
    call = await use(world, B)
    await asyncio.sleep(1)
    assert world.unloads == ["a"]
    assert world.residency.committed_bytes(HOST) == 65 * UNIT
    assert "it takes 75 MB, 46 MB were reserved" in world.events[1].reason
    assert world.footprints.need("b", {}) == {HOST: 65 * UNIT}, "next time it is known"
    await call.end()
    await world.end()


# --- crashes


@on_clock
async def test_after_a_crash_one_load_serves_all_that_come() -> None:
    world = World()
    before = [await use(world) for _ in range(4)]
    world.held[0].is_alive = False
    after = [Call(world, A) for _ in range(6)]
    await asyncio.sleep(5)
    assert world.loads == ["a", "a"]
    assert all(call.held is world.held[0] for call in after)
    for call in before + after:
        await call.end()
    assert all(call.outcomes == ["answered"] for call in before + after)
    assert [resident.leases for resident in world.residency.residents()] == [0]
    await world.end()


@on_clock
async def test_the_end_of_a_request_notices_a_crash() -> None:
    world = World()
    one, two = await use(world), await use(world)
    world.held[0].is_alive = False
    await one.end()
    await asyncio.sleep(1)
    assert world.residency.residents()[0].state is State.FAILED
    await two.end()
    assert two.outcomes == ["answered"]
    assert world.unloads == ["a"]
    await world.end()


@on_clock
async def test_a_dead_model_makes_room_even_when_pinned() -> None:
    world = World()
    await (await use(world, C)).end()
    world.residency.pin("c")
    world.held[0].is_alive = False
    await (await use(world, spec_of("d", 90))).end()
    assert world.unloads[0] == "c"
    await world.end()


@on_clock
async def test_a_model_that_does_not_close_cleanly_is_gone_all_the_same() -> None:
    world = World()
    await (await use(world)).end()
    held = world.held[0]

    async def close(grace_s: float) -> None:
        held.give_back()
        raise RuntimeError("a bug of ours")

    held.close = close  # type: ignore[method-assign]
    assert await world.residency.unload("a")
    assert names(world) == []
    await (await use(world)).end()
    await world.end()


# --- close


@on_clock
async def test_close_answers_all_who_wait() -> None:
    world = World()
    holding = await use(world, A)
    loading = [Call(world, B), Call(world, B)]
    await asyncio.sleep(0.5)
    await world.residency.unload("a")
    draining = Call(world, A)
    await settle()
    world.is_ending = True
    await world.residency.close()
    await settle()
    for call in (*loading, draining):
        assert isinstance(call.error, Stopping)
        assert call.outcomes == ["failed"]
    await holding.end()
    assert holding.outcomes == ["answered"]
    late = await use(world)
    assert isinstance(late.error, Stopping)
    assert "stopping" in str(late.error)
    await world.end()
    assert world.loads == ["a", "b"]


@on_clock
async def test_close_in_the_step_a_load_begins() -> None:
    world = World()
    call = Call(world, A)
    world.size_s = 1.0
    await asyncio.sleep(0)  # the load's task exists and has not loaded yet
    await world.end()
    await settle()
    assert isinstance(call.error, Stopping)
    assert world.loads == []


@pytest.mark.parametrize("n_steps", range(6))
@pytest.mark.parametrize("close_s", [0, 0.5])
def test_close_about_when_a_load_ends(n_steps: int, close_s: float) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        world.close_s = close_s
        calls = [Call(world, A) for _ in range(2)]
        await asyncio.sleep(world.load_s)
        await settle(n_steps)
        await world.end()
        for call in calls:
            await call.end()
        assert all(call.outcomes in (["answered"], ["failed"]) for call in calls)

    run()


@on_clock
async def test_close_cut_off_and_called_again() -> None:
    world = World()
    await (await use(world)).end()
    closing = asyncio.create_task(world.residency.close())
    await settle()
    closing.cancel()
    await settle()
    await world.end()
    assert world.unloads == ["a"]
