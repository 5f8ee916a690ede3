"""LocalEngine: this process's models."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence

from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine import reports
from turbov2.engine.chatting import Chatting
from turbov2.engine.classifying import Classifying
from turbov2.engine.documents import Documents, ModelEyes
from turbov2.engine.embedding import Embedding
from turbov2.engine.gates import Gates
from turbov2.engine.held import HeldModel
from turbov2.engine.loading import Loader
from turbov2.engine.pictures import Pictures
from turbov2.engine.placement import Placement
from turbov2.engine.prompt_images import PromptImages
from turbov2.engine.reading import Reading
from turbov2.engine.reranking import Reranking
from turbov2.engine.running import Running
from turbov2.engine.shelf import open_shelf, weights_key
from turbov2.engine.transcripts import Live, Transcribing
from turbov2.media import Decoder, MediaLimits, OpenFile
from turbov2.obs.ledger import Ledger
from turbov2.obs.meters import Meters
from turbov2.obs.tracing import Tracer
from turbov2.residency import Footprints, Lease, MachineMemory, Residency, Resident, State
from turbov2.settings import Settings
from turbov2.spools import SPOOL_FOLDER, Spools
from turbov2.types import (
    ChatEvent,
    ChatRequest,
    ClassifyRequest,
    ClassifyResult,
    Context,
    DocumentRequest,
    EmbedRequest,
    EmbedResult,
    LiveEvent,
    LiveInput,
    LiveRequest,
    Loaded,
    MemoryEvent,
    MemoryPlan,
    ModelStatus,
    PageResult,
    PoolStatus,
    PullProgress,
    ReadRequest,
    ReadResult,
    RerankRequest,
    RerankResult,
    ResidentStatus,
    TranscribeEvent,
    TranscribeRequest,
)

_PULL_STOP_S = 5.0  # a cancelled pull ends at its next chunk
_FOOTPRINTS = "footprints.json"


class LocalEngine:
    """Does the work on this machine.

    `meters` and `tracer` are told of it; without, nobody reads what is counted and nothing is traced.
    """

    def __init__(
        self,
        catalog: Catalog,
        settings: Settings,
        meters: Meters | None = None,
        tracer: Tracer | None = None,
    ) -> None:
        meters = meters or Meters()
        self._settings = settings
        self._shelf = open_shelf(settings, catalog)
        self._keys = {spec.name: weights_key(spec) for spec in catalog}
        self._gates = Gates(settings)
        memory = MachineMemory(settings.host_budget_bytes, settings.vram_budget_bytes)
        placement = Placement(settings.device, memory.budgets(), memory.device_bytes())
        self._loader = Loader(self._shelf, memory, meters, settings.vector_cache_bytes, placement)
        self._residency: Residency[HeldModel] = Residency(
            self._loader,
            memory,
            keep_alive_s=settings.keep_alive_s,
            load_timeout_s=settings.load_timeout_s,
            footprints=Footprints(settings.home_path / _FOOTPRINTS),
            on_event=meters.models.memory_event,
        )
        self._loader.residency = self._residency
        running = Running(catalog, self._gates, self._residency)
        ledger = Ledger(meters.requests, tracer)
        self._embedding = Embedding(catalog, running, meters, ledger)
        self._reranking = Reranking(catalog, running, meters, ledger)
        decoder = _make_decoder(settings)
        self._pictures = Pictures(decoder)
        self._classifying = Classifying(catalog, running, self._pictures, ledger)
        self._reading = Reading(catalog, running, self._pictures, ledger)
        images = PromptImages(self._pictures, settings.max_images, settings.media_max_pixels)
        self._chatting = Chatting(catalog, running, self._pictures, images, ledger)
        eyes = ModelEyes(self._shelf, self._classifying, self._reading, self._chatting)
        self._documents = Documents(decoder, eyes, self._embedding)
        self._transcribing = Transcribing(self._shelf, running, decoder, ledger)
        self._live = Live(self._shelf, running, ledger, settings.audio_max_duration_s)
        self._is_started = False
        self._is_draining = asyncio.Event()

    async def start(self) -> None:
        """Returns when the models to preload are resident and pinned."""
        for name in self._settings.pin:
            self._residency.pin(self._keys[self._shelf.catalog.resolve(name).name])
        for name in self._settings.preload:
            spec = self._shelf.catalog.resolve(name)
            async with self._lease(spec, None):
                self._residency.pin(self._keys[spec.name])
        self._is_started = True

    async def stop(self) -> None:
        """Afterwards nothing is loaded."""
        self._is_started = False
        await self._pictures.close()
        await self._residency.close()

    def is_ready(self) -> bool:
        """Returns whether traffic is welcome: started, not draining, and no pinned model has failed."""
        return self._is_started and self._residency.is_well()

    def begin_drain(self) -> None:
        """Afterwards `is_ready` is False; requests are still answered, but sessions of live speech end."""
        self._is_started = False
        self._is_draining.set()
        self._live.stop()

    async def embed(self, request: EmbedRequest, context: Context) -> EmbedResult:
        """Returns vectors in input order; see Engine."""
        return await self._embedding(request, context)

    async def rerank(self, request: RerankRequest, context: Context) -> RerankResult:
        """Returns scores in the documents' order; see Engine."""
        return await self._reranking(request, context)

    async def classify(self, request: ClassifyRequest, context: Context) -> ClassifyResult:
        """Returns how complex a page is; see Engine."""
        return await self._classifying(request, context)

    async def read(self, request: ReadRequest, context: Context) -> ReadResult:
        """Returns the lines of a page; see Engine."""
        return await self._reading(request, context)

    def read_pages(
        self, request: ReadRequest, pages: str, context: Context
    ) -> AsyncGenerator[ReadResult, None]:
        """Yields the lines of several pages; see Engine."""
        return self._reading.pages(request, pages, context)

    def documents(self, request: DocumentRequest, context: Context) -> AsyncGenerator[PageResult, None]:
        """Yields a file's pages as they are read; see Engine."""
        return self._documents(request, context)

    async def check_documents(self, request: DocumentRequest) -> None:
        """Raises: what is wrong with all pages; see Engine."""
        await self._documents.check(request)

    def chat(self, request: ChatRequest, context: Context) -> AsyncGenerator[ChatEvent, None]:
        """Yields the answer as it is written; see Engine."""
        return self._chatting(request, context)

    async def count_tokens(self, request: ChatRequest, context: Context) -> int:
        """Returns how many tokens a conversation has; see Engine."""
        return await self._chatting.count(request, context)

    def transcribe(
        self, request: TranscribeRequest, file: OpenFile, context: Context
    ) -> AsyncGenerator[TranscribeEvent, None]:
        """Yields what is heard in a file; see Engine."""
        return self._transcribing(request, file, context)

    def live(
        self, request: LiveRequest, inputs: AsyncIterator[LiveInput], context: Context
    ) -> AsyncGenerator[LiveEvent, None]:
        """Yields what is heard while somebody speaks; see Engine."""
        return self._live(request, inputs, context)

    async def stopping(self) -> None:
        """Returns once the engine drains."""
        await self._is_draining.wait()

    async def check_transcribe(self, request: TranscribeRequest) -> None:
        """Raises: what is wrong with the model; see Engine."""
        await self._transcribing.check(request)

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
        statuses = await asyncio.to_thread(
            lambda: [self._shelf.described(spec) for spec in self._shelf.catalog]
        )
        return [reports.as_loaded(status, ready.get(self._keys[status.name])) for status in statuses]

    def model(self, name: str) -> ModelStatus:
        """Returns one model. Raises: ModelNotFound."""
        return self._status(self._shelf.catalog.resolve(name))

    async def describe(self, name: str) -> ModelStatus:
        """Returns one model, with what its files say; see Engine."""
        spec = self._shelf.catalog.resolve(name)
        ready = self._ready()
        return reports.as_loaded(
            await asyncio.to_thread(self._shelf.described, spec), ready.get(self._keys[spec.name])
        )

    def residents(self) -> Sequence[ResidentStatus]:
        """Returns what is in memory, latest expiry first."""
        ordered = sorted(self._residency.residents(), key=lambda r: r.expires_s, reverse=True)
        return [self._resident(each) for each in ordered]

    def pools(self) -> Sequence[PoolStatus]:
        """Returns the memory pools, host first."""
        return self._residency.pools()

    def events(self) -> Sequence[MemoryEvent]:
        """Returns what lately happened to models in memory, newest last."""
        return self._residency.events()

    async def explain(self, name: str) -> MemoryPlan:
        """Returns what loading the model would take now."""
        spec = self._shelf.catalog.resolve(name)
        estimate = await asyncio.to_thread(self._loader.estimate, spec)
        plan = self._residency.explain(self._keys[spec.name], spec, estimate)
        return reports.with_obstacle(plan, await asyncio.to_thread(self._shelf.status, spec))

    async def pull(self, name: str, *, accept_license: bool) -> AsyncIterator[PullProgress]:
        """Yields the steps of a pull. Leaving the loop early cancels it; a later pull resumes."""
        spec = self._shelf.catalog.resolve(name)
        steps: asyncio.Queue[PullProgress | None] = asyncio.Queue()
        loop = asyncio.get_running_loop()
        cancelled = threading.Event()

        def report(step: PullProgress | None) -> None:
            loop.call_soon_threadsafe(steps.put_nowait, step)

        def work() -> None:
            try:
                self._shelf.pull(spec, report, cancelled, accept_license=accept_license)
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

    def _lease(self, spec: ModelSpec, keep_alive_s: float | None) -> Lease[HeldModel]:
        return self._residency.lease(self._keys[spec.name], spec, keep_alive_s)

    def _ready(self) -> dict[str, Loaded]:
        residents = self._residency.residents()
        return {r.key: r.held.loaded for r in residents if r.state is State.READY and r.held is not None}

    def _status(self, spec: ModelSpec) -> ModelStatus:
        return reports.as_loaded(self._shelf.status(spec), self._ready().get(self._keys[spec.name]))

    def _resident(self, resident: Resident[HeldModel]) -> ResidentStatus:
        key = self._keys[resident.spec.name]
        names = [name for name, each in self._keys.items() if each == key]
        admitted_chars = sum(self._gates.of(name).n_bytes for name in names)
        return reports.resident_status(resident, self._status(resident.spec), admitted_chars, names)


def _make_decoder(settings: Settings) -> Decoder:
    limits = MediaLimits(
        max_bytes=settings.max_body_bytes,
        max_pixels=settings.media_max_pixels,
        max_pages=settings.media_max_pages,
        timeout_s=settings.media_timeout_s,
        max_audio_bytes=settings.audio_max_upload_bytes,
        max_audio_s=settings.audio_max_duration_s,
    )
    spools = Spools(settings.home_path / SPOOL_FOLDER, settings.audio_disk_bytes)
    return Decoder(limits, spools, n_children=settings.media_children)
