"""A runner for batchers, on the jump clock: as slow, faulty and dead as a test says."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import numpy as np

from tests.support.clock import now_s
from turbov2.batching import Batcher, BatchLimits, BatchRecord, Job, JobResult, RunnerLost, VectorCache
from turbov2.errors import TurboError
from turbov2.types import DENSE, EmbedTask, Inputs, Lane, Outputs, TokenBatch

DIMENSIONS = 2
Fault = Callable[[list[int]], BaseException | None]


def text(number: int, n_tokens: int = 1) -> str:
    """Returns a text of so many tokens, whose vector says `number`."""
    return f"{number}:{n_tokens}"


def vector(number: int) -> list[float]:
    return [float(number), float(number % 97)]


def numbers_of(inputs: Inputs) -> list[int]:
    return [_number(each) for each in inputs]


def _number(each: str | Sequence[int]) -> int:
    return (int(each.split(":")[0]) if ":" in each else 0) if isinstance(each, str) else each[0]


def _count(each: str | Sequence[int]) -> int:
    """Returns the tokens: as many as the text says, else one a word."""
    if isinstance(each, str):
        return int(each.split(":")[1]) if ":" in each else len(each.split())
    return len(each)


class FakeRunner:
    """Every token of an input is its number; a forward takes `fixed_s` + `seconds_per_cost` x padded cost."""

    def __init__(self, seconds_per_cost: float = 0.0, fixed_s: float = 0.0, max_tokens: int = 512) -> None:
        self.seconds_per_cost = seconds_per_cost
        self.fixed_s = fixed_s
        self.max_tokens = max_tokens
        self.tokenize_s = 0.0
        self.is_alive = True
        self.gate: asyncio.Event | None = None  # forwards wait for it
        self.fails: Fault = lambda numbers: None
        self.tokenize_fails: Callable[[Inputs], BaseException | None] = lambda inputs: None
        self.not_finite: dict[int, bool] = {}  # number → whether it stays so in float32
        self.chunks: list[Inputs] = []
        self.batches: list[list[int]] = []
        self.costs: list[int] = []
        self.began_s: list[float] = []
        self.n_precise = 0
        self.n_freed = 0
        self.n_running = self.max_running = 0
        self.steps: list[str] = []  # of the ladder

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        self.chunks.append(inputs)
        await asyncio.sleep(self.tokenize_s)
        if (error := self.tokenize_fails(inputs)) is not None:
            raise error
        full = np.array([_count(each) for each in inputs], np.int32)
        lengths = np.minimum(full, self.max_tokens)
        ids = np.repeat(np.array(numbers_of(inputs), np.int32), lengths)
        return TokenBatch(ids, lengths, full)

    async def embed(
        self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False
    ) -> Outputs:
        numbers = tokens.ids[np.cumsum(tokens.lengths) - 1].tolist()
        self.batches.append(numbers)
        self.costs.append(int(tokens.lengths.max()) * len(numbers))
        self.began_s.append(now_s())
        self.n_precise += is_precise
        self.n_running += 1
        self.max_running = max(self.max_running, self.n_running)
        self.steps.append(f"forward {len(numbers)}")
        try:
            await self._compute(self.costs[-1])
            if (error := self.fails(numbers)) is not None:
                raise error
        finally:
            self.n_running -= 1
        vectors = np.array([vector(number) for number in numbers], np.float32)
        for row, number in enumerate(numbers):
            if number in self.not_finite and not (is_precise and not self.not_finite[number]):
                vectors[row, -1] = np.nan
        return Outputs(vectors)

    async def free_caches(self) -> None:
        self.n_freed += 1
        self.steps.append("free")

    async def _compute(self, cost: int) -> None:
        if self.gate is not None:
            await self.gate.wait()
        await asyncio.sleep(self.fixed_s + self.seconds_per_cost * cost)


def fails_on(number: int, error: Callable[[str], BaseException]) -> Fault:
    return lambda numbers: error(f"no {number}") if number in numbers else None


class Desk:
    """A batcher before a FakeRunner, and what both reported."""

    def __init__(
        self,
        runner: FakeRunner | None = None,
        max_cost: int = 16_384,
        *,
        is_padded: bool = True,
        cache: VectorCache | None = None,
    ) -> None:
        self.runner = runner or FakeRunner()
        self.records: list[BatchRecord] = []
        self.batcher = Batcher(
            self.runner,
            dimensions=DIMENSIONS,
            is_padded=is_padded,
            limits=BatchLimits(max_cost, self.runner.seconds_per_cost or 1e-6),
            cache=cache,
            relieve=self._relieve,
            on_batch=self.records.append,
            now_s=now_s,
        )

    async def _relieve(self) -> None:
        self.runner.steps.append("relieve")

    def ask(self, inputs: Inputs | int, lane: Lane = "default", key_id: str = "", **how: bool) -> Call:
        """Returns the task of a job: of these inputs, or of the text that has this number."""
        return Call(
            self.batcher,
            Job([text(inputs)] if isinstance(inputs, int) else inputs, **how, lane=lane, key_id=key_id),
        )

    async def outcomes(self, *calls: Call) -> list[list[int] | str]:
        """Returns how each ended: its numbers, or the name of the error. Closes the batcher."""
        async with asyncio.timeout(1000):  # of the test's clock
            found = [await call.outcome() for call in calls]
        await self.batcher.close()
        return found


class Call:
    """A job that was sent."""

    def __init__(self, batcher: Batcher, job: Job) -> None:
        self.job = job
        self.began_s = now_s()
        self.ended_s = 0.0
        self.task = asyncio.create_task(batcher.embed(job))
        self.task.add_done_callback(self._end)

    def _end(self, _: object) -> None:
        self.ended_s = now_s()

    @property
    def taken_s(self) -> float:
        return self.ended_s - self.began_s

    def cancel(self) -> None:
        self.task.cancel()

    async def result(self) -> JobResult:
        return await self.task

    async def outcome(self) -> list[int] | str:
        try:
            result = await self.task
        except (TurboError, RunnerLost, asyncio.CancelledError) as error:
            return type(error).__name__
        numbers = [int(number) for number in result.vectors[:, 0]]
        assert result.vectors.tolist() == [
            [0.0] * DIMENSIONS if row in result.errors else vector(number)
            for row, number in enumerate(numbers)
        ]
        return numbers
