"""A loaded model as the engine uses it: runner, queue and what it knows of itself."""

from __future__ import annotations

import os

from turbov2.batching import Batcher, DirectBatcher
from turbov2.catalog import ModelSpec
from turbov2.residency.memory import resident_bytes
from turbov2.runners.inline import InlineRunner
from turbov2.runners.process import ProcessRunner
from turbov2.runners.protocol import Runner
from turbov2.runners.thread import ThreadRunner
from turbov2.types import Loaded, LoadSpec


class HeldModel:
    """What residency holds and a lease gives."""

    def __init__(
        self, spec: ModelSpec, runner: Runner, loaded: Loaded, max_queue: int, grown_bytes: int
    ) -> None:
        self.spec = spec
        self.loaded = loaded
        self._runner = runner
        self._grown_bytes = grown_bytes
        batcher = DirectBatcher if spec.runner == "inline" else Batcher
        self.batcher: Batcher | DirectBatcher = batcher(runner.embed, max_queue)

    @property
    def is_alive(self) -> bool:
        """False once the runner is gone."""
        return self._runner.is_alive

    def host_bytes(self) -> int:
        """Returns the measured growth if there was one, never less than the catalogue's estimate."""
        return max(self._grown_bytes, self.spec.host_bytes)

    async def close(self, grace_s: float) -> None:
        """Afterwards the queue is empty and the weights are gone."""
        await self.batcher.close()
        await self._runner.stop(grace_s)


async def hold(spec: ModelSpec, load_spec: LoadSpec, max_queue: int) -> HeldModel:
    """Returns the model, loaded in the kind of runner its catalogue entry names."""
    runner = _make_runner(spec)
    before_bytes = 0 if spec.runner == "process" else resident_bytes(runner.pid)
    try:
        loaded = await runner.start(load_spec)
    except BaseException:
        await runner.stop(0)
        raise
    grown_bytes = max(resident_bytes(runner.pid) - before_bytes, 0)
    return HeldModel(spec, runner, loaded, max_queue, grown_bytes)


def _make_runner(spec: ModelSpec) -> Runner:
    if spec.runner == "inline":
        return InlineRunner(n_threads=2)
    if spec.runner == "thread":
        return ThreadRunner()
    return ProcessRunner(environment=_thread_plan())


def _thread_plan() -> dict[str, str]:
    """Returns the environment that keeps a child's OpenMP threads to the cores, and idle ones asleep."""
    n_cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return {"OMP_NUM_THREADS": str(n_cores), "OMP_WAIT_POLICY": "PASSIVE"}
