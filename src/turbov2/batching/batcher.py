"""Batcher: the tasks that tokenise, run and answer what waits for one runner."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence

from turbov2.batching.cache import VectorCache
from turbov2.batching.fair import MAX_BATCH_ITEMS, Batch, FairQueue, Flow, LaneQueue
from turbov2.batching.forward import Abandoned, Computes, Forward, call_tokenizer, doubtful_rows
from turbov2.batching.items import Answer, Item
from turbov2.batching.jobs import BatchRecord, Job, JobResult, RunnerLost
from turbov2.batching.pace import BatchLimits, Pace
from turbov2.batching.recovery import Recovery
from turbov2.batching.subscriptions import Subscriptions
from turbov2.errors import InferenceFailed, OutOfMemory, RunnerCrashed, TurboError
from turbov2.types import Outputs

logger = logging.getLogger(__name__)
_MAX_BATCH_FLOATS = 131_072  # of a forward's vectors: the loop copies them in about half a millisecond
_ENTRY_ITEMS = 128  # inputs that enter in one step of the loop: about half a millisecond


class Batcher:
    """Two tasks: one tokenises ahead, the other runs batches.

    A batch is formed when the runner is free, from what is tokenised by then: forming takes some 0.1 ms, and
    whoever comes until that moment still has a place. Any batch that fails comes back in parts, as
    batches of its lane, until the guilty items stand alone.

    patience_s: how long a forward that nobody waits for may keep others waiting before it is abandoned,
    which may cost the runner its process: as long as that takes to load.
    """

    def __init__(
        self,
        runner: Computes,
        *,
        dimensions: int,
        is_padded: bool,
        limits: BatchLimits,
        relieve: Callable[[], Awaitable[None]],
        on_batch: Callable[[BatchRecord], None],
        patience_s: float = 0.0,
        cache: VectorCache | None = None,
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runner = runner
        self._dimensions = dimensions
        self._is_padded = is_padded
        self._max_items = max(min(_MAX_BATCH_FLOATS // dimensions, MAX_BATCH_ITEMS), 1)
        self._on_batch = on_batch
        self._patience_s = patience_s
        self._now_s = now_s
        self._pace = Pace(limits)
        self._queue = FairQueue()
        self._subscriptions = Subscriptions(self._queue, cache)
        self._recovery = Recovery(runner, self._subscriptions, self._pace, relieve)
        self._answers: set[Answer] = set()
        self._tokenizing: list[Sequence[Item]] = []
        self._forwards: list[Forward] = []
        self._lost: TurboError | None = None  # why nothing runs any more
        self._has_texts, self._has_tokens = asyncio.Event(), asyncio.Event()
        self._tasks = [
            asyncio.create_task(loop(), name="turbov2-batcher")
            for loop in (self._tokenize_all, self._run_all)
        ]
        for task in self._tasks:
            task.add_done_callback(self._on_end)

    @property
    def is_open(self) -> bool:
        """False once the runner was lost or `close` began: jobs are refused with RunnerLost."""
        return self._lost is None

    @property
    def n_queued_items(self) -> int:
        """Inputs that wait for a forward, those twice that two jobs wait for."""
        n_waiting = sum(len(answer.waiting) for answer in self._answers)
        n_ready = sum(len(lane.ready) for lane in self._queue.lanes)
        return n_waiting + sum(map(len, self._tokenizing)) + n_ready

    @property
    def n_ready_tokens(self) -> int:
        """Tokens that are counted and wait for a forward."""
        return sum(lane.n_ready_tokens for lane in self._queue.lanes)

    async def embed(self, job: Job) -> JobResult:
        """Returns the job's vectors. Cancelling it drops what waits; others are not touched.

        Raises: the first failed item's error, unless the job allows partial results; RunnerLost.
        """
        if self._lost is not None:
            raise RunnerLost(self._lost, was_running=False)
        answer = Answer(job, self._dimensions, self._now_s())
        self._answers.add(answer)
        try:
            await self._enter(answer)
            await answer.done
        finally:
            self._answers.discard(answer)
            self._leave(answer)
        return answer.result(self._now_s())

    async def close(self, cause: RunnerCrashed | None = None) -> None:
        """Afterwards all that was not answered failed with RunnerLost, for this cause; no task is left."""
        said = "the model's runner ended before this request was done; send it again"
        self._lose(cause or RunnerCrashed(said, retry_after_s=1), is_crash=not self._runner.is_alive)
        await asyncio.wait(self._tasks)

    # --- jobs come and go

    async def _enter(self, answer: Answer) -> None:
        n = len(answer.job.inputs)
        for start in range(0, n, _ENTRY_ITEMS):
            if start:
                await asyncio.sleep(0)
            if not answer.is_live:
                return
            now_s = self._now_s()
            if answer.job.lane == "interactive":
                self._pace.expect_interactive(now_s)
            self._subscriptions.enter(answer, range(start, min(start + _ENTRY_ITEMS, n)), now_s)
            self._has_texts.set()
            self._has_tokens.set()  # a tokenised item may have changed its lane

    def _leave(self, answer: Answer) -> None:
        is_early = bool(answer.n_left)
        self._subscriptions.leave(answer)
        if is_early:
            self._has_texts.set()  # what it had ready leaves room
            self._abandon_unwanted()
            if self._forwards:
                asyncio.get_running_loop().call_later(self._patience_s, self._abandon_unwanted, True)

    def _abandon_unwanted(self, is_last_call: bool = False) -> None:
        """Abandons forwards that nobody waits for: at once if nobody waits for others, else at the last call.

        Abandoning may cost the runner its process, so those in the queue would wait for it to load.
        """
        has_others = any(lane.is_backlogged() for lane in self._queue.lanes)
        for forward in self._forwards:
            if (is_last_call or not has_others) and not any(i.is_wanted() for i in forward.batch.items):
                forward.abandon()

    def _lose(self, cause: TurboError, *, is_crash: bool) -> None:
        """Afterwards every job has failed and the tasks are ending."""
        if self._lost is not None:
            return
        self._lost = cause
        suspects = self._jobs_at_work() if is_crash else set()
        for answer in self._answers:
            answer.end(RunnerLost(cause, was_running=answer in suspects))
        for task in self._tasks:
            task.cancel()

    def _on_end(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("a queue ended. This is a bug.", exc_info=error)
            self._lose(InferenceFailed("the model's queue ended; the server's log says why"), is_crash=False)

    def _jobs_at_work(self) -> set[Answer]:
        """Returns the jobs that may have killed the runner.

        One that runs alone has killed one before; and it is forwards that kill, rather than tokenizers.
        """
        forwards = [item for forward in self._forwards for item in forward.batch.items]
        if alone := {item.alone for item in forwards if item.alone is not None}:
            return alone
        tokenizing = [item for items in self._tokenizing for item in items]
        return {answer for item in forwards or tokenizing for answer, _ in item.subscribers}

    @contextlib.contextmanager
    def _guard(self, items: Sequence[Item]) -> Iterator[None]:
        """The outer edge of both tasks: a defect of ours fails its items and does not stop the queue."""
        try:
            yield
        except Exception:
            logger.exception("items were not answered. This is a bug.")
            self._subscriptions.fail(items, InferenceFailed("computing failed; the server's log says why"))

    # --- first stage: texts to tokens

    async def _tokenize_all(self) -> None:
        while True:
            self._subscriptions.drop_unwanted()
            max_cost = self._pace.longest_cost
            lane = self._queue.next_to_tokenize(max_cost)
            if lane is None:
                self._has_texts.clear()
                await self._has_texts.wait()
                continue
            max_chars = self._pace.max_chars(lane.name, self._now_s())
            items, flows = lane.take_chunk(max_cost, max_chars)
            if items:
                with self._guard(items):
                    await self._tokenize(lane, items, flows)
                self._has_tokens.set()

    async def _tokenize(self, lane: LaneQueue, items: Sequence[Item], flows: Sequence[Flow]) -> None:
        """Afterwards these items are ready or have failed; a call that fails is made again in halves."""
        self._tokenizing.append(items)
        try:
            began_s = self._now_s()
            tokens = await call_tokenizer(self._runner, [item.content for item in items])
            self._subscriptions.take_tokens(items, tokens, self._now_s() - began_s)
            self._queue.make_ready(items, flows, lane)
            return
        except TurboError as error:
            if self._is_crash(error):
                self._lose(error, is_crash=True)
                return
            if len(items) == 1:
                self._subscriptions.fail(items, error)
                return
        finally:
            self._tokenizing.remove(items)
        half = len(items) // 2
        await self._tokenize(lane, items[:half], flows[:half])
        await self._tokenize(lane, items[half:], flows[half:])

    # --- second stage: tokens to vectors

    async def _run_all(self) -> None:
        while True:
            batch = self._next_batch()
            if batch is None:
                self._has_tokens.clear()
                await self._has_tokens.wait()
                continue
            self._has_texts.set()  # there is room for more tokens
            with self._guard(batch.items):
                await self._run(batch)

    def _next_batch(self) -> Batch | None:
        self._subscriptions.drop_unwanted()
        while (lane := self._queue.next_to_run()) is not None:
            max_cost = self._pace.max_cost(lane.name, self._now_s())
            batch = lane.form(max_cost, self._max_items, is_padded=self._is_padded)
            if batch.is_again:
                batch.items = self._subscriptions.wanted(batch.items)
            if batch.items:
                return batch
        return None

    async def _run(self, batch: Batch) -> None:
        """Afterwards the batch's items are answered, have failed or wait in smaller batches."""
        forward = Forward(batch, self._now_s, is_padded=self._is_padded)
        again: list[Batch] = []
        self._forwards.append(forward)
        try:
            again = self._answer(forward, await forward.run(self._runner, self._dimensions))
        except Abandoned:
            forward.outcome = "cancelled"
            again = [Batch(batch.items, batch.lane, is_again=True)]  # somebody may have joined meanwhile
        except OutOfMemory as error:
            forward.outcome = "oom"
            again = await self._recovery.make_room(forward, error)
        except TurboError as error:
            if self._is_crash(error):
                forward.outcome = "lost"
                self._lose(error, is_crash=True)
            else:
                again = self._recovery.isolate(batch, error)
        finally:
            self._forwards.remove(forward)
        batch.lane.again.extendleft(reversed(again))
        self._has_tokens.set()
        self._queue.charge(batch.lane, forward.taken_s)
        self._on_batch(forward.record())

    def _answer(self, forward: Forward, outputs: Outputs) -> list[Batch]:
        """Returns the batches that must run again, because their rows hold NaN or infinity."""
        batch, items = forward.batch, forward.batch.items
        forward.outcome = "ok"
        bad = doubtful_rows(outputs)
        forward.n_not_finite = len(bad)
        again = self._recovery.doubt(batch, [items[row] for row in sorted(bad)])
        self._subscriptions.fill(items, outputs, bad, forward.taken_s)
        if not batch.is_precise:
            self._pace.ran(batch.lane.name, forward.cost, forward.taken_s)
        return again

    def _is_crash(self, error: TurboError) -> bool:
        return isinstance(error, RunnerCrashed) or not self._runner.is_alive
