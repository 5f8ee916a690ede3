"""A loaded model as the engine uses it: runner, queue and what it knows of itself."""

from __future__ import annotations

import asyncio
import time

from turbov2.batching import Batcher, Job, JobResult, answer_at_once
from turbov2.catalog import ModelSpec
from turbov2.errors import InferenceFailed, OutOfMemory, RunnerCrashed
from turbov2.residency import Memory
from turbov2.runners.inline import InlineRunner
from turbov2.runners.protocol import Runner
from turbov2.types import Loaded


class HeldModel:
    """What residency holds and a lease gives.

    grown_bytes: by pool, what our own process grew by while a model inside it was loaded; for a model in
    a process of its own there is no need to know, because that process is measured.
    """

    def __init__(
        self,
        spec: ModelSpec,
        runner: Runner,
        loaded: Loaded,
        batcher: Batcher,
        memory: Memory,
        grown_bytes: dict[str, int],
    ) -> None:
        self.spec = spec
        self.loaded = loaded
        self._runner = runner
        self._inline = runner if isinstance(runner, InlineRunner) else None
        self._batcher = batcher
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
    def batcher(self) -> Batcher:
        """Its queue, to look at."""
        return self._batcher

    def embed_at_once(self, job: Job) -> JobResult | None:
        """Returns the vectors of a small job for a model in the event loop, None for any other.

        None too when it fails: the queue finds out whose input it was, and answers the others.
        Raises: what an item that is too long raises, unless partial results are wanted.
        """
        if self._inline is None:
            return None
        started_ns = time.perf_counter_ns()
        try:
            done = self._inline.embed_now(job.inputs)
        except (InferenceFailed, OutOfMemory):
            return None
        if done is None:
            return None
        taken_ns = time.perf_counter_ns() - started_ns
        self._batcher.served_at_once(job.lane, len(done[0].ids), taken_ns / 1e9)
        return answer_at_once(job, *done, taken_ns)

    async def embed(self, job: Job) -> JobResult:
        """Returns the job's vectors, computed when its turn comes.

        Raises: what a failed item raised, unless partial results are wanted; RunnerLost.
        """
        return await self._batcher.embed(job)

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
        await self._batcher.close(self._cause_of_end())
        await self._runner.stop(grace_s)
