"""Slices: the queue of a model in our own threads that gains nothing from mixing jobs.

What a static model computes costs the sum of its texts, whoever sent them, and takes microseconds a text: to
queue each text would take longer than its vector. So a job takes turns, and each turn is one call for as
many of its texts as its neighbours can wait for.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, NamedTuple, Protocol

import numpy as np

from turbov2.batching.at_once import answer_at_once
from turbov2.batching.jobs import BatchRecord, Job, JobResult, RunnerLost
from turbov2.batching.pace import Expectation
from turbov2.batching.turns import Turns
from turbov2.errors import InferenceFailed, OutOfMemory, RunnerCrashed, TurboError
from turbov2.types import Inputs, TokenBatch

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

# 65,536 characters take 2 ms if all words are known and 13 ms if none is (bench/kernel.py).
_MAX_CHARS = 65_536
_SHORT_CHARS = 2_048  # while interactive requests come
_MAX_ITEMS = 4_096  # empty texts have no characters, but vectors


class ComputesWhole(Protocol):
    """What slices call of a runner."""

    def embed_now(self, inputs: Inputs) -> tuple[TokenBatch, FloatMatrix] | None:
        """Returns the same before anything else happens, or None: there is too much to do."""

    async def embed_whole(self, inputs: Inputs) -> tuple[TokenBatch, FloatMatrix]:
        """Returns the inputs' tokens and raw vectors, `[n, d]` float32, in one step."""


class Part(NamedTuple):
    """What one call gave."""

    tokens: TokenBatch
    vectors: FloatMatrix
    taken_s: float


class Gathered:
    """The parts of one job. Each is copied as it comes: tens of megabytes at once would hold up the loop."""

    def __init__(self, n_rows: int) -> None:
        self.vectors: FloatMatrix | None = None
        self.taken_s = 0.0
        self._n_rows = n_rows
        self._n_there = 0
        self._batches: list[TokenBatch] = []

    def add(self, part: Part) -> None:
        """Afterwards the next rows are there."""
        self.taken_s += part.taken_s
        self._batches.append(part.tokens)
        n = len(part.vectors)
        if n == self._n_rows:
            self.vectors = part.vectors
            return
        if self.vectors is None:
            self.vectors = np.empty((self._n_rows, part.vectors.shape[1]), np.float32)
        self.vectors[self._n_there : self._n_there + n] = part.vectors
        self._n_there += n

    def tokens(self) -> TokenBatch:
        """Returns the tokens of all rows."""
        if len(self._batches) == 1:
            return self._batches[0]
        lengths = np.concatenate([batch.lengths for batch in self._batches])
        is_whole = all(batch.lengths is batch.full_lengths for batch in self._batches)
        full_lengths = lengths if is_whole else np.concatenate([b.full_lengths for b in self._batches])
        return TokenBatch(np.concatenate([batch.ids for batch in self._batches]), lengths, full_lengths)


class Slices:
    """At most `n_slots` calls at a time; while interactive requests come one, and a short one."""

    def __init__(
        self,
        runner: ComputesWhole,
        *,
        n_slots: int,
        on_batch: Callable[[BatchRecord], None],
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runner = runner
        self._on_batch = on_batch
        self._now_s = now_s
        self._interactive = Expectation()
        self._turns = Turns(lambda: 1 if self._interactive.is_near(now_s()) else n_slots)
        self._lost: RunnerLost | None = None
        self.n_queued_items = 0  # inputs without a vector yet

    def embed_at_once(self, job: Job) -> JobResult | None:
        """Returns the vectors of a small job in the caller's own step, None for a larger one or a failure.

        Raises: what an input that is too long raises, unless partial results are wanted.
        """
        began_s = self._now_s()
        try:
            done = self._runner.embed_now(job.inputs)
        except (InferenceFailed, OutOfMemory):
            return None
        if done is None:
            return None
        ended_s = self._now_s()
        if job.lane == "interactive":
            self._interactive.note(ended_s)
        return answer_at_once(job, *done, round((ended_s - began_s) * 1e9))

    async def embed(self, job: Job) -> JobResult | None:
        """Returns the job's vectors; None if a call failed: whose fault it is, others find out.

        Raises: what an input that is too long raises, unless partial results are wanted; RunnerLost.
        """
        began_s, n_left, gathered = self._now_s(), len(job.inputs), Gathered(len(job.inputs))
        if job.lane == "interactive":
            self._interactive.note(began_s)
        ends = list(accumulate(map(len, job.inputs)))
        self.n_queued_items += n_left
        try:
            while n_left:
                part = await self._take_turn(job, ends, len(ends) - n_left)
                n_left -= len(part.vectors)
                self.n_queued_items -= len(part.vectors)
                gathered.add(part)
        except TurboError:
            return None
        finally:
            self.n_queued_items -= n_left
        if gathered.vectors is None:
            return None
        queue_s = self._now_s() - began_s - gathered.taken_s
        taken_ns, queue_ns = round(gathered.taken_s * 1e9), round(queue_s * 1e9)
        return answer_at_once(job, gathered.tokens(), gathered.vectors, taken_ns, queue_ns)

    def close(self) -> None:
        """Afterwards all that waits failed with RunnerLost, and so does what comes."""
        said = "the model was unloaded before this request was done; send it again"
        self._lost = RunnerLost(RunnerCrashed(said, retry_after_s=1), was_running=False)
        self._turns.close(self._lost)

    async def _take_turn(self, job: Job, ends: Sequence[int], start: int) -> Part:
        """Returns what a call for the inputs from `start` on gave. `ends`: running sum of their sizes."""
        if self._lost is not None:
            raise self._lost
        asked_s = self._now_s()
        share = await self._turns.take(job.lane, job.key_id, is_first=not start)
        began_s = self._now_s()
        stop = self._stop(ends, start, began_s)
        try:
            tokens, vectors = await self._runner.embed_whole(job.inputs[start:stop])
        except RunnerCrashed as error:
            raise RunnerLost(error, was_running=False) from error
        finally:
            taken_s = self._now_s() - began_s
            self._turns.pay(share, ends[stop - 1] - (ends[start - 1] if start else 0), taken_s)
        queue_ns, inference_ns = round((began_s - asked_s) * 1e9), round(taken_s * 1e9)
        n_tokens = len(tokens.ids)
        self._on_batch(BatchRecord(job.lane, stop - start, n_tokens, n_tokens, queue_ns, inference_ns, "ok"))
        return Part(tokens, vectors, taken_s)

    def _stop(self, ends: Sequence[int], start: int, now_s: float) -> int:
        """Returns where the slice that begins at `start` ends: at least one input later."""
        max_chars = _SHORT_CHARS if self._interactive.is_near(now_s) else _MAX_CHARS
        limit = (ends[start - 1] if start else 0) + max_chars
        return max(min(bisect_right(ends, limit, start), start + _MAX_ITEMS), start + 1)
