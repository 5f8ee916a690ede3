"""A loaded model as the engine uses it: runner, queue and what it knows of itself."""

from __future__ import annotations

import asyncio

from turbov2.batching import Batcher, Job, JobResult, Slices
from turbov2.catalog import ModelSpec
from turbov2.errors import RunnerCrashed
from turbov2.residency import Memory
from turbov2.runners.protocol import Runner
from turbov2.types import DENSE, Loaded


class HeldModel:
    """What residency holds and a lease gives.

    slices: the queue of a model in the event loop; its batcher gets only what failed there.
    grown_bytes: by pool, what our own process grew by while a model inside it was loaded; for a model in
    a process of its own there is no need to know, because that process is measured.
    """

    def __init__(
        self,
        spec: ModelSpec,
        runner: Runner,
        loaded: Loaded,
        batcher: Batcher,
        slices: Slices | None,
        memory: Memory,
        grown_bytes: dict[str, int],
    ) -> None:
        self.spec = spec
        self.loaded = loaded
        self._runner = runner
        self._batcher = batcher
        self._slices = slices
        self._memory = memory
        self._grown_bytes = grown_bytes

    @property
    def is_alive(self) -> bool:
        """False once the runner is gone, or its queue has given up on it."""
        return self._runner.is_alive and self._batcher.is_open

    @property
    def pid(self) -> int:
        """Process that holds the weights: ours, or the child's."""
        return self._runner.pid

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

    def _cause_of_end(self) -> RunnerCrashed | None:
        """Returns what those are told whose request a dead runner takes along; None for one that lives."""
        if not self._runner.end_reason:
            return None
        what = f"the process that ran model '{self.spec.name}' {self._runner.end_reason}"
        return RunnerCrashed(f"{what}; the next request starts it again", retry_after_s=1)

    async def measure(self) -> dict[str, int]:
        """Returns the bytes it takes now, by pool; nothing once it is closed and seen gone."""
        if self.spec.runner == "process":
            return await asyncio.to_thread(self._memory.process_bytes, self._runner.pid)
        return self._grown_bytes if self._runner.is_alive else {}

    async def close(self, grace_s: float) -> None:
        """Afterwards the queue is empty and the weights are gone."""
        if self._slices is not None:
            self._slices.close()
        await self._batcher.close(self._cause_of_end())
        await self._runner.stop(grace_s)
