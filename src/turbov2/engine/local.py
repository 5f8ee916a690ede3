"""LocalEngine: this process's models."""

from __future__ import annotations

import asyncio
import datetime as dt
import math
import threading
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.held import HeldModel, hold
from turbov2.engine.shelf import open_shelf, weights_key
from turbov2.engine.vectors import finish
from turbov2.errors import InvalidRequest, NotCapable
from turbov2.residency import Lease, Residency, Resident, State
from turbov2.residency.memory import default_budget_bytes
from turbov2.settings import Settings
from turbov2.types import (
    Context,
    EmbedBatch,
    EmbedRequest,
    EmbedResult,
    Loaded,
    ModelStatus,
    PullProgress,
    ResidentStatus,
)
from turbov2.types.embed import Inputs

_PULL_STOP_S = 5.0  # a cancelled pull ends at its next chunk


class LocalEngine:
    """Does the work on this machine."""

    def __init__(self, catalog: Catalog, settings: Settings) -> None:
        self._settings = settings
        self._shelf = open_shelf(settings, catalog)
        self._residency: Residency[HeldModel] = Residency(
            self._load,
            settings.host_budget_bytes or default_budget_bytes(),
            settings.keep_alive_s,
            settings.load_timeout_s,
        )
        self._keys = {spec.name: weights_key(spec) for spec in catalog}
        self._is_ready = False

    async def start(self) -> None:
        """Returns when the models to preload are resident and pinned."""
        for name in self._settings.preload:
            spec = self._shelf.catalog.resolve(name)
            async with self._lease(spec, None):
                self._residency.pin(self._keys[spec.name])
        self._is_ready = True

    async def stop(self) -> None:
        """Afterwards nothing is loaded."""
        self._is_ready = False
        await self._residency.close()

    def is_ready(self) -> bool:
        """Returns True between the end of `start` and the begin of `stop` or of a drain."""
        return self._is_ready

    def begin_drain(self) -> None:
        """Afterwards `is_ready` is False; requests are still answered."""
        self._is_ready = False

    async def embed(self, request: EmbedRequest, context: Context) -> EmbedResult:
        """Returns vectors in input order; see Engine."""
        started_ns = time.perf_counter_ns()
        spec = self._shelf.catalog.resolve(request.model)
        _check_embeds(spec)
        batch = EmbedBatch(_with_prompt(spec, request), request.truncate)
        async with self._lease(spec, request.keep_alive_s) as held:
            load_ns = time.perf_counter_ns() - started_ns
            _check_dimensions(spec, held.loaded, request)
            output = await held.batcher.embed(batch)
        vectors = finish(output.vectors, request.dimensions, request.normalize, spec.name)
        truncated = tuple(output.truncated.nonzero()[0].tolist()) if output.truncated.any() else ()
        total_ns = time.perf_counter_ns() - started_ns
        return EmbedResult(spec.name, vectors, int(output.n_tokens.sum()), truncated, load_ns, total_ns)

    async def load(self, name: str, keep_alive_s: float | None, context: Context) -> int:
        """Returns the nanoseconds until the model was ready."""
        started_ns = time.perf_counter_ns()
        async with self._lease(self._shelf.catalog.resolve(name), keep_alive_s):
            return time.perf_counter_ns() - started_ns

    async def unload(self, name: str) -> bool:
        """Returns whether the model was loaded."""
        return await self._residency.unload(self._keys[self._shelf.catalog.resolve(name).name])

    async def models(self) -> Sequence[ModelStatus]:
        """Returns every catalogued model, in catalogue order."""
        ready = self._ready()
        # Looking for two dozen models' files takes a few milliseconds, which no other request should feel.
        statuses = await asyncio.to_thread(lambda: [self._shelf.status(spec) for spec in self._shelf.catalog])
        return [_as_loaded(status, ready.get(self._keys[status.name])) for status in statuses]

    def model(self, name: str) -> ModelStatus:
        """Returns one model. Raises: ModelNotFound."""
        return self._status(self._shelf.catalog.resolve(name))

    def residents(self) -> Sequence[ResidentStatus]:
        """Returns what is in memory, latest expiry first."""
        ordered = sorted(self._residency.residents(), key=lambda r: r.expires_s, reverse=True)
        return [self._resident_status(resident) for resident in ordered]

    async def pull(self, name: str) -> AsyncIterator[PullProgress]:
        """Yields the steps of a pull. Leaving the loop early cancels it; a later pull resumes."""
        spec = self._shelf.catalog.resolve(name)
        steps: asyncio.Queue[PullProgress | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()

        def report(step: PullProgress | None) -> None:
            loop.call_soon_threadsafe(steps.put_nowait, step)

        def work() -> None:
            try:
                self._shelf.pull(spec, report, cancelled)
            finally:
                report(None)

        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            while (step := await steps.get()) is not None:
                yield step
            await task
        finally:
            cancelled.set()
            await asyncio.wait({task}, timeout=_PULL_STOP_S)

    async def delete(self, name: str) -> bool:
        """Returns whether there were weights to remove."""
        spec = self._shelf.catalog.resolve(name)
        was_here = await asyncio.to_thread(self._shelf.delete, spec)  # first: it may refuse
        await self._residency.unload(self._keys[spec.name])
        return was_here

    def budget_bytes(self) -> tuple[int, int]:
        """Returns (committed, allowed) bytes of host memory."""
        return self._residency.committed_bytes(), self._residency.budget_bytes

    def _lease(self, spec: ModelSpec, keep_alive_s: float | None) -> Lease[HeldModel]:
        return self._residency.lease(self._keys[spec.name], spec, keep_alive_s)

    async def _load(self, spec: ModelSpec) -> HeldModel:
        load_spec = await asyncio.to_thread(self._shelf.load_spec, spec)
        return await hold(spec, load_spec, self._settings.max_queue)

    def _ready(self) -> dict[str, Loaded]:
        residents = self._residency.residents()
        return {r.key: r.held.loaded for r in residents if r.state is State.READY and r.held is not None}

    def _status(self, spec: ModelSpec) -> ModelStatus:
        return _as_loaded(self._shelf.status(spec), self._ready().get(self._keys[spec.name]))

    def _resident_status(self, resident: Resident[HeldModel]) -> ResidentStatus:
        now_s, now = asyncio.get_running_loop().time(), dt.datetime.now(dt.UTC)
        stays = math.isinf(resident.expires_s)
        return ResidentStatus(
            model=self._status(resident.spec),
            state=str(resident.state),
            leases=resident.leases,
            host_bytes=resident.need_bytes,
            device_bytes=0,
            loaded_at=resident.loaded_at,
            last_used_at=now - dt.timedelta(seconds=now_s - resident.last_used_s),
            expires_at=None if stays else now + dt.timedelta(seconds=resident.expires_s - now_s),
            load_s=resident.load_s,
        )


def _as_loaded(status: ModelStatus, loaded: Loaded | None) -> ModelStatus:
    """Returns the status with what the loaded files say in place of what the catalogue expects."""
    if loaded is None:
        return status
    return msgspec.structs.replace(
        status,
        availability="ready",
        dtype=loaded.dtype,
        dimensions=loaded.dimensions,
        max_tokens=loaded.max_tokens,
        pooling=loaded.pooling,
    )


def _check_embeds(spec: ModelSpec) -> None:
    if spec.capability != "embed":
        raise NotCapable(f"model '{spec.name}' does not embed, it is for: {spec.capability}", param="model")


def _check_dimensions(spec: ModelSpec, loaded: Loaded, request: EmbedRequest) -> None:
    wanted, full = request.dimensions, loaded.dimensions
    if wanted is None:
        return
    if wanted < 1:
        raise InvalidRequest(f"dimensions is {wanted}, expected at least 1", param="dimensions")
    if not request.must_be_matryoshka or full is None or wanted == full:
        return
    if wanted > full:
        raise InvalidRequest(
            f"dimensions is {wanted}, but model '{spec.name}' has {full}", param="dimensions"
        )
    if not spec.matryoshka:
        raise InvalidRequest(
            f"model '{spec.name}' was not trained for fewer dimensions than {full}; leave `dimensions` out",
            param="dimensions",
        )


def _with_prompt(spec: ModelSpec, request: EmbedRequest) -> Inputs:
    prompt = spec.query_prompt if request.input_type == "query" else spec.document_prompt
    if not prompt:
        return request.inputs
    if any(not isinstance(text, str) for text in request.inputs):
        raise InvalidRequest(
            f"model '{spec.name}' puts a prompt before each {request.input_type}: send texts, not token ids",
            param="input",
        )
    return [prompt + text for text in request.inputs]  # type: ignore[operator]
