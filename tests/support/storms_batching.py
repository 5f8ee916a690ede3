"""A storm of random events over a batcher, and what must stay true in it.

Every job ends exactly once: with the right rows, with the errors its inputs deserve, cancelled if it was
cancelled, lost only with its runner. No batch passes its budget or the slots; jobs under suspicion share
with nobody; at the end nothing is in flight and no task is left.
"""

from __future__ import annotations

import asyncio
import random

import numpy as np

from tests.support.clock import run_on_clock
from tests.support.computing import DIMENSIONS, Desk, FakeRunner, text, vector
from turbov2.batching import Job, RunnerLost, VectorCache
from turbov2.batching.fair import MAX_BATCH_ITEMS
from turbov2.batching.items import LANES
from turbov2.errors import InferenceFailed, OutOfMemory, RunnerCrashed, TurboError
from turbov2.types import DENSE, EmbedTask, Inputs, Outputs, TokenBatch

MAX_TOKENS = 12
_ALONE = 1_000_000  # numbers from here on are of jobs that are to be alone: a hundred for each
_ENDLESS_S = 1e6
_PLENTY = 1 << 30


def n_tokens(number: int) -> int:
    """Returns the tokens of a number's text: some more than the model reads."""
    return number * 7 % 15 + 1


def flaw(number: int) -> str:
    """Returns the code of the error that this number's text always ends in, or nothing."""
    flaws = {53: "inference_failed", 47: "out_of_memory", 41: "inference_failed", 43: "not_finite"}
    return next((code for divisor, code in flaws.items() if number % divisor == 0), "")


class StormyRunner(FakeRunner):
    """Fails by number, and as the storm says; checks each batch it is given."""

    def __init__(self, random_: random.Random, max_cost: int, *, is_padded: bool) -> None:
        super().__init__(random_.choice([0.0, 0.001]), random_.choice([0.0, 0.01]), MAX_TOKENS)
        self.tokenize_s = random_.choice([0.0, 0.002])
        self.max_cost = max_cost
        self.is_padded = is_padded
        self.max_rows = _PLENTY  # more of them run out of memory
        self.is_doomed = False  # the next call kills it
        self.wrongs: list[str] = []
        self.fails = self._fails
        self.tokenize_fails = self._tokenize_fails

    async def embed(
        self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False
    ) -> Outputs:
        try:
            self._check(tokens, is_precise=is_precise)
        except AssertionError as error:
            self.wrongs.append(str(error))  # the batcher would take it for a failed forward
        outputs = await super().embed(tokens, is_precise=is_precise)
        vectors = outputs.dense
        assert vectors is not None
        numbers = self.batches.pop()
        for row, number in enumerate(tokens.ids[np.cumsum(tokens.lengths) - 1].tolist()):
            if number % 43 == 0 or (number % 59 == 0 and not is_precise):
                vectors[row, 0] = np.inf
        assert numbers
        return outputs

    def _check(self, tokens: TokenBatch, *, is_precise: bool) -> None:
        lengths = tokens.lengths
        assert not self.n_running, "two forwards at a time"
        cost = lengths.max() * len(lengths) if self.is_padded else lengths.sum()
        assert 1 <= len(lengths) <= MAX_BATCH_ITEMS
        assert cost <= self.max_cost or len(lengths) == 1, "a batch passes its budget"
        assert len(lengths) == 1 or not is_precise, "a doubtful item runs with others"
        numbers = tokens.ids[np.cumsum(lengths) - 1]
        if numbers.max() >= _ALONE:
            assert len(set((numbers // 100).tolist())) == 1, "a job under suspicion shares a batch"

    def _fails(self, numbers: list[int]) -> BaseException | None:
        if self.is_doomed:
            self.is_alive = False
            return RunnerCrashed("killed by the storm")
        if len(numbers) > self.max_rows or any(number % 47 == 0 for number in numbers):
            return OutOfMemory("no room")
        return InferenceFailed("poison") if any(number % 41 == 0 for number in numbers) else None

    def _tokenize_fails(self, inputs: Inputs) -> BaseException | None:
        poisoned = any(isinstance(each, str) and int(each.split(":")[0] or 1) % 53 == 0 for each in inputs)
        return InferenceFailed("poison") if poisoned else None


class Promise:
    """A job that was sent, and the desk it was sent to."""

    def __init__(self, desk: Desk, job: Job, numbers: list[int]) -> None:
        self.desk = desk
        self.job = job
        self.numbers = numbers
        self.is_cancelled = False
        self.task = asyncio.create_task(desk.batcher.embed(job))

    def check(self) -> None:
        """Raises: AssertionError unless the job, which has ended, ended as it should."""
        deserved = {row: code for row, number in enumerate(self.numbers) if (code := self._deserves(number))}
        try:
            result = self.task.result()
        except asyncio.CancelledError:
            assert self.is_cancelled, "cancelled, and nobody asked for it"
        except RunnerLost:
            assert not self.desk.batcher.is_open, "lost, and the runner was there"
        except TurboError as error:
            is_due = not self.job.is_partial_ok and error.code in deserved.values()
            assert is_due, f"{error!r} where {deserved} was due"  # noqa: PT017  # the storm is no test function
        else:
            assert self.job.is_partial_ok or not deserved, f"answered where {deserved} was due"
            assert {row: error.code for row, error in result.errors.items()} == deserved
            good = np.array([row not in deserved for row in range(len(self.numbers))], np.bool_)
            wanted = np.array([vector(number) for number in self.numbers], np.float32).reshape(-1, DIMENSIONS)
            assert (result.vectors == wanted * good[:, None]).all(), "another input's vector"
            full = np.array([n_tokens(number) for number in self.numbers], np.int32)
            assert (result.full_lengths == full * good).all()
            assert (result.lengths == np.minimum(full, MAX_TOKENS) * good).all()

    def _deserves(self, number: int) -> str:
        if number % 53 and not self.job.truncate and n_tokens(number) > MAX_TOKENS:
            return "input_too_long"
        return flaw(number)


class Storm:
    """Draws events and keeps the ledger."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.promises: list[Promise] = []
        self.n_sent = self.n_ended = 0
        self.desk, self.runner = self._open()

    async def run(self, n_events: int) -> None:
        for step in range(n_events):
            kind = self.random.random()
            if kind < 0.65:
                self.send()
            elif kind < 0.8:
                self.leave()
            elif kind < 0.85:
                self.runner.max_rows = self.random.choice([1, 2, 5, _PLENTY])
            elif kind < 0.851:
                self.runner.is_doomed = True
            else:
                await asyncio.sleep(self.random.choice([0, 0, 0.003, 0.05]))
            if not self.desk.batcher.is_open or kind > 0.9998:
                await self.desk.batcher.close()
                self.desk, self.runner = self._open()
            if step % 200 == 0:
                self.settle_accounts()
        await self.end()

    async def end(self) -> None:
        self.runner.is_doomed = False
        async with asyncio.timeout(_ENDLESS_S):
            await asyncio.gather(*(promise.task for promise in self.promises), return_exceptions=True)
        await asyncio.sleep(1)  # an abandoned forward ends
        batcher = self.desk.batcher
        assert not batcher.is_open or not len(batcher._subscriptions), "something is left in flight"
        assert batcher.n_queued_items == batcher.n_ready_tokens == 0 or not batcher.is_open
        await batcher.close()
        self.settle_accounts()
        assert (len(self.promises), self.n_ended) == (0, self.n_sent)

    def send(self) -> None:
        draw, n = self.random.random(), self.random.choice([0, 1, 1, 1, 2, 3, 8])
        self.n_sent += 1
        first = _ALONE + 100 * self.n_sent if draw < 0.03 else self.random.randrange(1, 700)
        numbers = [first + i for i in range(n if draw < 0.998 else 1500)]
        if draw > 0.8:  # equal ones in one job
            numbers += numbers[:2]
        job = Job(
            [text(number, n_tokens(number)) for number in numbers],
            truncate=self.random.random() < 0.8,
            lane=self.random.choice(LANES),
            key_id=self.random.choice("abc"),
            is_partial_ok=self.random.random() < 0.5,
            is_alone=first >= _ALONE,
        )
        self.promises.append(Promise(self.desk, job, numbers))

    def leave(self) -> None:
        if self.promises:
            promise = self.random.choice(self.promises[-50:])
            promise.is_cancelled = True
            promise.task.cancel()

    def settle_accounts(self) -> None:
        """Afterwards the jobs that ended are checked and forgotten."""
        assert not self.runner.wrongs, self.runner.wrongs
        for promise in self.promises:
            if promise.task.done():
                self.n_ended += 1
                promise.check()
        self.promises = [promise for promise in self.promises if not promise.task.done()]

    def _open(self) -> tuple[Desk, StormyRunner]:
        max_cost = self.random.choice([1, 20, 200, 16_384])
        is_padded = self.random.random() < 0.7
        runner = StormyRunner(self.random, max_cost, is_padded=is_padded)
        cache = VectorCache(50_000) if self.random.random() < 0.3 else None
        return Desk(runner, max_cost, is_padded=is_padded, cache=cache), runner


def batching_storm(seed: int, n_events: int) -> int:
    """Returns the number of events. Raises: AssertionError naming the seed, when something was not true."""

    async def run() -> None:
        await Storm(seed).run(n_events)

    try:
        run_on_clock(run())
    except Exception as error:
        raise AssertionError(f"seed {seed}: {error!r}") from error
    return n_events
