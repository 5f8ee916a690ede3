"""Batches that fail: who is answered, who is told, and how many forwards it costs."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable

import pytest

from tests.support.clock import on_clock, settle
from tests.support.computing import Desk, FakeRunner, fails_on, numbers_of, text
from turbov2.batching import BatchRecord, VectorCache
from turbov2.errors import InferenceFailed, NotFinite, OutOfMemory, TurboError
from turbov2.types import Inputs, Outputs, TokenBatch


def out_of_memory_above(n_rows: int) -> Callable[[list[int]], BaseException | None]:
    return lambda numbers: OutOfMemory("no room for the batch") if len(numbers) > n_rows else None


@pytest.mark.parametrize("n", [1, 2, 3, 64, 100])
@pytest.mark.parametrize("error", [InferenceFailed, ZeroDivisionError])
def test_one_bad_item_fails_alone(n: int, error: type[Exception]) -> None:
    @on_clock
    async def run() -> None:
        desk = Desk(FakeRunner(fixed_s=1))
        desk.runner.fails = fails_on(n // 2, error)
        calls = [desk.ask(number) for number in range(n)]
        expected: list[list[int] | str] = [[number] for number in range(n)]
        expected[n // 2] = "InferenceFailed"
        assert await desk.outcomes(*calls) == expected
        assert len(desk.runner.batches) <= 2 * math.ceil(math.log2(n)) + 1
        assert sum(record.outcome == "ok" for record in desk.records) <= max(math.ceil(math.log2(n)), 0)

    run()


@on_clock
async def test_the_error_names_the_input_as_its_job_counts() -> None:
    desk = Desk()
    desk.runner.fails = fails_on(2, lambda message: InferenceFailed(message, param="input"))
    calls = [
        desk.ask(2),
        desk.ask([text(1), text(2)]),
        desk.ask([text(1), text(2), text(3)], is_partial_ok=True),
    ]
    with pytest.raises(InferenceFailed, match="^no 2$"):
        await calls[0].result()
    with pytest.raises(InferenceFailed, match="^input 1: no 2$") as failed:
        await calls[1].result()
    assert failed.value.param == "input"
    result = await calls[2].result()
    assert result.vectors[:, 0].tolist() == [1, 0, 3]
    assert result.lengths.tolist() == [1, 0, 1]
    assert {row: (type(error), error.message) for row, error in result.errors.items()} == {
        1: (InferenceFailed, "input 1: no 2")
    }
    await desk.batcher.close()


@on_clock
async def test_a_job_that_failed_leaves_nothing_behind() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=4)
    desk.runner.fails = fails_on(1, InferenceFailed)
    call = desk.ask([text(number) for number in range(5000)])
    with pytest.raises(InferenceFailed):
        await call.result()
    await settle()
    assert desk.batcher.n_queued_items == desk.batcher.n_ready_tokens == 0
    n_batches = len(desk.runner.batches)
    assert await desk.outcomes(desk.ask(7000)) == [[7000]]
    assert len(desk.runner.batches) == n_batches + 1


@on_clock
async def test_a_text_the_tokenizer_fails_on_fails_alone() -> None:
    def fails(inputs: Inputs) -> BaseException | None:
        return ValueError("secret") if 3 in numbers_of(inputs) else None

    desk = Desk()
    desk.runner.tokenize_fails = fails
    calls = [desk.ask(number) for number in range(8)]
    expected: list[list[int] | str] = [[number] for number in range(8)]
    expected[3] = "InferenceFailed"
    assert await desk.outcomes(*calls) == expected
    failure = calls[3].task.exception()
    assert isinstance(failure, TurboError)
    assert "secret" not in failure.message
    assert len(desk.runner.chunks) == 7


@on_clock
async def test_who_left_is_not_run_again() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    desk.runner.fails = fails_on(2, InferenceFailed)
    calls = [desk.ask(1), desk.ask(2), desk.ask(3)]
    await settle()
    calls[0].cancel()
    assert await desk.outcomes(*calls) == ["CancelledError", "InferenceFailed", [3]]
    assert desk.runner.batches == [[1, 2, 3], [2, 3], [2], [3]]


@on_clock
async def test_halves_of_a_failed_batch_let_others_pass() -> None:
    desk = Desk(FakeRunner(seconds_per_cost=1), max_cost=64)
    desk.runner.fails = fails_on(5, InferenceFailed)
    bulk = desk.ask([text(number) for number in range(64)], "bulk", is_partial_ok=True)
    await settle()
    await asyncio.sleep(10)
    quick = desk.ask(100, "interactive")
    assert (await desk.outcomes(bulk, quick))[1] == [100]
    assert desk.runner.batches[1] == [100]


@on_clock
async def test_results_of_the_wrong_shape_reach_nobody() -> None:
    class Wrong(FakeRunner):
        async def embed(self, tokens, task, *, is_precise=False):
            return Outputs((await super().embed(tokens)).dense[:-1])

    desk = Desk(Wrong())
    assert await desk.outcomes(desk.ask(1), desk.ask(2)) == ["InferenceFailed"] * 2


@on_clock
async def test_a_defect_of_ours_fails_its_batch_and_not_the_queue() -> None:
    desk = Desk(cache=VectorCache(1000))
    desk.batcher._on_batch = lambda record: 1 / 0
    assert await desk.outcomes(desk.ask(1), desk.ask(2)) == [[1], [2]]


@on_clock
async def test_a_tokenizer_that_gives_nonsense_fails_its_items_and_not_the_queue() -> None:
    class Nonsense(FakeRunner):
        async def tokenize(self, inputs):
            tokens = await super().tokenize(inputs)
            return TokenBatch(tokens.ids, tokens.lengths, tokens.full_lengths[:-1])

    runner = Nonsense()
    desk = Desk(runner)
    with pytest.raises(InferenceFailed, match="log says why"):
        await desk.ask(1).result()
    runner.tokenize = FakeRunner().tokenize  # type: ignore[method-assign]
    assert await desk.outcomes(desk.ask(2)) == [[2]]


@on_clock
async def test_nobody_waits_for_a_queue_that_ended() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    calls = [desk.ask(1), desk.ask(2)]
    desk.batcher._queue.next_to_run = lambda: 1 / 0  # type: ignore[method-assign,return-value,assignment]
    assert await desk.outcomes(*calls, desk.ask(3)) == ["RunnerLost"] * 3
    assert not desk.batcher.is_open


# --- NaN and infinity


@on_clock
async def test_rows_that_are_not_finite_run_again_alone_and_precisely() -> None:
    desk = Desk(cache=VectorCache(100_000))
    desk.runner.not_finite = {2: True, 4: False}
    calls = [desk.ask(number) for number in range(1, 6)]
    assert await desk.outcomes(*calls) == [[1], "NotFinite", [3], [4], [5]]
    assert desk.runner.batches == [[1, 2, 3, 4, 5], [2], [4]]
    assert desk.runner.n_precise == 2
    assert [record.n_not_finite for record in desk.records] == [2, 1, 0]
    failure = calls[1].task.exception()
    assert isinstance(failure, NotFinite)
    assert failure.param == "input"


@on_clock
async def test_large_finite_values_are_served() -> None:
    class Large(FakeRunner):
        async def embed(self, tokens, task, *, is_precise=False):
            return Outputs((await super().embed(tokens)).dense * 0 + 3e38)

    desk = Desk(Large())
    result = await desk.ask([text(1), text(2)]).result()
    assert (result.vectors > 2e38).all()
    assert desk.runner.n_precise == 0
    await desk.batcher.close()


# --- out of memory


@on_clock
async def test_out_of_memory_climbs_the_ladder_in_order() -> None:
    desk = Desk(FakeRunner(), max_cost=8)
    desk.runner.fails = out_of_memory_above(2)
    call = desk.ask([text(number) for number in range(8)])
    assert await desk.outcomes(call) == [list(range(8))]
    freed = ["free", "relieve"]
    assert desk.runner.steps[:8] == ["forward 8", *freed, "forward 4", *freed, "forward 2", "forward 2"]
    ladder: list[tuple[str, ...]] = [record.oom_steps for record in desk.records]
    assert ladder[0] == ("free_caches", "evict", "split")
    assert sum(record.outcome == "oom" for record in desk.records) == 3


@on_clock
async def test_after_out_of_memory_batches_stay_smaller() -> None:
    desk = Desk(FakeRunner(), max_cost=8)
    desk.runner.fails = out_of_memory_above(4)
    await desk.ask([text(number) for number in range(8)]).result()
    desk.runner.steps.clear()
    call = desk.ask([text(number) for number in range(16)])
    assert await desk.outcomes(call) == [list(range(16))]
    assert desk.runner.steps == ["forward 4"] * 4


@on_clock
async def test_an_item_that_never_fits_is_tried_twice_and_told_when_to_come_back() -> None:
    desk = Desk()
    desk.runner.fails = fails_on(1, OutOfMemory)
    calls = [desk.ask(0), desk.ask(1)]
    assert await desk.outcomes(*calls) == [[0], "OutOfMemory"]
    assert desk.runner.batches == [[0, 1], [0], [1], [1]]
    failure = calls[1].task.exception()
    assert isinstance(failure, OutOfMemory)
    assert failure.retry_after_s == 5
    steps = [record.oom_steps[-1] for record in desk.records if record.oom_steps]
    assert steps == ["split", "retry", "gave_up"]


@on_clock
async def test_freeing_that_fails_does_not_end_the_queue() -> None:
    async def relieve() -> None:
        raise RuntimeError("nothing to evict")

    desk = Desk()
    desk.runner.fails = out_of_memory_above(1)
    desk.batcher._recovery._relieve = relieve
    assert await desk.outcomes(desk.ask([text(1), text(2)])) == [[1, 2]]


@on_clock
async def test_every_forward_is_reported() -> None:
    desk = Desk(FakeRunner(fixed_s=1, seconds_per_cost=0.5))
    await desk.outcomes(desk.ask([text(1, 3), text(2, 5)], "bulk"))
    assert desk.records == [BatchRecord("bulk", 2, 8, 10, 0, 6 * 10**9, "ok")]
