"""Classifying pages, from a file's bytes to LOW or HIGH."""

from __future__ import annotations

import time

from turbov2.batching import LookJob
from turbov2.catalog import Catalog
from turbov2.engine.checks import check_classifies
from turbov2.engine.lanes import lane_of
from turbov2.engine.pictures import Pictures
from turbov2.engine.running import Running
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
        started_ns = time.perf_counter_ns()
        spec = self._catalog.resolve(request.model)
        check_classifies(spec)
        lane = lane_of(context.lane, 1, 0)
        n_bytes = len(request.payload)
        with self._ledger.entry(spec.name, lane, 1, context, "classify") as entry:
            need, loaded_ns = await self._running.image_need(spec, request.keep_alive_s)
            picture, decode_ns = await self._pictures.page(request.payload, request.page, need)
            job = LookJob(picture.pixels, _TASK, lane, context.key_id)
            found, load_ns = await self._running.look(spec, job, n_bytes, request.keep_alive_s)
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
