"""Embedding, from request to finished vectors."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from msgspec.structs import replace

from turbov2.batching import Job, JobResult
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.checks import check_embed, check_embeds, with_prompt
from turbov2.engine.lanes import lane_of
from turbov2.engine.running import Check, Running
from turbov2.engine.vectors import finish
from turbov2.engine.windows import check_windows, embed_windows
from turbov2.obs.ledger import Ledger
from turbov2.obs.meters import Meters
from turbov2.types import DENSE, Context, EmbedRequest, EmbedResult, EmbedTask, ItemError, Loaded

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

# Normalising so many floats takes 0.15 ms, in which others want the loop; a hop to a thread costs as much.
_OFF_LOOP_FLOATS = 262_144


class Embedding:
    """The operation `embed` of one engine."""

    def __init__(self, catalog: Catalog, running: Running, meters: Meters, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._batches = meters.batches
        self._ledger = ledger

    async def __call__(self, request: EmbedRequest, context: Context) -> EmbedResult:
        """Returns vectors in input order; see Engine."""
        started_ns = time.perf_counter_ns()
        spec = self._catalog.resolve(request.model)
        check_embeds(spec)
        if request.windows:
            check_windows(request)
        inputs = with_prompt(spec, request.inputs, request.input_type)
        n_chars = sum(map(len, inputs))
        lane = lane_of(context.lane, len(inputs), n_chars)
        truncate = request.truncate or request.windows
        job = Job(inputs, task_of(spec, request), truncate, lane, context.key_id, request.is_partial_ok)

        def check(loaded: Loaded) -> None:
            check_embed(spec, loaded, request)

        with self._ledger.entry(spec.name, lane, len(inputs), context) as entry:
            result, load_ns = await self._running.run(spec, job, n_chars, request.keep_alive_s, check)
            n_windows: dict[int, int] = {}
            if request.windows and truncated_rows(result):
                result, n_windows = await self._in_windows(spec, request, job, check, result)
            vectors = await _finish(result, request, spec)
            self._batches.answered(spec.name, len(inputs), result.n_cached, result.n_joined)
            taken_ns = time.perf_counter_ns() - started_ns
            answer = _answer(spec.name, vectors, result, load_ns, taken_ns, n_windows)
            entry.answered(answer)
            return answer

    async def _in_windows(
        self, spec: ModelSpec, request: EmbedRequest, job: Job, check: Check, first: JobResult
    ) -> tuple[JobResult, dict[int, int]]:
        async def run(texts: Sequence[str]) -> JobResult:
            inputs = with_prompt(spec, texts, request.input_type)
            # An error counts windows, not inputs: it is told below, by the input that it is of.
            part, n_chars = replace(job, inputs=inputs, is_partial_ok=True), sum(map(len, inputs))
            return (await self._running.run(spec, part, n_chars, request.keep_alive_s, check))[0]

        result, n_windows = await embed_windows(run, request.inputs, first)
        if result.errors and not job.is_partial_ok:
            raise result.errors[min(result.errors)]
        return result, n_windows


def task_of(spec: ModelSpec, request: EmbedRequest) -> EmbedTask:
    """Returns what the model is asked for; the usual task is one object, which is quick to tell."""
    if spec.layers is None and request.outputs == DENSE.outputs:
        return DENSE
    return EmbedTask(request.outputs, spec.layers)


async def _finish(result: JobResult, request: EmbedRequest, spec: ModelSpec) -> FloatMatrix:
    dimensions = request.dimensions
    if spec.matryoshka and spec.dimensions is not None:  # the name may stand for a first part
        dimensions = min(dimensions or spec.dimensions, spec.dimensions)
    if result.vectors.size <= _OFF_LOOP_FLOATS:
        return finish(result.vectors, dimensions, request.normalize, spec.name)
    return await asyncio.to_thread(finish, result.vectors, dimensions, request.normalize, spec.name)


def _answer(
    model: str,
    vectors: FloatMatrix,
    result: JobResult,
    load_ns: int,
    total_ns: int,
    n_windows: dict[int, int],
) -> EmbedResult:
    return EmbedResult(
        model,
        vectors,
        int(result.lengths.sum()),
        truncated_rows(result),
        load_ns,
        total_ns,
        item_errors(result),
        result.queue_ns,
        result.tokenize_ns,
        result.inference_ns,
        result.sparse,
        result.tokens,
        n_windows,
    )


def item_errors(result: JobResult) -> tuple[ItemError, ...]:
    """Returns what failed alone, in input order."""
    if not result.errors:
        return ()
    return tuple(ItemError(i, error.code, error.message) for i, error in sorted(result.errors.items()))


def truncated_rows(result: JobResult) -> tuple[int, ...]:
    """Returns the inputs whose end was cut off."""
    if result.lengths is result.full_lengths:  # the usual case, known without a comparison
        return ()
    return tuple((result.full_lengths > result.lengths).nonzero()[0].tolist())
