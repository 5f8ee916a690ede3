"""Asking a model about a page: from a file's bytes to text as it is written."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable
from functools import partial

from turbov2.batching import GenerateJob
from turbov2.catalog import Catalog
from turbov2.engine.checks import check_sees
from turbov2.engine.lanes import lane_of
from turbov2.engine.pictures import Pictures
from turbov2.engine.relay import relay
from turbov2.engine.running import Running
from turbov2.obs.ledger import Ledger
from turbov2.types import (
    Context,
    GenerateTask,
    ImagePart,
    PromptMessage,
    TextPart,
    VisionEvent,
    VisionRequest,
    VisionResult,
)


class Seeing:
    """The operation `vision` of one engine."""

    def __init__(self, catalog: Catalog, running: Running, pictures: Pictures, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._pictures = pictures
        self._ledger = ledger

    def __call__(self, request: VisionRequest, context: Context) -> AsyncGenerator[VisionEvent, None]:
        """Yields the answer as it is written, and last a VisionResult; see Engine."""
        return relay(partial(self._write, request, context))

    async def _write(
        self, request: VisionRequest, context: Context, on_piece: Callable[[str], None]
    ) -> VisionResult:
        started_ns = time.perf_counter_ns()
        spec = self._catalog.resolve(request.model)
        check_sees(spec)
        lane = lane_of(context.lane, 1, len(request.prompt))
        n_bytes = len(request.payload)
        with self._ledger.entry(spec.name, lane, 1, context, "generate_content") as entry:
            need, loaded_ns = await self._running.image_need(spec, request.keep_alive_s)
            picture, decode_ns = await self._pictures.page(request.payload, request.page, need)
            job = GenerateJob(_task(request), (picture.pixels,), on_piece, lane, context.key_id)
            written, load_ns = await self._running.generate(spec, job, n_bytes, request.keep_alive_s)
            answer = VisionResult(
                model=spec.name,
                finish=written.finish,
                format=picture.format,
                width_px=picture.source_width_px,
                height_px=picture.source_height_px,
                n_pages=picture.n_frames,
                load_ns=loaded_ns + load_ns,
                total_ns=time.perf_counter_ns() - started_ns,
                decode_ns=decode_ns,
                queue_ns=written.queue_ns,
                inference_ns=written.inference_ns,
            )
            entry.answered(answer)
            return answer


def _task(request: VisionRequest) -> GenerateTask:
    """Returns the image and, behind it, what is asked about it: the order that models were trained on."""
    message = PromptMessage("user", (ImagePart(0), TextPart(request.prompt)))
    return GenerateTask((message,), request.sampling)
