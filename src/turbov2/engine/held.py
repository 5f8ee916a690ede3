"""A loaded model as the engine uses it: runner, queue and what it knows of itself."""

from __future__ import annotations

import asyncio

from turbov2.batching import Calls
from turbov2.catalog import ModelSpec
from turbov2.engine.texts import Texts
from turbov2.errors import RunnerCrashed
from turbov2.residency import Memory
from turbov2.runners.protocol import Runner
from turbov2.types import Loaded


class HeldModel:
    """What residency holds and a lease gives.

    queue: what waits for it: texts, or calls, each for itself.
    grown_bytes: by pool, what our own process grew by while a model inside it was loaded; for a model in
    a process of its own there is no need to know, because that process is measured.
    """

    def __init__(
        self,
        spec: ModelSpec,
        runner: Runner,
        loaded: Loaded,
        queue: Texts | Calls,
        memory: Memory,
        grown_bytes: dict[str, int],
    ) -> None:
        self.spec = spec
        self.loaded = loaded
        self.queue = queue
        self._runner = runner
        self._memory = memory
        self._grown_bytes = grown_bytes

    @property
    def texts(self) -> Texts:
        """The queue of a model that embeds or ranks."""
        assert isinstance(self.queue, Texts), "what a model is for was checked. This is a bug."
        return self.queue

    @property
    def calls(self) -> Calls:
        """The queue of a model that looks at images, writes or listens."""
        assert isinstance(self.queue, Calls), "what a model is for was checked. This is a bug."
        return self.queue

    @property
    def is_alive(self) -> bool:
        """False once the runner is gone, or its queue has given up on it."""
        return self._runner.is_alive and self.queue.is_open

    @property
    def was_abandoned(self) -> bool:
        """True once its runner was ended because nobody waited for what it computed."""
        return self._runner.was_abandoned

    @property
    def pid(self) -> int:
        """Process that holds the weights: ours, or the child's."""
        return self._runner.pid

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
        await self.queue.close(self._cause_of_end())
        await self._runner.stop(grace_s)
