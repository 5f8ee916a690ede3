"""Models that look at pages of an open document: the classifier, OCR, and one that describes what it sees."""

from __future__ import annotations

import time
from typing import NamedTuple, Protocol

import msgspec

from turbov2.batching import GenerateJob, LookJob, LookResult
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.checks import check_classifies, check_embeds, check_reads, check_sees
from turbov2.engine.pictures import READING_DPI, view_for
from turbov2.engine.running import Running
from turbov2.media import Decoder, Document, Image
from turbov2.obs.ledger import Ledger
from turbov2.types import (
    ClassifyTask,
    Complexity,
    Context,
    DocumentRequest,
    GenerateTask,
    ImagePart,
    ImageTask,
    Judgement,
    PromptMessage,
    ReadPage,
    ReadTask,
    Sampling,
    TextPart,
)


class Judged(NamedTuple):
    """What the classifier said, and the nanoseconds of getting the picture and of looking."""

    judgement: Judgement
    decode_ns: int
    classify_ns: int


class Described(NamedTuple):
    """What the VLM wrote; `is_cut`: it was not done when it had written as much as it may."""

    text: str
    is_cut: bool = False


class Eyes(Protocol):
    """What a pipeline wants of models that look."""

    def check(self, request: DocumentRequest) -> None:
        """Raises: ModelNotFound, NotCapable for a model that cannot do its part."""

    async def judge(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Judged:
        """Returns what the classifier says of the page."""

    async def picture(self, document: Document, index: int, request: DocumentRequest) -> Image:
        """Returns the page as the OCR model wants it."""

    async def read(self, picture: Image, request: DocumentRequest, context: Context) -> ReadPage:
        """Returns the lines of the page, in pixels of the picture."""

    async def describe(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Described:
        """Returns what the VLM writes about the page."""


_PROMPT = (
    "Write down everything on this page in reading order, as Markdown: text as it stands, tables as Markdown "
    "tables, and for each chart, diagram or picture a short description in brackets."
)
_DESCRIBE = GenerateTask(
    (PromptMessage("user", (ImagePart(0), TextPart(_PROMPT))),), Sampling(max_tokens=2048)
)


class _Answer(msgspec.Struct, frozen=True):
    """What the ledger wants to know of a look."""

    load_ns: int
    queue_ns: int
    inference_ns: int
    n_tokens: int = 0
    tokenize_ns: int = 0


class ModelEyes:
    """The eyes of one engine. Its models look at an open document, which classify and its like open anew."""

    def __init__(self, catalog: Catalog, running: Running, decoder: Decoder, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._decoder = decoder
        self._ledger = ledger

    def check(self, request: DocumentRequest) -> None:
        """Raises: ModelNotFound, NotCapable; see Eyes."""
        if request.classifier is not None:
            check_classifies(self._catalog.resolve(request.classifier))
        check_reads(self._catalog.resolve(request.ocr_model))
        if request.embed_model is not None:
            check_embeds(self._catalog.resolve(request.embed_model))
        if request.vlm is not None:
            check_sees(self._catalog.resolve(request.vlm))

    async def judge(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Judged:
        """Returns what the classifier says of the page; see Eyes."""
        assert request.classifier is not None, "a classifier was asked for. This is a bug."
        spec = self._catalog.resolve(request.classifier)
        need, loaded_ns = await self._running.image_need(spec, request.keep_alive_s)
        began_ns = time.perf_counter_ns()
        image = await self._decoder.render(document, index, view_for(need))
        decoded_ns = time.perf_counter_ns()
        found = await self._look(spec, image, ClassifyTask(), request, context, loaded_ns)
        seen = found.seen
        assert isinstance(seen, Complexity), "a classifier was asked. This is a bug."
        label = "HIGH" if seen.p_high >= seen.threshold else "LOW"
        judgement = Judgement(spec.name, label, seen.p_high, seen.threshold)  # type: ignore[arg-type]
        return Judged(judgement, decoded_ns - began_ns, time.perf_counter_ns() - decoded_ns)

    async def picture(self, document: Document, index: int, request: DocumentRequest) -> Image:
        """Returns the page as the OCR model wants it; see Eyes."""
        spec = self._catalog.resolve(request.ocr_model)
        need, _ = await self._running.image_need(spec, request.keep_alive_s)
        return await self._decoder.render(document, index, view_for(need, READING_DPI))

    async def read(self, picture: Image, request: DocumentRequest, context: Context) -> ReadPage:
        """Returns the lines of the page; see Eyes."""
        spec = self._catalog.resolve(request.ocr_model)
        seen = (await self._look(spec, picture, ReadTask(), request, context, 0)).seen
        assert isinstance(seen, ReadPage), "a reader was asked. This is a bug."
        return seen

    async def describe(
        self, document: Document, index: int, request: DocumentRequest, context: Context
    ) -> Described:
        """Returns what the VLM writes about the page; see Eyes."""
        assert request.vlm is not None, "a VLM was asked for. This is a bug."
        spec = self._catalog.resolve(request.vlm)
        lane, pieces = context.lane or "default", list[str]()
        with self._ledger.entry(spec.name, lane, 1, context, "generate_content") as entry:
            need, loaded_ns = await self._running.image_need(spec, request.keep_alive_s)
            image = await self._decoder.render(document, index, view_for(need, READING_DPI))
            job = GenerateJob(_DESCRIBE, (image.pixels,), pieces.append, lane, context.key_id)
            written, load_ns = await self._running.generate(
                spec, job, image.pixels.nbytes, request.keep_alive_s
            )
            n_tokens = written.finish.n_prompt_tokens
            entry.answered(_Answer(loaded_ns + load_ns, written.queue_ns, written.inference_ns, n_tokens))
        return Described("".join(pieces), is_cut=written.finish.reason == "length")

    async def _look(
        self,
        spec: ModelSpec,
        image: Image,
        task: ImageTask,
        request: DocumentRequest,
        context: Context,
        loaded_ns: int,
    ) -> LookResult:
        lane = context.lane or "default"
        operation = "classify" if isinstance(task, ClassifyTask) else "read"
        with self._ledger.entry(spec.name, lane, 1, context, operation) as entry:
            job = LookJob(image.pixels, task, lane, context.key_id)
            found, load_ns = await self._running.look(spec, job, image.pixels.nbytes, request.keep_alive_s)
            entry.answered(_Answer(loaded_ns + load_ns, found.queue_ns, found.inference_ns))
        return found
