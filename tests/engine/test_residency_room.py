"""Who gets room, who has to go, and when memory counts as free."""

from __future__ import annotations

import asyncio

import pytest

from tests.support.clock import now_s, on_clock, settle
from tests.support.residents import CUDA, UNIT, Call, World, spec_of
from turbov2.catalog import ModelSpec
from turbov2.errors import LoadTimeout, OutOfMemory
from turbov2.residency import HOST, State

A, B, C, D = (spec_of(name, 50) for name in "abcd")


async def use(world: World, spec: ModelSpec, keep_alive_s: float | None = None) -> Call:
    """Returns the request, which holds the model, or has failed."""
    return await Call(world, spec, keep_alive_s).enter()


def kinds(world: World) -> list[tuple[str, str]]:
    return [(event.kind, event.model) for event in world.events]


# --- the line


@on_clock
async def test_who_waits_for_used_models_gets_room_when_they_are_free() -> None:
    world = World()
    a, b = await use(world, A), await use(world, B)
    waiting = Call(world, C)
    await asyncio.sleep(0.5)
    assert waiting.held is None
    await a.end()
    await waiting.enter()
    assert waiting.held is not None
    assert world.unloads == ["a"]
    await b.end()
    await waiting.end()
    await world.end()


@on_clock
async def test_waiting_for_used_models_has_an_end() -> None:
    world = World(load_timeout_s=5)
    holding = await use(world, spec_of("used", 80))
    started_s = now_s()
    late = await use(world, C)
    assert isinstance(late.error, LoadTimeout)
    assert now_s() - started_s == 5
    assert holding.held is not None, "nothing in use is cut"
    assert world.loads == ["used"]
    await holding.end()
    await world.end()


@pytest.mark.parametrize(("units", "goes_first"), [(10, True), (15, False)])
def test_a_later_load_goes_first_only_where_it_touches_nothing_promised(units: int, goes_first: bool) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        used = await use(world, spec_of("used", 30))
        await (await use(world, spec_of("idle", 50))).end()
        first = Call(world, spec_of("first", 60))  # promised: the 20 that are free and the 50 of `idle`
        await settle()
        later = Call(world, spec_of("later", units))
        await asyncio.sleep(0.4)  # `idle` is still closing
        assert world.loads[2:] == (["later"] if goes_first else [])
        await asyncio.sleep(2)
        assert first.held is not None
        for call in (used, first, later):
            await call.end()
        await world.end()

    run()


@on_clock
async def test_pools_have_lines_of_their_own() -> None:
    world = World()
    device = await use(world, spec_of("device", 0, 80))
    blocked = Call(world, spec_of("other device", 0, 80))
    await settle()
    free = await use(world, spec_of("host", 80))
    assert free.held is not None
    assert blocked.held is None
    for call in (free, device, blocked):
        await call.end()
    await world.end()


@on_clock
async def test_a_waiting_load_that_all_left_is_dropped_and_lets_the_next_go_on() -> None:
    world = World()
    holding = await use(world, spec_of("used", 80))
    dropped, next_one = Call(world, C), Call(world, spec_of("small", 15))
    await asyncio.sleep(0.2)
    assert next_one.held is None
    dropped.task.cancel()
    cancelled_s = now_s()
    await next_one.enter()
    assert next_one.held is not None
    assert now_s() == cancelled_s + world.load_s, "at once"
    assert world.loads == ["used", "small"]
    for call in (holding, next_one):
        await call.end()
    await world.end()


@on_clock
async def test_room_is_not_reserved_while_weights_are_fetched() -> None:
    world = World()
    world.size_s = 60.0
    fetching = Call(world, spec_of("absent", 90))
    await settle()
    world.size_s = 0.0
    call = await use(world, spec_of("here", 90))
    assert call.held is not None
    await call.end()
    await fetching.enter()
    assert world.unloads == ["here"]
    await fetching.end()
    await world.end()


@on_clock
async def test_weights_fetched_for_nobody_are_not_loaded() -> None:
    world = World()
    world.size_s = 60.0
    call = Call(world, A)
    await asyncio.sleep(5)
    call.task.cancel()
    await asyncio.sleep(100)
    assert world.sized == ["a"]
    assert world.loads == []
    await world.end()


@on_clock
async def test_loads_under_way_count_with_what_they_have_yet_to_take() -> None:
    world = World()
    world.memory.others[HOST] = world.memory.total_bytes[HOST] - 50 * UNIT
    calls = [Call(world, spec_of(name, 30)) for name in "xy"]
    await asyncio.sleep(0.9)
    assert world.loads == ["x"], "the machine has room for one"
    for call in calls:
        await call.enter()
        await call.end()
    assert [call.outcomes for call in calls] == [["answered"]] * 2
    await world.end()


# --- starvation


@on_clock
async def test_four_busy_models_share_room_for_two() -> None:
    """Each is asked without a pause; none waits for ever, and each stays for twice its load at least."""
    world = World()
    is_over = False
    served = dict.fromkeys("abcd", 0)

    async def ask_always(spec: ModelSpec) -> None:
        while not is_over:
            async with world.residency.lease(spec.name, spec, None):
                await asyncio.sleep(0.1)
                served[spec.name] += 1

    tasks = [asyncio.create_task(ask_always(spec)) for spec in (A, B, C, D) for _ in range(3)]
    await asyncio.sleep(100)
    is_over = True
    await asyncio.gather(*tasks)
    assert all(n_served > 400 for n_served in served.values()), served
    assert len(world.loads) < 100 / 3 * 2 + 4, "thrashing"
    await world.end()


@on_clock
async def test_what_has_just_come_is_not_asked_to_drain() -> None:
    world = World()
    world.load_s = 4.0
    a, b = await use(world, A), await use(world, B)
    started_s = now_s()
    waiting = Call(world, C)
    await asyncio.sleep(3.9)  # `a` is ready for 7.9 s
    assert [r.state for r in world.residency.residents()] == [State.READY, State.READY, State.LOADING]
    await asyncio.sleep(0.2)
    assert [r.state for r in world.residency.residents()] == [State.DRAINING, State.READY, State.LOADING]
    assert a.held is not None
    late = Call(world, A)
    await a.end()
    await waiting.enter()
    assert now_s() - started_s == pytest.approx(4.1 + 0.5 + 4, abs=0.1)
    assert late.held is None, "who comes later waits, behind who waited"
    await b.end()
    await late.enter()
    assert world.unloads == ["a", "b"]
    await waiting.end()
    await late.end()
    await world.end()


# --- what is seen


@on_clock
async def test_room_is_free_when_it_is_seen_back() -> None:
    world = World()
    world.lingers_s = 3.0
    await (await use(world, spec_of("first", 90))).end()
    started_s = now_s()
    call = await use(world, spec_of("second", 90))
    assert now_s() - started_s == pytest.approx(0.5 + 3 + 1, abs=0.6)
    await call.end()
    assert kinds(world)[1] == ("evicted", "first")
    reason = world.events[1].reason
    assert reason == "made room for second: needed 104 MB, 12 MB were free"
    await world.end()


@on_clock
async def test_memory_that_does_not_come_back_stays_counted_until_it_does() -> None:
    world = World()
    world.lingers_s = 25.0
    await (await use(world, A)).end()
    await world.residency.unload("a")
    assert kinds(world) == [("loaded", "a"), ("unloaded", "a"), ("leaked", "a")]
    assert world.residency.committed_bytes(HOST) == 50 * UNIT
    refused = await use(world, spec_of("b", 60))
    assert isinstance(refused.error, OutOfMemory)
    await (await use(world, spec_of("c", 50))).end()
    await asyncio.sleep(30)
    assert world.residency.committed_bytes(HOST) == 50 * UNIT, "only c"
    await (await use(world, spec_of("b", 60))).end()
    await world.end()


@on_clock
async def test_growth_is_counted_while_it_happens() -> None:
    world = World()
    a = await use(world, A)
    await (await use(world, spec_of("b", 10))).end()
    world.held[0].bytes[HOST] = 95 * UNIT
    await asyncio.sleep(6)
    assert world.unloads == ["b"], "the sum was over the budget"
    assert world.residency.committed_bytes(HOST) == 95 * UNIT
    host = next(pool for pool in world.residency.pools() if pool.name == HOST)
    assert host.head_room_bytes == 45 * UNIT, "the peak of its batches"
    assert world.footprints.of("a") is not None
    world.held[0].bytes[HOST] = 50 * UNIT
    await a.end()
    await asyncio.sleep(6)
    assert world.residency.committed_bytes(HOST) == 50 * UNIT
    await world.end()


@on_clock
async def test_too_much_taken_and_nobody_idle_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.growth = 30
    calls = [await use(world, A), await use(world, spec_of("b", 20))]
    assert world.events[1].reason.endswith("; that is over the budget, and too few models are idle")
    await asyncio.sleep(50)
    assert [record.getMessage() for record in caplog.records if "over the budget" in record.msg] == [
        "the loaded models take 150 MB, over the budget, and too few are idle"
    ]
    assert world.unloads == [], "nothing in use is cut"
    await calls[0].end()
    await asyncio.sleep(6)
    assert world.unloads == ["a"]
    await calls[1].end()
    await world.end()


@on_clock
async def test_one_measurement_a_tick() -> None:
    world = World(keep_alive_s=1000)
    await (await use(world, A)).end()
    await (await use(world, B)).end()
    before = world.n_measured
    await asyncio.sleep(50)
    assert 18 <= world.n_measured - before <= 20
    await world.end()


@pytest.mark.parametrize("is_pinned", [False, True])
def test_a_model_that_creeps_is_loaded_anew(is_pinned: bool) -> None:
    @on_clock
    async def run() -> None:
        world = World(1000, keep_alive_s=1e6)
        call = await use(world, A)
        if is_pinned:
            world.residency.pin("a")
        await call.end()
        await asyncio.sleep(70)  # what it takes when all is well is known
        call = await use(world, A)
        world.held[0].bytes[HOST] += 400 * UNIT
        await asyncio.sleep(20)
        assert len(world.loads) == 1, "batches may take what they need"
        await call.end()
        await asyncio.sleep(20)
        assert kinds(world)[1] == ("recycled", "a")
        assert "grown from 58 MB to 518 MB" in world.events[1].reason
        assert len(world.loads) == 1 + is_pinned
        assert world.footprints.need("a", {}) == {HOST: 50 * UNIT}
        await world.end()

    run()


@on_clock
async def test_devices_that_hide_what_a_process_takes_count_what_was_reserved() -> None:
    world = World()
    call = await use(world, spec_of("a", 5, 60))
    measure = world.held[0].measure

    async def see_host_only() -> dict[str, int]:
        return {pool: n_bytes for pool, n_bytes in (await measure()).items() if pool == HOST}

    world.held[0].measure = see_host_only  # type: ignore[method-assign]
    await asyncio.sleep(6)
    assert world.residency.committed_bytes(CUDA) == 60 * UNIT
    await call.end()
    await world.end()


# --- memory runs out


@on_clock
async def test_a_load_that_runs_out_of_memory_is_tried_again_without_neighbours() -> None:
    world = World()
    await (await use(world, spec_of("host", 20))).end()
    await (await use(world, spec_of("device", 5, 20))).end()
    world.failures["new"] = [OutOfMemory("the device has not enough memory")]
    call = await use(world, spec_of("new", 0, 30))
    assert call.held is not None
    assert world.unloads == ["device"], "only those on the same pool"
    assert world.loads == ["host", "device", "new", "new"]
    await call.end()
    await world.end()


@pytest.mark.parametrize("n_neighbours", [0, 1])
def test_out_of_memory_twice_or_alone_is_final(n_neighbours: int) -> None:
    @on_clock
    async def run() -> None:
        world = World()
        for i in range(n_neighbours):
            await (await use(world, spec_of(f"old{i}", 5))).end()
        world.failures["a"] = [OutOfMemory("no")] * 2
        call = await use(world, A)
        assert isinstance(call.error, OutOfMemory)
        assert world.loads.count("a") == 1 + n_neighbours
        assert world.residency.committed_bytes(HOST) == 0
        await world.end()

    run()


@on_clock
async def test_relief_for_a_run_that_ran_out_of_memory() -> None:
    world = World()
    await (await use(world, spec_of("host", 20))).end()
    await (await use(world, spec_of("idle", 5, 20))).end()
    used = await use(world, spec_of("used", 5, 10))
    running = await use(world, spec_of("running", 5, 30))
    world.lingers_s = 1.0
    started_s = now_s()
    assert await world.residency.relieve("running") == 20 * UNIT
    assert now_s() - started_s > 1.4, "they are seen gone"
    assert await world.residency.relieve("running") == 0
    assert await world.residency.relieve("nobody") == 0
    assert world.unloads == ["idle"]
    for call in (used, running):
        await call.end()
    await world.end()


# --- what is shown


@on_clock
async def test_a_plan_says_whom_it_would_cost() -> None:
    world = World()
    await (await use(world, A)).end()
    b = await use(world, spec_of("b", 40))
    await asyncio.sleep(7)
    plan = world.residency.explain("c", C, {HOST: 50_000_000})
    assert (plan.state, plan.need, plan.need_source, plan.fits) == (
        "absent",
        {HOST: 50 * UNIT},
        "estimated",
        True,
    )
    assert [(victim.model, victim.bytes) for victim in plan.victims] == [("a", {HOST: 50 * UNIT})]
    assert plan.victims[0].reason == "normal priority, idle for 8 s, loads again in 1.0 s"
    assert plan.ready_in_s is None, "it was never loaded here"
    assert world.loads == ["a", "b"]
    await (await use(world, C)).end()
    plan = world.residency.explain("c", C, {HOST: 1})
    assert (plan.state, plan.need_source, plan.ready_in_s, plan.victims) == ("ready", "measured", 0.0, ())
    assert [event.kind for event in plan.last_events] == ["loaded"]
    await (await use(world, A)).end()
    plan = world.residency.explain("c", C, {})
    assert plan.ready_in_s == pytest.approx(1.5), "its load, after the unload of a"
    await b.end()
    await world.end()


@on_clock
async def test_a_plan_says_what_is_in_the_way() -> None:
    world = World()
    calls = [await use(world, A), await use(world, A), await use(world, spec_of("p", 30))]
    world.residency.pin("p")
    plan = world.residency.explain("c", C, {HOST: 50_000_000})
    assert not plan.fits
    assert {(each.model, each.why) for each in plan.in_the_way} == {
        ("a", "in use by 2 requests"),
        ("p", "pinned"),
    }
    assert plan.ready_in_s is None
    assert plan.failed_reason == ""
    huge = world.residency.explain("huge", spec_of("huge", 200), {HOST: 200_000_000})
    assert not huge.fits
    assert "more than the whole budget of 115 MB" in huge.failed_reason
    for call in calls:
        await call.end()
    await world.end()


@on_clock
async def test_a_plan_of_a_load_under_way() -> None:
    world = World()
    await (await use(world, A)).end()
    await world.residency.unload("a")
    call = Call(world, A)
    await asyncio.sleep(0.75)
    plan = world.residency.explain("a", A, {})
    assert (plan.state, plan.fits) == ("loading", True)
    assert plan.ready_in_s == pytest.approx(0.25)
    await call.enter()
    await call.end()
    await world.end()


@on_clock
async def test_pools_tell_how_they_stand() -> None:
    world = World()
    world.memory.margins[CUDA] = 7
    await (await use(world, spec_of("a", 5, 20))).end()
    pools = {pool.name: pool for pool in world.residency.pools()}
    assert list(pools) == [HOST, CUDA]
    assert pools[CUDA].budget_bytes == 100 * UNIT
    assert pools[CUDA].committed_bytes == 20 * UNIT
    assert pools[CUDA].available_bytes == 9980 * UNIT
    assert pools[CUDA].head_room_bytes == 7
    await world.end()


@on_clock
async def test_the_last_256_events_are_kept() -> None:
    world = World()
    for _ in range(150):
        await (await use(world, A, 0)).end()
        await asyncio.sleep(1)
    assert len(world.events) == 300
    assert list(world.residency.events()) == world.events[-256:]
    await world.end()
