"""Batcher and DirectBatcher in front of runners that do as a test says."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable

import numpy as np
import pytest

from tests.support.clock import on_clock, settle
from turbov2.batching import Batcher, DirectBatcher
from turbov2.batching.loop import MAX_BATCH_CHARS
from turbov2.errors import InferenceFailed, InputTooLong, QueueFull, RunnerCrashed, TurboError
from turbov2.types import EmbedBatch, EmbedOutput


class FakeRunner:
    """The vector of a text is its number. Each forward waits for `gate`, if there is one."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate: asyncio.Event | None = None
        self.n_running = 0
        self.fails: Callable[[list[str]], BaseException | None] = lambda texts: None

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        texts = [str(text) for text in batch.inputs]
        self.batches.append(texts)
        self.n_running += 1
        try:
            if self.gate is not None:
                await self.gate.wait()
            await asyncio.sleep(0)
            if (error := self.fails(texts)) is not None:
                raise error
        finally:
            self.n_running -= 1
        numbers = np.array([[int(text)] for text in texts], np.float32).reshape(len(texts), 1)
        n = len(texts)
        return EmbedOutput(numbers, np.arange(n, dtype=np.int32), np.zeros(n, np.bool_))


def fails_on(number: int, error: type[TurboError]) -> Callable[[list[str]], BaseException | None]:
    return lambda texts: error(f"no {number}") if str(number) in texts else None


def ask(batcher: Batcher | DirectBatcher, *numbers: int) -> asyncio.Task[EmbedOutput]:
    return asyncio.create_task(batcher.embed(EmbedBatch([str(number) for number in numbers])))


async def outcome(task: asyncio.Task[EmbedOutput]) -> list[int] | str:
    """Returns the numbers that came back, or the name of the error."""
    try:
        return [int(number) for number in (await task).vectors[:, 0]]
    except (TurboError, asyncio.CancelledError) as error:
        return type(error).__name__


async def outcomes(*tasks: asyncio.Task[EmbedOutput]) -> list[list[int] | str]:
    async with asyncio.timeout(100):  # of the test's clock
        return [await outcome(task) for task in tasks]


# --- Batcher


@on_clock
async def test_an_idle_runner_is_asked_at_once() -> None:
    runner = FakeRunner()
    batcher = Batcher(runner.embed, 10)
    output = await batcher.embed(EmbedBatch(["5", "6"]))
    assert output.vectors.tolist() == [[5], [6]]
    assert runner.batches == [["5", "6"]]
    await batcher.close()


@on_clock
async def test_arrivals_gather_while_a_batch_runs() -> None:
    runner = FakeRunner()
    runner.gate = asyncio.Event()
    batcher = Batcher(runner.embed, 10)
    first = ask(batcher, 1)
    await settle()
    rest = [ask(batcher, 2, 3), ask(batcher), ask(batcher, 4)]
    await settle()
    assert runner.batches == [["1"]]
    assert batcher.n_waiting == 3
    runner.gate.set()
    assert await outcomes(first, *rest) == [[1], [2, 3], [], [4]]
    assert runner.batches == [["1"], ["2", "3", "4"]]
    assert batcher.n_waiting == 0
    await batcher.close()


@on_clock
async def test_each_gets_the_counts_of_its_own_inputs() -> None:
    runner = FakeRunner()
    batcher = Batcher(runner.embed, 10)
    one, two = ask(batcher, 7, 8), ask(batcher, 9)
    assert (await one).n_tokens.tolist() == [0, 1]
    assert (await two).n_tokens.tolist() == [2]
    assert (await two).truncated.tolist() == [False]
    await batcher.close()


@on_clock
async def test_a_full_queue_refuses_at_once() -> None:
    runner = FakeRunner()
    runner.gate = asyncio.Event()
    batcher = Batcher(runner.embed, 2)
    tasks = [ask(batcher, 0)]
    await settle()
    tasks += [ask(batcher, 1), ask(batcher, 2)]
    await settle()
    with pytest.raises(QueueFull, match="2 requests already wait.*the limit is 2") as full:
        await batcher.embed(EmbedBatch(["3"]))
    assert full.value.retry_after_s
    runner.gate.set()
    assert await outcomes(*tasks) == [[0], [1], [2]]
    await batcher.close()


@on_clock
async def test_who_leaves_is_skipped_and_takes_no_place() -> None:
    runner = FakeRunner()
    runner.gate = asyncio.Event()
    batcher = Batcher(runner.embed, 2)
    first = ask(batcher, 0)
    await settle()
    leaving, staying = ask(batcher, 1), ask(batcher, 2)
    await settle()
    leaving.cancel()
    await settle()
    assert batcher.n_waiting == 1
    late = ask(batcher, 3)  # there is room again
    await settle()
    runner.gate.set()
    assert await outcomes(first, leaving, staying, late) == [[0], "CancelledError", [2], [3]]
    assert runner.batches == [["0"], ["2", "3"]]
    await batcher.close()


@on_clock
async def test_who_leaves_a_running_batch_harms_nobody() -> None:
    runner = FakeRunner()
    batcher = Batcher(runner.embed, 10)
    runner.gate = asyncio.Event()
    one, two = ask(batcher, 1), ask(batcher, 2)
    await settle()
    one.cancel()
    await settle()
    runner.gate.set()
    assert await outcomes(one, two) == ["CancelledError", [2]]
    await batcher.close()


@pytest.mark.parametrize("error", [InferenceFailed, InputTooLong])
def test_one_bad_request_fails_alone(error: type[TurboError]) -> None:
    @on_clock
    async def run() -> None:
        runner = FakeRunner()
        runner.fails = fails_on(2, error)
        batcher = Batcher(runner.embed, 10)
        tasks = [ask(batcher, 1), ask(batcher, 2, 5), ask(batcher, 3)]
        assert await outcomes(*tasks) == [[1], error.__name__, [3]]
        assert runner.batches == [["1", "2", "5", "3"], ["1"], ["2", "5"], ["3"]]
        await batcher.close()

    run()


@on_clock
async def test_who_left_is_not_run_again() -> None:
    runner = FakeRunner()
    runner.fails = fails_on(2, InferenceFailed)
    runner.gate = asyncio.Event()
    batcher = Batcher(runner.embed, 10)
    tasks = [ask(batcher, 1), ask(batcher, 2), ask(batcher, 3)]
    await settle()
    tasks[0].cancel()
    runner.gate.set()
    assert await outcomes(*tasks) == ["CancelledError", "InferenceFailed", [3]]
    assert runner.batches == [["1", "2", "3"], ["2"], ["3"]]
    await batcher.close()


@on_clock
async def test_a_crash_fails_each_request_of_the_batch_once() -> None:
    runner = FakeRunner()
    runner.fails = fails_on(2, RunnerCrashed)
    batcher = Batcher(runner.embed, 10)
    tasks = [ask(batcher, 1), ask(batcher, 2), ask(batcher, 3)]
    assert await outcomes(*tasks) == ["RunnerCrashed"] * 3
    assert runner.batches == [["1", "2", "3"]], "nothing runs again on a dead runner"
    assert len({id(task.exception()) for task in tasks}) == 3
    assert await outcomes(ask(batcher, 4)) == [[4]]
    await batcher.close()


@on_clock
async def test_a_crash_while_requests_run_again_one_by_one() -> None:
    runner = FakeRunner()

    def fails(texts: list[str]) -> BaseException | None:
        if len(texts) > 1:
            return InferenceFailed("together")
        return RunnerCrashed("gone") if texts == ["2"] else None

    runner.fails = fails
    batcher = Batcher(runner.embed, 10)
    tasks = [ask(batcher, 1), ask(batcher, 2), ask(batcher, 3)]
    assert await outcomes(*tasks) == [[1], "RunnerCrashed", "RunnerCrashed"]
    await batcher.close()


@on_clock
async def test_a_defect_fails_its_batch_and_not_the_queue() -> None:
    runner = FakeRunner()
    runner.fails = lambda texts: ZeroDivisionError("secret") if "1" in texts else None
    batcher = Batcher(runner.embed, 10)
    task = ask(batcher, 1)
    with pytest.raises(InferenceFailed, match="log says why"):
        await task
    assert await outcomes(ask(batcher, 2)) == [[2]]
    await batcher.close()


@on_clock
async def test_vectors_that_do_not_fit_the_inputs_reach_nobody() -> None:
    async def run(batch: EmbedBatch) -> EmbedOutput:
        return EmbedOutput(np.zeros((1, 4), np.float32), np.zeros(1, np.int32), np.zeros(1, np.bool_))

    batcher = Batcher(run, 10)
    assert await outcomes(ask(batcher, 1), ask(batcher, 2)) == ["InferenceFailed"] * 2
    await batcher.close()


@on_clock
async def test_close_fails_all_that_wait_or_run() -> None:
    runner = FakeRunner()
    runner.gate = asyncio.Event()
    batcher = Batcher(runner.embed, 10)
    tasks = [ask(batcher, 1)]
    await settle()
    tasks += [ask(batcher, 2), ask(batcher, 3)]
    await settle()
    tasks[2].cancel()
    await batcher.close()
    assert await outcomes(*tasks) == ["RunnerCrashed", "RunnerCrashed", "CancelledError"]
    assert "send it again" in str(tasks[0].exception())
    assert runner.n_running == 0
    with pytest.raises(RunnerCrashed):
        await batcher.embed(EmbedBatch(["4"]))
    await batcher.close()


@on_clock
async def test_close_that_is_cut_off_has_answered_all_the_same() -> None:
    async def stubborn(batch: EmbedBatch) -> EmbedOutput:
        try:
            await asyncio.sleep(1000)
        except asyncio.CancelledError:
            await asyncio.sleep(5)
            raise
        raise AssertionError

    batcher = Batcher(stubborn, 10)
    tasks = [ask(batcher, 1)]
    await settle()
    tasks.append(ask(batcher, 2))
    await settle()
    closing = asyncio.create_task(batcher.close())
    await settle()
    assert await outcomes(*tasks) == ["RunnerCrashed", "RunnerCrashed"]
    assert not closing.done()
    closing.cancel()
    await settle()
    await batcher.close()


@pytest.mark.parametrize("seed", range(40))
def test_random_events_answer_everybody_once(seed: int) -> None:
    """Requests come, leave, fail, crash and are closed upon: each ends once, with its own numbers."""

    @on_clock
    async def run() -> None:
        random_ = random.Random(seed)
        runner = FakeRunner()
        runner.gate = asyncio.Event()

        def fails(texts: list[str]) -> BaseException | None:
            if any(int(text) % 31 == 0 for text in texts):
                return RunnerCrashed("gone")
            return InferenceFailed("bad") if any(int(text) % 7 == 0 for text in texts) else None

        runner.fails = fails
        batcher = Batcher(runner.embed, 15)
        asked: dict[asyncio.Task[EmbedOutput], list[int]] = {}
        for number in range(1, 200):
            what = random_.random()
            if what < 0.6:
                wanted = [number * 10 + i for i in range(random_.randrange(4))]
                asked[ask(batcher, *wanted)] = wanted
            elif what < 0.75 and asked:
                random_.choice(list(asked)).cancel()
            elif what < 0.9:
                runner.gate.set()
            else:
                runner.gate.clear()
            await settle(random_.choice([0, 1, 2, 10]))
        if random_.random() < 0.5:
            runner.gate.set()
            await settle(5)
        await batcher.close()
        for task, wanted in asked.items():
            got = await outcome(task)
            bad = any(number % 7 == 0 for number in wanted)
            assert got in ("QueueFull", "RunnerCrashed", "CancelledError") or got == (
                "InferenceFailed" if bad else wanted
            )
        assert runner.n_running == 0

    run()


@on_clock
async def test_a_batch_is_bounded() -> None:
    sizes: list[int] = []

    async def run(batch: EmbedBatch) -> EmbedOutput:
        sizes.append(len(batch.inputs))
        n = len(batch.inputs)
        return EmbedOutput(np.zeros((n, 1), np.float32), np.zeros(n, np.int32), np.zeros(n, np.bool_))

    batcher = Batcher(run, 100)
    text = "x" * (MAX_BATCH_CHARS // 4)
    tasks = [asyncio.create_task(batcher.embed(EmbedBatch([text]))) for _ in range(10)]
    await asyncio.gather(*tasks)
    assert sizes == [4, 4, 2]
    await batcher.close()


# --- DirectBatcher


@on_clock
async def test_direct_runs_all_at_once_up_to_the_limit() -> None:
    runner = FakeRunner()
    runner.gate = asyncio.Event()
    batcher = DirectBatcher(runner.embed, 100)
    tasks = [ask(batcher, number) for number in range(100)]
    await settle()
    assert runner.n_running == batcher.n_waiting == 100
    with pytest.raises(QueueFull, match="the limit is 100"):
        await batcher.embed(EmbedBatch(["1"]))
    tasks[3].cancel()
    await settle()
    tasks.append(ask(batcher, 100))
    await settle()
    runner.gate.set()
    expected: list[list[int] | str] = [[number] for number in range(101)]
    expected[3] = "CancelledError"
    assert await outcomes(*tasks) == expected
    assert batcher.n_waiting == 0
    await batcher.close()


@on_clock
async def test_direct_hands_on_what_the_runner_raises_and_frees_the_place() -> None:
    runner = FakeRunner()
    runner.fails = fails_on(1, InferenceFailed)
    batcher = DirectBatcher(runner.embed, 1)
    for _ in range(3):
        assert await outcomes(ask(batcher, 1)) == ["InferenceFailed"]
    assert await outcomes(ask(batcher, 2)) == [[2]]
    await batcher.close()


@on_clock
async def test_direct_small_calls_take_no_step_of_the_loop() -> None:
    async def run(batch: EmbedBatch) -> EmbedOutput:
        return EmbedOutput(np.zeros((1, 1), np.float32), np.zeros(1, np.int32), np.zeros(1, np.bool_))

    embedding = DirectBatcher(run, 1).embed(EmbedBatch(["x"]))
    with pytest.raises(StopIteration):
        embedding.send(None)


def _cancelled_pool() -> Callable[[EmbedBatch], Awaitable[EmbedOutput]]:
    async def run(batch: EmbedBatch) -> EmbedOutput:
        call: asyncio.Future[EmbedOutput] = asyncio.get_running_loop().create_future()
        asyncio.get_running_loop().call_later(5, call.cancel)  # as ThreadPoolExecutor.shutdown does
        return await call

    return run


@on_clock
async def test_direct_turns_a_cut_off_call_into_an_error() -> None:
    batcher = DirectBatcher(_cancelled_pool(), 10)
    tasks = [ask(batcher, 1), ask(batcher, 2)]
    await settle()
    await batcher.close()
    tasks[1].cancel()
    assert await outcomes(*tasks) == ["RunnerCrashed", "CancelledError"]
    assert await outcomes(ask(batcher, 3)) == ["RunnerCrashed"]
