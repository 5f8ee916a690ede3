"""Classifying pages, from a file's bytes to LOW or HIGH."""

from __future__ import annotations

import time
from functools import partial

from turbov2.batching import LookJob
from turbov2.catalog import Catalog
from turbov2.engine.checks import check_classifies
from turbov2.engine.lanes import lane_of
from turbov2.engine.pictures import Draw, Pictures
from turbov2.engine.running import Running
from turbov2.media import Document
from turbov2.obs.ledger import Ledger
from turbov2.types import ClassifyRequest, ClassifyResult, ClassifyTask, Complexity, Context

_TASK = ClassifyTask()


class Classifying:
    """The operation `classify` of one engine."""

    def __init__(self, catalog: Catalog, running: Running, pictures: Pictures, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._pictures = pictures
        self._ledger = ledger

    async def __call__(self, request: ClassifyRequest, context: Context) -> ClassifyResult:
        """Returns how complex the page is; see Engine."""
        draw = partial(self._pictures.page, request.payload, request.page)
        return await self._look(request.model, request.keep_alive_s, draw, len(request.payload), context)

    async def opened(
        self, document: Document, index: int, model: str, keep_alive_s: float | None, context: Context
    ) -> ClassifyResult:
        """Returns the same of page `index`, from 0, of a document that is open."""
        draw = partial(self._pictures.opened, document, index)
        return await self._look(model, keep_alive_s, draw, None, context)

    async def _look(
        self, model: str, keep_alive_s: float | None, draw: Draw, n_bytes: int | None, context: Context
    ) -> ClassifyResult:
        """n_bytes: of the file that came with the request; None: what waits are the page's pixels alone."""
        started_ns = time.perf_counter_ns()
        spec = self._catalog.resolve(model)
        check_classifies(spec)
        lane = lane_of(context.lane, 1, 0)
        with self._ledger.entry(spec.name, lane, 1, context, "classify") as entry:
            need, loaded_ns = await self._running.image_need(spec, keep_alive_s)
            picture, decode_ns = await draw(need)
            job = LookJob(picture.pixels, _TASK, lane, context.key_id)
            n_waiting = picture.pixels.nbytes if n_bytes is None else n_bytes
            found, load_ns = await self._running.look(spec, job, n_waiting, keep_alive_s)
            assert isinstance(found.seen, Complexity), "a classifier was asked. This is a bug."
            answer = ClassifyResult(
                model=spec.name,
                label="HIGH" if found.seen.p_high >= found.seen.threshold else "LOW",
                p_high=found.seen.p_high,
                threshold=found.seen.threshold,
                format=picture.format,
                width_px=picture.source_width_px,
                height_px=picture.source_height_px,
                n_pages=picture.n_frames,
                load_ns=loaded_ns + load_ns,
                total_ns=time.perf_counter_ns() - started_ns,
                decode_ns=decode_ns,
                queue_ns=found.queue_ns,
                inference_ns=found.inference_ns,
            )
            entry.answered(answer)
            return answer
