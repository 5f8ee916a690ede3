"""Reading pages, from a file to blocks of lines: those of a sound text layer, or those that a model sees."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from typing import NamedTuple

from msgspec.structs import replace

from turbov2.batching import LookJob
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.checks import check_reads
from turbov2.engine.lanes import lane_of
from turbov2.engine.layers import lines_of, page_size_px, scaled
from turbov2.engine.pictures import READING_DPI, Pictures
from turbov2.engine.running import Running
from turbov2.errors import TurboError, is_want_of_room
from turbov2.media import Document, Image, Page, page_indices
from turbov2.obs.ledger import Ledger
from turbov2.pages.structure import blocks_of
from turbov2.types import Context, Lane, PageError, ReadPage, ReadRequest, ReadResult, ReadTask

_TASK = ReadTask()
_PDF = "PDF"


class DrawnPage(NamedTuple):
    """A page of an open document, from 0, as a model wants it, and what that took: the model, and drawing."""

    document: Document
    page: int
    image: Image
    load_ns: int
    decode_ns: int


class Reading:
    """The operation `read` of one engine."""

    def __init__(self, catalog: Catalog, running: Running, pictures: Pictures, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._pictures = pictures
        self._ledger = ledger

    async def __call__(self, request: ReadRequest, context: Context) -> ReadResult:
        """Returns the lines of one page; see Engine."""
        spec = self._resolved(request.model)
        document = await self._pictures.open(request.payload, request.password)
        return await self._page(spec, document, request, request.page, context)

    async def pages(
        self, request: ReadRequest, pages: str, context: Context
    ) -> AsyncGenerator[ReadResult, None]:
        """Yields the lines of several pages; see Engine."""
        spec = self._resolved(request.model)
        document = await self._pictures.open(request.payload, request.password)
        wanted = page_indices(pages, document.n_pages)
        for position, page in enumerate(wanted):
            try:
                result = await self._page(spec, document, request, page, context)
            except TurboError as error:
                if not request.is_partial_ok or is_want_of_room(error):
                    raise
                result = _unread(spec, document, page, error)
            yield replace(result, position=position, n_wanted=len(wanted))

    def _resolved(self, model: str) -> ModelSpec:
        spec = self._catalog.resolve(model)
        check_reads(spec)
        return spec

    async def _page(
        self, spec: ModelSpec, document: Document, request: ReadRequest, page: int, context: Context
    ) -> ReadResult:
        lane = lane_of(context.lane, 1, 0)
        with self._ledger.entry(spec.name, lane, 1, context, "read") as entry:
            answer = await self._layer(spec, document, request, page)
            if answer is None:
                drawn = await self._drawn(spec, document, page, request.keep_alive_s)
                n_bytes = len(request.payload)
                answer = await self._look(spec, drawn, n_bytes, request.keep_alive_s, lane, context.key_id)
            entry.answered(answer)
            return answer

    async def _layer(
        self, spec: ModelSpec, document: Document, request: ReadRequest, page: int
    ) -> ReadResult | None:
        """Returns the page's own text, None where it has none that is sound, or where nobody wants it."""
        if document.format != _PDF or not request.use_text_layer:
            return None
        started_ns = time.perf_counter_ns()
        found: Page = await self._pictures.words(document, page)
        if not found.soundness.is_sound:
            return None
        blocks = await asyncio.to_thread(blocks_of, lines_of(found), in_file_order=True)
        width_px, height_px = page_size_px(found)
        taken_ns = time.perf_counter_ns() - started_ns
        return ReadResult(
            model=spec.name,
            source="text_layer",
            blocks=blocks,
            turned_degrees=0,
            format=document.format,
            page=page,
            n_pages=document.n_pages,
            width_px=width_px,
            height_px=height_px,
            load_ns=0,
            total_ns=taken_ns,
            decode_ns=taken_ns,
        )

    async def draw(self, document: Document, index: int, model: str, keep_alive_s: float | None) -> DrawnPage:
        """Returns page `index`, from 0, of an open document, as the model wants it."""
        return await self._drawn(self._resolved(model), document, index, keep_alive_s)

    async def drawn(
        self, page: DrawnPage, model: str, keep_alive_s: float | None, context: Context
    ) -> ReadResult:
        """Returns what the model reads of a page that is drawn."""
        spec, lane = self._resolved(model), lane_of(context.lane, 1, 0)
        with self._ledger.entry(spec.name, lane, 1, context, "read") as entry:
            n_bytes = page.image.pixels.nbytes
            answer = await self._look(spec, page, n_bytes, keep_alive_s, lane, context.key_id)
            entry.answered(answer)
            return answer

    async def _drawn(
        self, spec: ModelSpec, document: Document, index: int, keep_alive_s: float | None
    ) -> DrawnPage:
        need, loaded_ns = await self._running.image_need(spec, keep_alive_s)
        image, decode_ns = await self._pictures.opened(document, index, need, READING_DPI)
        return DrawnPage(document, index, image, loaded_ns, decode_ns)

    async def _look(
        self,
        spec: ModelSpec,
        page: DrawnPage,
        n_bytes: int,
        keep_alive_s: float | None,
        lane: Lane,
        key_id: str,
    ) -> ReadResult:
        """Returns what the model reads of the page's picture. n_bytes: that wait with it."""
        began_ns = time.perf_counter_ns()
        job = LookJob(page.image.pixels, _TASK, lane, key_id)
        found, load_ns = await self._running.look(spec, job, n_bytes, keep_alive_s)
        assert isinstance(found.seen, ReadPage), "a model that reads was asked. This is a bug."
        factor = _factor(page.image)
        lines = [scaled(line, factor) for line in found.seen.lines]
        # Hundreds of lines take milliseconds, in which others want the loop.
        blocks = await asyncio.to_thread(blocks_of, lines)
        return ReadResult(
            model=spec.name,
            source="ocr",
            blocks=blocks,
            turned_degrees=found.seen.turned_degrees,
            format=page.document.format,
            page=page.page,
            n_pages=page.document.n_pages,
            width_px=page.image.source_width_px,
            height_px=page.image.source_height_px,
            load_ns=page.load_ns + load_ns,
            total_ns=page.load_ns + page.decode_ns + time.perf_counter_ns() - began_ns,
            decode_ns=page.decode_ns,
            queue_ns=found.queue_ns,
            inference_ns=found.inference_ns,
        )


def _unread(spec: ModelSpec, document: Document, page: int, error: TurboError) -> ReadResult:
    return ReadResult(
        model=spec.name,
        source=None,
        blocks=(),
        turned_degrees=0,
        format=document.format,
        page=page,
        n_pages=document.n_pages,
        width_px=0,
        height_px=0,
        load_ns=0,
        total_ns=0,
        error=PageError(error.code, error.message),
    )


def _factor(image: Image) -> float:
    """Returns how much larger the upright picture is than the pixels that the model was given."""
    return image.source_width_px / int(image.pixels.shape[1])
