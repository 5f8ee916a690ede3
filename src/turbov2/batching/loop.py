"""Batcher: the loop that turns waiting requests into batches for one runner."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import numpy as np

from turbov2.batching.queue import Item, Queue
from turbov2.errors import InferenceFailed, RunnerCrashed, TurboError
from turbov2.types import EmbedBatch, EmbedOutput

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
        return len(self._queue)

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the runner's output for this request alone. Raises: QueueFull, and what the runner raises.

        Cancelling the caller takes its inputs out of the queue.
        """
        return await self._queue.admit(batch).done

    async def close(self) -> None:
        """Afterwards the loop has ended and every request that waited has failed."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        for item in (*self._running, *self._queue.close()):
            _fail(item, RunnerCrashed("the model was unloaded before this request ran; send it again"))

    async def _loop(self) -> None:
        while True:
            self._running = await self._queue.take(MAX_BATCH_CHARS)
            try:
                await self._run_items(self._running)
            except Exception as error:  # outer edge of the loop: a defect must not stop the queue
                for item in self._running:
                    _fail(item, error if isinstance(error, TurboError) else InferenceFailed("a batch failed"))
            self._running = ()

    async def _run_items(self, items: Sequence[Item]) -> None:
        inputs = [entry for item in items for entry in item.batch.inputs]
        try:
            output = await self._run(EmbedBatch(inputs, items[0].batch.truncate))  # type: ignore[arg-type]
        except RunnerCrashed:
            raise
        except TurboError as error:
            if len(items) == 1:
                _fail(items[0], error)
                return
            # One bad request must not fail its neighbours: each runs again on its own.
            for item in items:
                await self._run_items([item])
            return
        _share_out(items, output)


def _share_out(items: Sequence[Item], output: EmbedOutput) -> None:
    bounds = np.cumsum([0, *(len(item.batch.inputs) for item in items)])
    for item, start, end in zip(items, bounds[:-1], bounds[1:], strict=True):
        if not item.done.done():
            item.done.set_result(
                EmbedOutput(
                    output.vectors[start:end], output.n_tokens[start:end], output.truncated[start:end]
                )
            )


def _fail(item: Item, error: TurboError) -> None:
    if not item.done.done():
        item.done.set_exception(error)
