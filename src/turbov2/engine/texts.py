"""Texts: the queue of a loaded model that embeds or ranks."""

from __future__ import annotations

from turbov2.batching import Batcher, Job, JobResult, Slices
from turbov2.errors import RunnerCrashed
from turbov2.types import DENSE


class Texts:
    """A batcher and, for a model in the event loop, slices: the batcher gets only what failed there."""

    def __init__(self, batcher: Batcher, slices: Slices | None) -> None:
        self._batcher = batcher
        self._slices = slices

    @property
    def is_open(self) -> bool:
        """False once the queue has given up on its runner, or `close` began."""
        return self._batcher.is_open

    @property
    def n_queued_items(self) -> int:
        """Inputs that wait for a forward."""
        return self._batcher.n_queued_items + (self._slices.n_queued_items if self._slices else 0)

    @property
    def n_queued_tokens(self) -> int:
        """Their tokens, as far as they are counted."""
        return self._batcher.n_ready_tokens

    def embed_at_once(self, job: Job) -> JobResult | None:
        """Returns the vectors of a small job for a model in the event loop, None for any other.

        Raises: what an item that is too long raises, unless partial results are wanted.
        """
        return self._slices.embed_at_once(job) if self._slices and job.task is DENSE else None

    async def embed(self, job: Job) -> JobResult:
        """Returns the job's vectors, computed when its turn comes.

        Raises: what a failed item raised, unless partial results are wanted; RunnerLost.
        """
        result = await self._slices.embed(job) if self._slices and job.task is DENSE else None
        # What failed runs again item by item, to find out whose fault it was and to answer the others.
        return result if result is not None else await self._batcher.embed(job)

    async def close(self, cause: RunnerCrashed | None = None) -> None:
        """Afterwards the queue is empty; all that waited failed with RunnerLost, for this cause."""
        if self._slices is not None:
            self._slices.close()
        await self._batcher.close(cause)
