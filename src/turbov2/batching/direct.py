"""DirectBatcher: no queue, for runners that answer within the loop's own step."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from turbov2.errors import QueueFull
from turbov2.types import EmbedBatch, EmbedOutput


class DirectBatcher:
    """Hands each request to the runner at once; refuses beyond `max_waiting` at a time."""

    def __init__(self, run: Callable[[EmbedBatch], Awaitable[EmbedOutput]], max_waiting: int) -> None:
        self._run = run
        self._max_waiting = max_waiting
        self._n_running = 0

    @property
    def n_waiting(self) -> int:
        return self._n_running

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the runner's output. Raises: QueueFull, and what the runner raises."""
        if self._n_running >= self._max_waiting:
            raise QueueFull(
                f"{self._n_running} requests already use this model, the limit is {self._max_waiting}",
                retry_after_s=1,
            )
        self._n_running += 1
        try:
            return await self._run(batch)
        finally:
            self._n_running -= 1

    async def close(self) -> None:
        """Nothing waits here."""
