"""Reading pages, from a file's bytes to lines: those of a sound text layer, or those that a model sees."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

from turbov2.batching import LookJob
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.checks import check_reads
from turbov2.engine.lanes import lane_of
from turbov2.engine.layers import lines_of, page_size_px
from turbov2.engine.pictures import Pictures
from turbov2.engine.running import Running
from turbov2.media import Document, Image, Page, page_indices
from turbov2.obs.ledger import Ledger
from turbov2.types import Context, Lane, ReadPage, ReadRequest, ReadResult, ReadTask, TextLine, TextWord

_TASK = ReadTask()
_PDF = "PDF"


class Reading:
    """The operation `read` of one engine."""

    def __init__(self, catalog: Catalog, running: Running, pictures: Pictures, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._pictures = pictures
        self._ledger = ledger

    async def __call__(self, request: ReadRequest, context: Context) -> ReadResult:
        """Returns the lines of one page; see Engine."""
        spec = self._spec(request)
        document = await self._pictures.open(request.payload, request.password)
        return await self._page(spec, document, request, request.page, context)

    async def pages(self, request: ReadRequest, pages: str, context: Context) -> AsyncIterator[ReadResult]:
        """Yields the lines of several pages; see Engine."""
        spec = self._spec(request)
        document = await self._pictures.open(request.payload, request.password)
        for page in page_indices(pages, document.n_pages):
            yield await self._page(spec, document, request, page, context)

    def _spec(self, request: ReadRequest) -> ModelSpec:
        spec = self._catalog.resolve(request.model)
        check_reads(spec)
        return spec

    async def _page(
        self, spec: ModelSpec, document: Document, request: ReadRequest, page: int, context: Context
    ) -> ReadResult:
        lane = lane_of(context.lane, 1, 0)
        with self._ledger.entry(spec.name, lane, 1, context, "read") as entry:
            answer = await self._layer(spec, document, request, page)
            if answer is None:
                answer = await self._look(spec, document, request, page, lane, context.key_id)
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
        width_px, height_px = page_size_px(found)
        taken_ns = time.perf_counter_ns() - started_ns
        return ReadResult(
            model=spec.name,
            source="text_layer",
            lines=lines_of(found),
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

    async def _look(
        self, spec: ModelSpec, document: Document, request: ReadRequest, page: int, lane: Lane, key_id: str
    ) -> ReadResult:
        """Returns what the model reads of the page's picture."""
        started_ns = time.perf_counter_ns()
        need, loaded_ns = await self._running.image_need(spec, request.keep_alive_s)
        began_ns = time.perf_counter_ns()
        image = await self._pictures.upright(document, page, need)
        decode_ns = time.perf_counter_ns() - began_ns
        job = LookJob(image.pixels, _TASK, lane, key_id)
        found, load_ns = await self._running.look(spec, job, len(request.payload), request.keep_alive_s)
        assert isinstance(found.seen, ReadPage), "a model that reads was asked. This is a bug."
        return ReadResult(
            model=spec.name,
            source="ocr",
            lines=tuple(_enlarged(line, _factor(image)) for line in found.seen.lines),
            turned_degrees=found.seen.turned_degrees,
            format=document.format,
            page=page,
            n_pages=document.n_pages,
            width_px=image.source_width_px,
            height_px=image.source_height_px,
            load_ns=loaded_ns + load_ns,
            total_ns=time.perf_counter_ns() - started_ns,
            decode_ns=decode_ns,
            queue_ns=found.queue_ns,
            inference_ns=found.inference_ns,
        )


def _factor(image: Image) -> float:
    """Returns how much larger the upright picture is than the pixels that the model was given."""
    return image.source_width_px / int(image.pixels.shape[1])


def _enlarged(line: TextLine, factor: float) -> TextLine:
    """Returns the line in the upright picture's own pixels."""
    if factor == 1.0:
        return line
    quad = tuple(round(side * factor, 1) for side in line.quad)
    words = tuple(
        TextWord(
            word.text,
            word.confidence,
            *(round(side * factor, 1) for side in (word.left, word.top, word.right, word.bottom)),
        )
        for word in line.words
    )
    return TextLine(line.text, line.confidence, quad, words)  # type: ignore[arg-type]
