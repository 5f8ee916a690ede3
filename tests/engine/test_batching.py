"""Batcher before a runner that does as a test says: order, sharing, leaving, closing."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest

from tests.support.clock import now_s, on_clock, settle
from tests.support.computing import Desk, FakeRunner, fails_on, text
from turbov2.batching import Job, RunnerLost, VectorCache
from turbov2.errors import InferenceFailed, InputTooLong, RunnerCrashed


@on_clock
async def test_an_idle_runner_is_asked_at_once() -> None:
    desk = Desk()
    result = await desk.ask([text(5, 3), text(6)]).result()
    assert result.vectors.tolist() == [[5, 5], [6, 6]]
    assert result.vectors.dtype == np.float32
    assert result.lengths.tolist() == result.full_lengths.tolist() == [3, 1]
    assert result.errors == {}
    assert desk.runner.began_s == [1000.0]
    await desk.batcher.close()


@on_clock
async def test_no_inputs_are_answered_without_the_runner() -> None:
    desk = Desk()
    result = await desk.ask([]).result()
    assert result.vectors.shape == (0, 2)
    assert desk.runner.batches == []
    await desk.batcher.close()


@on_clock
async def test_token_ids_and_texts_are_tokenised_apart_and_run_together() -> None:
    desk = Desk()
    calls = [desk.ask([[7, 7]]), desk.ask([text(8)]), desk.ask([[9]])]
    assert await desk.outcomes(*calls) == [[7], [8], [9]]
    assert [len(chunk) for chunk in desk.runner.chunks] == [1, 1, 1]


@on_clock
async def test_arrivals_gather_while_a_batch_runs() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    first = desk.ask(1)
    await settle()
    rest = [desk.ask([text(2), text(3)]), desk.ask([]), desk.ask(4)]
    await settle()
    assert desk.runner.batches == [[1]]
    assert desk.batcher.n_queued_items == desk.batcher.n_ready_tokens == 3, "tokenised while the batch runs"
    assert await desk.outcomes(first, *rest) == [[1], [2, 3], [], [4]]
    assert desk.runner.batches == [[1], [2, 3, 4]]
    assert desk.batcher.n_queued_items == desk.batcher.n_ready_tokens == 0


@on_clock
async def test_times_tell_where_it_went() -> None:
    desk = Desk(FakeRunner(fixed_s=4))
    desk.runner.tokenize_s = 1
    first = desk.ask(1)
    await asyncio.sleep(2)
    second = desk.ask(2)
    results = [await first.result(), await second.result()]
    times = [(r.queue_ns, r.tokenize_ns, r.inference_ns) for r in results]
    assert times == [(0, 10**9, 4 * 10**9), (2 * 10**9, 10**9, 4 * 10**9)]
    assert [record.queue_ns for record in desk.records] == [10**9, 3 * 10**9]
    assert [record.inference_ns for record in desk.records] == [4 * 10**9] * 2
    await desk.batcher.close()


@on_clock
async def test_batches_hold_what_is_alike_in_length() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=100)
    first = desk.ask(0)
    await settle()
    lengths = [10, 50, 12, 50, 11, 9, 10, 10]
    rest = desk.ask([text(i + 1, n) for i, n in enumerate(lengths)])
    assert await desk.outcomes(first, rest) == [[0], list(range(1, 9))]
    assert [sorted(batch) for batch in desk.runner.batches] == [[0], [1, 3, 5, 6, 7, 8], [2, 4]]
    assert all(cost <= 100 for cost in desk.runner.costs)


@on_clock
async def test_what_is_dearer_than_a_batch_runs_alone() -> None:
    desk = Desk(max_cost=10)
    calls = [desk.ask([text(1, 5)]), desk.ask([text(2, 40)]), desk.ask([text(3, 5)])]
    assert await desk.outcomes(*calls) == [[1], [2], [3]]
    assert sorted(desk.runner.costs) == [10, 40]


@on_clock
async def test_unpadded_batches_are_bounded_by_their_sum() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=100, is_padded=False)
    call = desk.ask([text(i, 60 if i % 2 else 10) for i in range(20)])
    assert await desk.outcomes(call) == [list(range(20))]
    assert max(record.cost for record in desk.records) <= 100
    assert all(record.cost == record.n_tokens for record in desk.records)


@on_clock
async def test_tokenising_goes_in_small_steps_and_not_far_ahead() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=1000)
    call = desk.ask([text(i, 10) for i in range(20_000)])
    await settle(300)
    assert max(map(len, desk.runner.chunks)) <= 256
    assert desk.batcher.n_ready_tokens <= 2 * 1000 + 256 * 10
    assert await desk.outcomes(call) == [list(range(20_000))]


# --- equal inputs


@on_clock
async def test_equal_inputs_are_computed_once() -> None:
    desk = Desk()
    calls = [desk.ask([text(1), text(2), text(1)]), desk.ask([text(2), [1]])]
    assert await desk.outcomes(*calls) == [[1, 2, 1], [2, 1]]
    assert sorted(sum(desk.runner.batches, [])) == [1, 1, 2], "an id is not the text that names it"
    assert [(await call.result()).n_joined for call in calls] == [1, 1]


@on_clock
async def test_who_joined_is_answered_when_who_asked_first_leaves() -> None:
    for n_steps in (1, 3, 30):
        desk = Desk(FakeRunner(fixed_s=1))
        busy = desk.ask(9)
        await settle()
        first = desk.ask(1)
        await settle(n_steps)
        second = desk.ask(1)
        await settle(n_steps)
        first.cancel()
        assert await desk.outcomes(busy, first, second) == [[9], "CancelledError", [1]]
        assert desk.runner.batches == [[9], [1]]


@on_clock
async def test_who_joins_a_batch_that_is_being_abandoned_is_answered() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    first = desk.ask(1)
    await settle()
    first.cancel()
    await asyncio.sleep(0)  # its call is cancelled, and has not ended
    second = desk.ask(1)
    assert await desk.outcomes(first, second) == ["CancelledError", [1]]


@on_clock
async def test_a_cut_input_is_refused_only_where_that_was_asked() -> None:
    desk = Desk(FakeRunner(max_tokens=8, fixed_s=1))
    inputs = [text(1), text(2, 20)]
    calls = [desk.ask(inputs), desk.ask(inputs, truncate=False)]
    await settle()
    calls += [desk.ask(inputs[1:], truncate=False), desk.ask(inputs, truncate=False, is_partial_ok=True)]
    await asyncio.wait([call.task for call in calls])
    good, refused, late, partial = calls
    assert (await good.result()).lengths.tolist() == [1, 8]
    assert (await good.result()).full_lengths.tolist() == [1, 20]
    with pytest.raises(
        InputTooLong, match="^the input length exceeds the context length: input 1 has 20 tokens"
    ):
        await refused.result()
    with pytest.raises(InputTooLong, match="input 0 has 20 tokens, the model reads 8; shorten it or allow"):
        await late.result()
    result = await partial.result()
    assert list(result.errors) == [1]
    assert result.vectors.tolist() == [[1, 1], [0, 0]]
    await desk.batcher.close()


@on_clock
async def test_the_cache_answers_what_was_computed_lately() -> None:
    desk = Desk(FakeRunner(max_tokens=8), cache=VectorCache(100_000))
    await desk.ask([text(1), text(2, 20)]).result()
    again = await desk.ask([text(2, 20), text(3), text(1)]).result()
    assert again.vectors[:, 0].tolist() == [2, 3, 1]
    assert (again.lengths.tolist(), again.full_lengths.tolist()) == ([8, 1, 1], [20, 1, 1])
    assert again.n_cached == 2
    assert desk.runner.batches == [[1, 2], [3]]
    refused = desk.ask([text(2, 20)], truncate=False)
    assert await desk.outcomes(refused) == ["InputTooLong"]


# --- leaving and closing


@on_clock
async def test_who_leaves_is_dropped_at_once() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    first = desk.ask(0)
    await settle()
    leaving, staying = desk.ask([text(n) for n in range(1, 3000)]), desk.ask(5000)
    await settle(100)
    leaving.cancel()
    await settle(2)
    assert leaving.task.done()
    assert now_s() == 1000.0
    assert await desk.outcomes(first, leaving, staying) == [[0], "CancelledError", [5000]]
    assert desk.runner.batches == [[0], [5000]]
    assert desk.batcher.n_queued_items == desk.batcher.n_ready_tokens == 0


@on_clock
async def test_who_leaves_a_running_batch_harms_nobody() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    one, two = desk.ask(1), desk.ask(2)
    await settle()
    one.cancel()
    assert await desk.outcomes(one, two) == ["CancelledError", [2]]
    assert [record.outcome for record in desk.records] == ["ok"]


@on_clock
async def test_a_batch_nobody_waits_for_is_abandoned() -> None:
    desk = Desk(FakeRunner(fixed_s=100))
    calls = [desk.ask(1), desk.ask(2)]
    await settle()
    calls[0].cancel()
    await settle()
    assert desk.runner.n_running == 1
    calls[1].cancel()
    await settle()
    assert desk.runner.n_running == 0
    late = desk.ask(3)
    assert await desk.outcomes(*calls, late) == ["CancelledError", "CancelledError", [3]]
    assert late.taken_s == 100
    assert [record.outcome for record in desk.records] == ["cancelled", "ok"]


@on_clock
async def test_close_fails_all_that_wait_or_run() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    calls = [desk.ask(1)]
    await settle()
    calls += [desk.ask([text(n) for n in range(2, 2000)]), desk.ask(3)]
    await settle(3)
    calls[2].cancel()
    await desk.batcher.close()
    assert await desk.outcomes(*calls) == ["RunnerLost", "RunnerLost", "CancelledError"]
    lost = calls[0].task.exception()
    assert isinstance(lost, RunnerLost)
    assert not lost.was_running, "nothing suggests that the job did it"
    assert "send it again" in lost.cause.message
    assert desk.runner.n_running == 0
    with pytest.raises(RunnerLost):
        await desk.batcher.embed(Job([text(4)]))
    await desk.batcher.close()


@on_clock
async def test_close_that_is_cut_off_has_answered_all_the_same() -> None:
    class Stubborn(FakeRunner):
        async def _compute(self, cost: int) -> None:
            try:
                await asyncio.sleep(1000)
            except asyncio.CancelledError:
                await asyncio.sleep(5)
                raise

    desk = Desk(Stubborn())
    calls = [desk.ask(1)]
    await settle()
    calls.append(desk.ask(2))
    await settle()
    closing = asyncio.create_task(desk.batcher.close())
    await settle()
    assert [await call.outcome() for call in calls] == ["RunnerLost", "RunnerLost"]
    assert not closing.done()
    closing.cancel()
    await settle()
    await desk.batcher.close()


# --- a runner that dies


@on_clock
async def test_a_crash_names_the_jobs_that_ran() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=2)
    desk.runner.fails = fails_on(2, RunnerCrashed)
    calls = [desk.ask(1), desk.ask(2), desk.ask(3), desk.ask(4)]
    assert await desk.outcomes(*calls) == ["RunnerLost"] * 4
    lost = [call.task.exception() for call in calls]
    assert [error.was_running for error in lost if isinstance(error, RunnerLost)] == [
        True,
        True,
        False,
        False,
    ]
    assert len({id(error) for error in lost}) == 4
    assert len(desk.runner.batches) == 1, "nothing runs again on a dead runner"
    assert desk.records[-1].outcome == "lost"
    assert not desk.batcher.is_open
    with pytest.raises(RunnerLost):
        await desk.batcher.embed(Job([text(5)]))


@on_clock
async def test_a_job_that_runs_alone_is_the_only_suspect() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=1)
    desk.runner.fails = fails_on(1, RunnerCrashed)
    alone = asyncio.create_task(desk.batcher.embed(Job([text(1)], is_alone=True)))
    await settle()
    desk.runner.tokenize_s = 5  # the others are with the tokenizer when the runner dies
    others = [desk.ask(2), desk.ask(3)]
    assert await desk.outcomes(*others) == ["RunnerLost"] * 2
    lost = [alone.exception(), *(call.task.exception() for call in others)]
    assert [error.was_running for error in lost if isinstance(error, RunnerLost)] == [True, False, False]


@on_clock
async def test_any_error_of_a_dead_runner_is_its_loss() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    desk.runner.fails = fails_on(2, InferenceFailed)
    calls = [desk.ask(1), desk.ask(2)]
    await settle()
    desk.runner.is_alive = False
    assert await desk.outcomes(*calls) == ["RunnerLost", "RunnerLost"]


@on_clock
async def test_close_before_a_dead_runner_told_names_the_jobs_that_ran() -> None:
    desk = Desk(FakeRunner(fixed_s=1), max_cost=1)
    calls = [desk.ask(1), desk.ask(2)]
    await settle()
    desk.runner.is_alive = False
    await desk.outcomes(*calls[:0])
    lost = [call.task.exception() for call in calls]
    assert [error.was_running for error in lost if isinstance(error, RunnerLost)] == [True, False]


@pytest.mark.parametrize("stage", ["tokenize", "embed"])
def test_a_call_the_runner_drops_by_itself_is_its_loss(stage: str) -> None:
    """As a thread pool does that is shut down: it cancels what waits in it."""

    @on_clock
    async def run() -> None:
        class Dropping(FakeRunner):
            async def _drop(self) -> None:
                call: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                asyncio.get_running_loop().call_later(5, call.cancel)
                await call

        runner = Dropping()
        desk = Desk(runner)
        if stage == "tokenize":
            runner.tokenize = lambda inputs: runner._drop()  # type: ignore[assignment,return-value]
        else:
            runner._compute = lambda cost: runner._drop()  # type: ignore[method-assign]
        call = desk.ask(1)
        assert await desk.outcomes(call) == ["RunnerLost"]
        lost = call.task.exception()
        assert isinstance(lost, RunnerLost)
        assert lost.was_running

    run()


@on_clock
async def test_jobs_under_suspicion_share_with_nobody() -> None:
    desk = Desk(FakeRunner(fixed_s=1))
    busy = desk.ask(0)
    await settle()
    calls = [
        desk.ask([text(1), text(2)]),
        desk.ask([text(2), text(3), text(2)], is_alone=True),
        desk.ask([text(3)]),
    ]
    assert await desk.outcomes(busy, *calls) == [[0], [1, 2], [2, 3, 2], [3]]
    assert sorted(map(sorted, desk.runner.batches)) == [[0], [1, 2, 3], [2, 3]]
