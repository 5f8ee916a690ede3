"""DirectBatcher: no queue, for runners that answer within the loop's own step."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from turbov2.batching.queue import ended
from turbov2.errors import QueueFull
from turbov2.types import EmbedBatch, EmbedOutput


class DirectBatcher:
    """Hands each request to the runner at once; refuses beyond `max_waiting` at a time."""

    def __init__(self, run: Callable[[EmbedBatch], Awaitable[EmbedOutput]], max_waiting: int) -> None:
        self._run = run
        self._max_waiting = max_waiting
        self._n_running = 0
        self._is_closed = False

    @property
    def n_waiting(self) -> int:
        """Requests that are running: here nothing else waits."""
        return self._n_running

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the runner's output.

        Raises: QueueFull, RunnerCrashed after `close`, and what the runner raises.
        """
        if self._is_closed:
            raise ended()
        if self._n_running >= self._max_waiting:
            raise QueueFull(
                f"{self._n_running} requests already use this model, the limit is {self._max_waiting}",
                retry_after_s=1,
            )
        self._n_running += 1
        try:
            return await self._run(batch)
        except asyncio.CancelledError:
            if self._was_cut_off():
                raise ended() from None
            raise
        finally:
            self._n_running -= 1

    async def close(self) -> None:
        """Afterwards requests are refused; those that the runner then cuts off fail."""
        self._is_closed = True

    def _was_cut_off(self) -> bool:
        """Returns whether a thread pool that was shut down cancelled the call, and not the caller's task."""
        task = asyncio.current_task()
        return self._is_closed and task is not None and not task.cancelling()
