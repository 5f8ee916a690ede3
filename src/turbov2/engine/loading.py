"""From a catalogue entry to a loaded model: what residency loads with."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from msgspec.structs import replace

from turbov2.batching import (
    SAMPLE,
    Batcher,
    BatchLimits,
    BatchRecord,
    Calls,
    Slices,
    VectorCache,
    learn_limits,
)
from turbov2.catalog import ModelSpec
from turbov2.cores import n_cores
from turbov2.engine.golden import check_golden
from turbov2.engine.held import HeldModel
from turbov2.engine.placement import Placement
from turbov2.engine.shelf import Shelf, key_variable, weights_key
from turbov2.engine.sizes import estimate_bytes
from turbov2.engine.texts import Texts
from turbov2.residency import Memory, Residency
from turbov2.runners.inline import InlineRunner
from turbov2.runners.process import ProcessRunner
from turbov2.runners.protocol import Runner
from turbov2.runners.thread import ThreadRunner
from turbov2.settings import read_secret
from turbov2.types import Loaded, LoadSpec

if TYPE_CHECKING:
    from turbov2.obs.meters import Meters

SLICE_S = 0.120  # the longest that somebody may have to wait for a forward of others; 60 ms on a GPU
SLICE_CUDA_S = 0.060
_INLINE_THREADS = 2


class Loader:
    """Implements residency's Models on this machine's shelf. `residency` is set once it exists."""

    residency: Residency[HeldModel]

    def __init__(
        self, shelf: Shelf, memory: Memory, meters: Meters, cache_bytes: int, placement: Placement
    ) -> None:
        self._shelf = shelf
        self._placement = placement
        self._memory = memory
        self._meters = meters
        self._cache_bytes = cache_bytes
        # Models inside our own process are measured by its growth, so only one may grow at a time.
        self._growing = asyncio.Lock()

    async def size(self, spec: ModelSpec) -> dict[str, int]:
        """Returns the bytes it is expected to take, its weights fetched if they were not here."""
        load_spec = await asyncio.to_thread(self._load_spec, spec)
        return await asyncio.to_thread(estimate_bytes, spec, load_spec, self._placement.device_bytes)

    def estimate(self, spec: ModelSpec) -> dict[str, int]:
        """Returns the same, fetching nothing: of weights that are not here, the catalogue's figure."""
        load_spec = self._shelf.peek(spec)
        if load_spec is None:
            return {"host": spec.host_bytes}
        load_spec = replace(load_spec, device=self._placement.device_of(spec))
        return estimate_bytes(spec, load_spec, self._placement.device_bytes)

    async def load(self, spec: ModelSpec) -> HeldModel:
        """Returns the model, loaded in the kind of runner its catalogue entry names, its limits learnt."""
        load_spec = await asyncio.to_thread(self._load_spec, spec)
        runner, began_s = self._make_runner(spec), time.perf_counter()
        try:
            loaded, grown_bytes = await self._start(runner, spec, load_spec)
            if loaded.is_writer or loaded.image is not None or loaded.speech is not None:
                n_slots = n_cores() if loaded.image is not None and not loaded.is_writer else loaded.n_slots
                queue: Texts | Calls = Calls(runner, n_slots=n_slots, on_batch=self._on_batch(spec))
            else:
                await check_golden(runner, spec)
                queue = await self._make_texts(spec, runner, loaded, load_spec.device, began_s)
        except BaseException:
            await runner.stop(0)
            raise
        return HeldModel(spec, runner, loaded, queue, self._memory, grown_bytes)

    async def _make_texts(
        self, spec: ModelSpec, runner: Runner, loaded: Loaded, device: str, began_s: float
    ) -> Texts:
        limits = await learn_limits(
            runner,
            sample=[("", SAMPLE, "")] if "rerank" in loaded.capabilities else [SAMPLE],
            slice_s=SLICE_S if device == "cpu" else SLICE_CUDA_S,
            max_tokens=loaded.max_tokens,
        )
        batcher = self._make_batcher(spec, runner, loaded, limits, load_s=time.perf_counter() - began_s)
        return Texts(batcher, self._make_slices(spec, runner))

    def _load_spec(self, spec: ModelSpec) -> LoadSpec:
        """Returns what a runner needs, the device included. Blocks while weights are pulled."""
        device = self._placement.device_of(spec)
        return replace(self._shelf.load_spec(spec), device=device)

    async def _start(
        self, runner: Runner, spec: ModelSpec, load_spec: LoadSpec
    ) -> tuple[Loaded, dict[str, int]]:
        """Returns what was loaded, and what our own process grew by."""
        if spec.runner in ("process", "remote"):
            return await runner.start(load_spec), {}
        async with self._growing:
            before = await asyncio.to_thread(self._memory.process_bytes, os.getpid())
            loaded = await runner.start(load_spec)
            after = await asyncio.to_thread(self._memory.process_bytes, os.getpid())
        # Rows of a mapped table are read and widened as they are used: the estimate is what it may come to.
        estimate = await asyncio.to_thread(estimate_bytes, spec, load_spec)
        return loaded, {
            pool: max(n_bytes, after.get(pool, 0) - before.get(pool, 0)) for pool, n_bytes in estimate.items()
        }

    def _make_runner(self, spec: ModelSpec) -> Runner:
        if spec.runner == "inline":
            return InlineRunner(n_threads=_INLINE_THREADS)
        if spec.runner == "thread":
            return ThreadRunner(n_threads=n_cores())
        if spec.runner == "remote":
            return _remote_runner(spec)
        key = weights_key(spec)
        return ProcessRunner(
            environment=_child_environment(), on_exit=lambda reason: self.residency.died(key, reason)
        )

    def _make_batcher(
        self, spec: ModelSpec, runner: Runner, loaded: Loaded, limits: BatchLimits, load_s: float
    ) -> Batcher:
        key = weights_key(spec)
        assert loaded.dimensions is not None, "a model that embeds has dimensions. This is a bug."
        cache_bytes = max(self._cache_bytes, spec.vector_cache_bytes)

        async def relieve() -> None:
            await self.residency.relieve(key)

        return Batcher(
            runner,
            dimensions=loaded.dimensions,
            is_padded=loaded.is_padded,
            limits=limits,
            patience_s=load_s,
            cache=VectorCache(cache_bytes) if cache_bytes else None,
            relieve=relieve,
            on_batch=self._on_batch(spec),
        )

    def _make_slices(self, spec: ModelSpec, runner: Runner) -> Slices | None:
        if not isinstance(runner, InlineRunner):
            return None
        return Slices(runner, n_slots=_INLINE_THREADS, on_batch=self._on_batch(spec))

    def _on_batch(self, spec: ModelSpec) -> Callable[[BatchRecord], None]:
        return lambda record: self._meters.batches.ran(spec.name, record)


def _remote_runner(spec: ModelSpec) -> Runner:
    from turbov2.runners.remote import RemoteRunner  # only who has such models pays for an HTTP client

    key = read_secret(key_variable(spec)) or ""
    return RemoteRunner(key, sees=spec.capability == "vision")


def _child_environment() -> dict[str, str]:
    """Returns a child's environment: OpenMP threads within the cores, idle ones asleep; NVML's order."""
    return {
        "OMP_NUM_THREADS": str(n_cores()),
        "OMP_WAIT_POLICY": "PASSIVE",
        # Well below a millisecond, though: llama.cpp's threads meet many times a token, and wrote 27 tokens/s
        # when each meeting put them to sleep, 75 so.
        "GOMP_SPINCOUNT": "100000",
        # NumPy's own threads turn for a while after each product of matrices, of which ours are small.
        "OPENBLAS_NUM_THREADS": "1",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
        # Nothing is fetched while a model loads or runs: bitsandbytes would look for kernels.
        "HF_HUB_OFFLINE": "1",
    }
