"""Documents, page by page: while one page is read, the next is decoded and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable
from dataclasses import dataclass, field
from typing import Protocol

from msgspec.structs import replace

from turbov2.engine.documents.eyes import Eyes
from turbov2.engine.documents.routing import choose_route
from turbov2.engine.documents.texts import PageText, text_of_layer, text_of_read, text_of_vision
from turbov2.engine.lanes import lane_of
from turbov2.engine.reading import DrawnPage
from turbov2.errors import InvalidRequest, RequestError, TurboError, is_want_of_room
from turbov2.media import Document, Page, page_indices
from turbov2.types import (
    Context,
    DocumentRequest,
    EmbedRequest,
    EmbedResult,
    Judgement,
    PageError,
    PageResult,
    PageRoute,
    PageTimes,
)

_NOT_ASKED = "no classifier was asked"
_CUT = "what the vlm wrote was cut at its limit of tokens"
_NOTHING = PageText("", (), ())
Embed = Callable[[EmbedRequest, Context], Awaitable[EmbedResult]]


class Opens(Protocol):
    """What a pipeline wants of the decoder."""

    async def open(self, payload: bytes, password: str | None = None) -> Document:
        """Returns the opened file."""

    async def page(self, document: Document, index: int) -> Page:
        """Returns a page's text layer."""


@dataclass
class _PageWork:
    """A page on its way; filled stage by stage."""

    index: int
    began_ns: int = field(default_factory=time.perf_counter_ns)
    page: Page | None = None
    judgement: Judgement | None = None
    why_unjudged: str = ""
    route: PageRoute | None = None
    picture: DrawnPage | None = None
    content: PageText = _NOTHING
    vision: str = ""
    embedding: EmbedResult | None = None
    error: PageError | None = None
    spent_ns: dict[str, int] = field(default_factory=dict)

    async def timed(self, stage: str, work: Awaitable[object]) -> None:
        """Afterwards `work` is done and its time counted for the stage."""
        began_ns = time.perf_counter_ns()
        try:
            await work
        finally:
            self.spend(stage, time.perf_counter_ns() - began_ns)

    def spend(self, stage: str, ns: int) -> None:
        """Counts the time for the stage."""
        self.spent_ns[stage] = self.spent_ns.get(stage, 0) + ns


class Documents:
    """The operation `documents` of one engine. Holds no state but what a request's own pages need."""

    def __init__(self, decoder: Opens, eyes: Eyes, embed: Embed) -> None:
        self._decoder = decoder
        self._eyes = eyes
        self._embed = embed

    async def __call__(self, request: DocumentRequest, context: Context) -> AsyncGenerator[PageResult, None]:
        """Yields the pages in order, bad ones with their error. Closing it stops the work.

        Raises: RequestError for what is wrong with all pages; CapacityError at the page where room ran out.
        """
        document, wanted = await self._open(request)
        context = replace(context, lane=lane_of(context.lane, len(wanted) - request.first, 0))
        reading = _Reading(self._decoder, self._eyes, self._embed, document, request, context)
        reading.why_unjudged = _NOT_ASKED if request.classifier is None else ""
        ahead: asyncio.Task[_PageWork] | None = None
        try:
            for position in range(request.first, len(wanted)):
                work = await (ahead or reading.look(wanted[position]))
                is_last = position + 1 == len(wanted)
                ahead = None if is_last else asyncio.create_task(reading.look(wanted[position + 1]))
                await reading.finish(work)
                yield _result(work, position, len(wanted), document)
        finally:
            if ahead is not None:
                ahead.cancel()
                await asyncio.wait({ahead})
                if not ahead.cancelled():
                    ahead.exception()

    async def check(self, request: DocumentRequest) -> None:
        """Raises: RequestError, BackendError for what is wrong with all pages, as reading them would."""
        await self._open(request)

    async def _open(self, request: DocumentRequest) -> tuple[Document, list[int]]:
        """Returns the file and the pages that are wanted of it, from 0."""
        if request.vlm is not None and request.classifier is None:
            raise InvalidRequest("vlm looks at pages that are HIGH, so it needs the classifier", param="vlm")
        if request.embed_model is not None and not request.chunk_chars:
            raise InvalidRequest("embed gives vectors of chunks, so it needs chunks", param="embed")
        await self._eyes.check(request)
        document = await self._decoder.open(request.payload, request.password)
        return document, page_indices(request.pages, document.n_pages)[: request.max_pages]


@dataclass
class _Reading:
    """One request: an open document and what is wanted of its pages."""

    decoder: Opens
    eyes: Eyes
    embed: Embed
    document: Document
    request: DocumentRequest
    context: Context
    why_unjudged: str = ""  # for all pages

    async def look(self, index: int) -> _PageWork:
        """Returns the page decoded and judged, with the picture that the next stage wants."""
        work = _PageWork(index)
        await self._stage(work, self._look(work))
        return work

    async def finish(self, work: _PageWork) -> None:
        """Afterwards the page is read, cut into chunks and embedded, as far as it can be."""
        if work.error is None:
            await self._stage(work, self._read(work))
        if work.error is None and work.content.chunks and self.request.embed_model is not None:
            embedding = work.timed("embed", self._embed_chunks(work, self.request.embed_model))
            await self._stage(work, embedding, RequestError)
        work.spend("total", time.perf_counter_ns() - work.began_ns)
        work.picture = None

    async def _stage(self, work: _PageWork, stage: Awaitable[None], *fatal: type[TurboError]) -> None:
        """Afterwards the stage is done, or the page has an error. Raises: what is not its own fault."""
        try:
            await stage
        except TurboError as error:
            if is_want_of_room(error) or isinstance(error, fatal):
                raise
            work.error = PageError(error.code, error.message)

    async def _look(self, work: _PageWork) -> None:
        await work.timed("decode", self._decode(work))
        await self._judge(work)
        assert work.page is not None
        has_vlm = self.request.vlm is not None
        verdict = work.page.soundness.verdict
        work.route = choose_route(verdict, work.judgement, work.why_unjudged, has_vlm=has_vlm)
        if work.route.way == "ocr":
            await work.timed("decode", self._draw(work))

    async def _decode(self, work: _PageWork) -> None:
        work.page = await self.decoder.page(self.document, work.index)

    async def _draw(self, work: _PageWork) -> None:
        work.picture = await self.eyes.picture(self.document, work.index, self.request)

    async def _judge(self, work: _PageWork) -> None:
        """Asks the classifier: one that is not here only once; one that fails leaves its page unjudged."""
        work.why_unjudged = self.why_unjudged
        if self.request.classifier is None or self.why_unjudged:
            return
        try:
            judged = await self.eyes.judge(self.document, work.index, self.request, self.context)
        except TurboError as error:
            if is_want_of_room(error):
                raise
            if error.code in _ABSENT:
                self.why_unjudged = "the classifier is not on this machine"
            work.why_unjudged = self.why_unjudged or "the classifier failed on this page"
        else:
            work.judgement = judged.judgement
            work.spend("decode", judged.decode_ns)
            work.spend("classify", judged.classify_ns)

    async def _read(self, work: _PageWork) -> None:
        assert work.route is not None
        assert work.page is not None
        if work.route.way in ("vlm", "text+vlm"):
            await work.timed("vlm", self._describe(work))
        if work.route.way in ("text", "text+vlm"):
            await work.timed("text", self._take_layer(work, work.page))
        if work.route.way == "ocr":
            await work.timed("ocr", self._ocr(work, work.page))

    async def _describe(self, work: _PageWork) -> None:
        found = await self.eyes.describe(self.document, work.index, self.request, self.context)
        assert work.page is not None
        assert work.route is not None
        work.vision = found.text
        if found.is_cut:
            work.route = replace(work.route, reason=f"{work.route.reason}; {_CUT}")
        box = (0.0, 0.0, work.page.width, work.page.height)
        work.content = text_of_vision(work.vision, box, self.request.chunk_chars)

    async def _take_layer(self, work: _PageWork, page: Page) -> None:
        of_vision = work.content
        content = await asyncio.to_thread(text_of_layer, page, self.request.chunk_chars)
        work.content = content._replace(chunks=(*content.chunks, *of_vision.chunks))

    async def _ocr(self, work: _PageWork, page: Page) -> None:
        assert work.picture is not None
        picture, work.picture = work.picture, None
        read = await self.eyes.read(picture, self.request, self.context)
        scale = page.width / read.width_px
        work.content = await asyncio.to_thread(text_of_read, read, scale, self.request.chunk_chars)

    async def _embed_chunks(self, work: _PageWork, model: str) -> None:
        texts = [chunk.text for chunk in work.content.chunks]
        outputs, keep_alive_s = self.request.outputs, self.request.keep_alive_s
        asked = EmbedRequest(model, texts, outputs=outputs, keep_alive_s=keep_alive_s, is_partial_ok=True)
        work.embedding = await self.embed(asked, self.context)


# Codes of errors that say the same of every page: no weights, no library, no such model.
_ABSENT = frozenset(("model_unavailable", "model_not_found", "pull_failed", "load_failed", "not_supported"))


def _result(work: _PageWork, position: int, n_wanted: int, document: Document) -> PageResult:
    """Returns what became of the page."""
    width, height = (float(side) for side in document.page_sizes[work.index])
    if work.page is not None:
        width, height = work.page.width, work.page.height
    return PageResult(
        work.index,
        position,
        n_wanted,
        document.n_pages,
        document.format,
        width,
        height,
        work.route,
        work.content.text,
        work.vision,
        work.content.blocks,
        work.content.chunks,
        work.embedding,
        PageTimes(**{f"{stage}_ns": ns for stage, ns in work.spent_ns.items()}),
        work.error,
    )
