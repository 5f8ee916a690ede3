"""Batcher: the loop that turns waiting requests into batches for one runner."""

from __future__ import annotations

import asyncio
import copy
import itertools
import logging
from collections.abc import Awaitable, Callable, Sequence

from turbov2.batching.queue import Item, Queue, ended
from turbov2.errors import InferenceFailed, RunnerCrashed, TurboError
from turbov2.types import EmbedBatch, EmbedOutput

logger = logging.getLogger(__name__)
# Padded characters of one batch: about 16k tokens, a common default of peers (TEI: --max-batch-tokens 16384).
MAX_BATCH_CHARS = 65_536


class Batcher:
    """Runs one batch at a time, at once when idle; while it runs, arrivals gather for the next."""

    def __init__(self, run: Callable[[EmbedBatch], Awaitable[EmbedOutput]], max_waiting: int) -> None:
        self._run = run
        self._queue = Queue(max_waiting)
        self._running: Sequence[Item] = ()
        self._task = asyncio.create_task(self._loop(), name="turbov2-batcher")

    @property
    def n_waiting(self) -> int:
        """Requests that wait and do not run yet."""
        return len(self._queue)

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the runner's output for this request alone.

        Cancelling the caller takes its inputs out of the queue; a batch that runs already runs on.
        Raises: QueueFull, RunnerCrashed after `close`, and what the runner raises.
        """
        item = self._queue.admit(batch)
        try:
            return await item.done
        except asyncio.CancelledError:
            self._queue.forget(item)
            if not item.done.cancelled():  # it failed in the same moment, and asyncio wants that seen
                item.done.exception()
            raise

    async def close(self) -> None:
        """Afterwards the loop has ended and every request that was not answered has failed."""
        self._task.cancel()
        for item in (*self._running, *self._queue.close()):
            _fail(item, ended())
        await asyncio.wait((self._task,))

    async def _loop(self) -> None:
        while True:
            self._running = items = await self._queue.take(MAX_BATCH_CHARS)
            try:
                await self._run_items(items)
            except RunnerCrashed as error:
                _fail_all(items, error)
            except Exception:  # outer edge of the loop: a defect must not stop the queue
                logger.exception("a batch failed")
                _fail_all(items, InferenceFailed("a batch failed; the server's log says why"))
            self._running = ()

    async def _run_items(self, items: Sequence[Item]) -> None:
        """Answers each item. Raises: RunnerCrashed for those not answered yet, as none of them can run."""
        try:
            output = await self._run(_merge(items))
        except RunnerCrashed:
            raise
        except TurboError as error:
            if len(items) == 1:
                _fail(items[0], error)
                return
            # One bad request must not fail its neighbours: each runs again on its own.
            for item in items:
                if not item.done.done():
                    await self._run_items([item])
            return
        _share_out(items, output)


def _merge(items: Sequence[Item]) -> EmbedBatch:
    if len(items) == 1:
        return items[0].batch
    inputs = [entry for item in items for entry in item.batch.inputs]
    return EmbedBatch(inputs, items[0].batch.truncate)  # type: ignore[arg-type]


def _share_out(items: Sequence[Item], output: EmbedOutput) -> None:
    bounds = [0, *itertools.accumulate(len(item.batch.inputs) for item in items)]
    n_rows = len(output.vectors)
    if n_rows != bounds[-1]:  # else a caller would get another one's vectors
        raise ValueError(f"the runner gave {n_rows} vectors for {bounds[-1]} inputs. This is a bug.")
    for item, start, end in zip(items, bounds[:-1], bounds[1:], strict=True):
        if not item.done.done():
            part = output
            if len(items) > 1:
                part = EmbedOutput(
                    output.vectors[start:end], output.n_tokens[start:end], output.truncated[start:end]
                )
            item.done.set_result(part)


def _fail(item: Item, error: TurboError) -> None:
    if not item.done.done():
        item.done.set_exception(error)


def _fail_all(items: Sequence[Item], error: TurboError) -> None:
    """Fails each with a copy of its own: one exception raised in many tasks would gather all their frames."""
    for item in items:
        _fail(item, copy.copy(error))
