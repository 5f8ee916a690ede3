"""Whose turn it is when there is more to do than time: shares of lanes and keys."""

from __future__ import annotations

import asyncio
from collections import Counter

import pytest

from tests.support.clock import now_s, on_clock, settle
from tests.support.computing import Call, Desk, FakeRunner, text
from turbov2.types import Lane

N_TOKENS = 10
LANES: tuple[Lane, ...] = ("interactive", "default", "bulk")


def texts(first: int, n: int, n_tokens: int = N_TOKENS) -> list[str]:
    return [text(first + i, n_tokens) for i in range(n)]


def shares(desk: Desk, n_batches: int) -> dict[int, float]:
    """Returns the share of device time of each thousand of numbers in the first batches."""
    spent: Counter[int] = Counter()
    for batch, cost in zip(desk.runner.batches[:n_batches], desk.runner.costs, strict=False):
        spent[batch[0] // 10_000] += cost
    return {group: cost / spent.total() for group, cost in spent.items()}


async def end(desk: Desk, calls: list[Call]) -> None:
    for call in calls:
        call.cancel()
    await desk.outcomes(*calls)


@on_clock
async def test_saturated_lanes_share_8_to_4_to_1() -> None:
    desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=100)
    calls = [desk.ask(texts(10_000 * i, 5000), lane) for i, lane in enumerate(LANES)]
    # An interactive forward is the measure of the others', so here all batches cost the same.
    await asyncio.sleep(45)
    found = shares(desk, 400)
    assert found == pytest.approx({0: 8 / 13, 1: 4 / 13, 2: 1 / 13}, rel=0.1)
    await end(desk, calls)


@on_clock
async def test_bulk_is_served_under_any_interactive_load() -> None:
    """Its thirteenth is the ageing: what has waited longest against its share comes next."""
    desk = Desk(FakeRunner(seconds_per_cost=0.001, fixed_s=0.01), max_cost=100)
    calls = [desk.ask(texts(0, 9000), "interactive"), desk.ask(texts(10_000, 9000), "default")]
    await asyncio.sleep(5)
    bulk = desk.ask(20_000, "bulk")
    assert await bulk.outcome() == [20_000]
    assert bulk.taken_s < 2
    await end(desk, calls)


@on_clock
async def test_an_idle_lane_saves_up_nothing() -> None:
    desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=100)
    calls = [desk.ask(texts(0, 9000), "interactive")]
    await asyncio.sleep(50)
    n_before = len(desk.runner.batches)
    calls.append(desk.ask(texts(20_000, 900), "bulk"))
    await asyncio.sleep(20)
    after = [batch[0] // 10_000 for batch in desk.runner.batches[n_before:]]
    assert after.count(2) <= len(after) / 8
    await end(desk, calls)


@on_clock
async def test_an_otherwise_idle_machine_gives_bulk_everything() -> None:
    desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=100)
    call = desk.ask(texts(0, 1000), "bulk")
    assert await desk.outcomes(call) == [list(range(1000))]
    assert call.taken_s == pytest.approx(1000 * N_TOKENS * 0.001, rel=0.01)


@on_clock
async def test_keys_share_a_lane_whatever_they_send() -> None:
    """One key sends many requests of short texts, the other a few of long ones, a third comes late."""
    desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=100)
    calls = [desk.ask(texts(10 * i, 10), key_id="many") for i in range(900)]
    calls += [desk.ask(texts(10_000, 300, 100), key_id="long")]
    await asyncio.sleep(20)
    assert shares(desk, len(desk.runner.batches)) == pytest.approx({0: 1 / 2, 1: 1 / 2}, abs=0.06)
    late = desk.ask(30_000, key_id="late")
    await late.result()
    assert late.taken_s < 0.5
    await end(desk, calls)


@on_clock
async def test_a_late_key_does_not_wait_behind_a_large_job() -> None:
    desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=100)
    large = desk.ask(texts(0, 9000), key_id="large")
    await asyncio.sleep(10)
    small = desk.ask(texts(10_000, 5), key_id="small")
    await small.result()
    assert small.taken_s <= 0.1 + 0.1 + 0.1, "the batch that runs, and one that both share"
    await end(desk, [large])


@on_clock
async def test_lanes_never_share_a_batch() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    calls = [desk.ask(texts(10_000 * i, 50), lane) for i, lane in enumerate(LANES)]
    await desk.outcomes(*calls)
    assert all(len({number // 10_000 for number in batch}) == 1 for batch in desk.runner.batches)


@pytest.mark.parametrize("seconds_per_cost", [0.00001, 0.0005])
def test_bulk_keeps_interactive_within_three_times_its_idle_latency(seconds_per_cost: float) -> None:
    """Whether a forward costs by the token or mostly by being one, as on a GPU."""

    @on_clock
    async def run() -> None:
        desk = Desk(FakeRunner(seconds_per_cost, fixed_s=0.005), max_cost=4000)
        desk.runner.tokenize_s = 0.001

        async def ask_often(first: int) -> list[float]:
            taken: list[float] = []
            for i in range(100):
                call = desk.ask([text(first + i, 16)], "interactive")
                await call.result()
                taken.append(call.taken_s)
                await asyncio.sleep(0.037)
            return sorted(taken)

        idle = await ask_often(100_000)
        bulk = desk.ask(texts(0, 60_000), "bulk")
        await asyncio.sleep(1)
        n_tokens = sum(record.n_tokens for record in desk.records)
        began_s = now_s()
        busy = await ask_often(200_000)
        per_s = (sum(record.n_tokens for record in desk.records) - n_tokens) / (now_s() - began_s)
        assert busy[98] <= 3 * idle[98]
        # The fixed part of a forward does not shrink batches to nothing: a quarter at least.
        wanted = 1.25 * (0.005 + 16 * seconds_per_cost)
        assert per_s >= (wanted - 0.005) / seconds_per_cost / wanted / 4
        await end(desk, [bulk])

    run()


@on_clock
async def test_bulk_batches_grow_again_when_nobody_is_near() -> None:
    desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=4000)
    bulk = desk.ask(texts(0, 50_000), "bulk")
    await asyncio.sleep(5)
    calls = [desk.ask([text(90_000 + i, 16)], "interactive") for i in range(2)]
    await asyncio.gather(*(call.result() for call in calls))
    n_before = len(desk.records)
    await asyncio.sleep(1.5)
    near = [record.cost for record in desk.records[n_before + 1 :]]
    assert max(near) <= 40
    await asyncio.sleep(20)
    assert max(record.cost for record in desk.records[-3:]) == 4000
    await end(desk, [bulk])


@on_clock
async def test_what_a_faster_lane_wants_as_well_goes_with_it() -> None:
    for n_steps, n_bulk in ((100, 50), (1, 5000)):  # when it is tokenised already, and when it still waits
        desk = Desk(FakeRunner(seconds_per_cost=0.001), max_cost=100)
        bulk = desk.ask(texts(0, n_bulk), "bulk")
        await settle(n_steps)
        both = desk.ask(texts(n_bulk - 1, 1), "interactive")
        assert await both.outcome() == [n_bulk - 1]
        assert both.taken_s <= 0.1 + 0.02
        assert await bulk.outcome() == list(range(n_bulk))
        assert Counter(sum(desk.runner.batches, [])).most_common(1)[0][1] == 1
        await desk.batcher.close()
