"""Embedding, from request to finished vectors: checks, admission, lease, queue, a retry after a crash."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import msgspec

from turbov2.batching import Job, JobResult, RunnerLost
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.gates import Gates
from turbov2.engine.held import HeldModel
from turbov2.engine.lanes import lane_of
from turbov2.engine.shelf import weights_key
from turbov2.engine.vectors import finish
from turbov2.errors import InvalidRequest, NotCapable
from turbov2.obs.ledger import Ledger
from turbov2.obs.meters import Meters
from turbov2.obs.tracing import Tracer
from turbov2.residency import Residency
from turbov2.types import Context, EmbedRequest, EmbedResult, Inputs, ItemError, Loaded

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

# Normalising so many floats takes half a millisecond, five times the hop to a thread.
_OFF_LOOP_FLOATS = 1_048_576
_MAX_CARRIES = 8  # deaths of its runner that a request survives while it only waits


class Embedding:
    """The operation `embed` of one engine."""

    def __init__(
        self,
        catalog: Catalog,
        gates: Gates,
        residency: Residency[HeldModel],
        meters: Meters,
        tracer: Tracer | None,
    ) -> None:
        self._catalog = catalog
        self._keys = {spec.name: weights_key(spec) for spec in catalog}
        self._gates = gates
        self._residency = residency
        self._batches = meters.batches
        self._ledger = Ledger(meters.requests, tracer)

    async def __call__(self, request: EmbedRequest, context: Context) -> EmbedResult:
        """Returns vectors in input order; see Engine."""
        started_ns = time.perf_counter_ns()
        spec = self._catalog.resolve(request.model)
        check_embeds(spec)
        inputs = with_prompt(spec, request)
        n_chars = sum(map(len, inputs))
        lane = lane_of(context.lane, len(inputs), n_chars)
        job = Job(inputs, request.truncate, lane, context.key_id, request.is_partial_ok)
        with self._ledger.entry(spec.name, lane, len(inputs), context) as entry:
            result, load_ns = self._at_once(spec, request, job), 0
            if result is None:
                ticket = self._gates.of(spec.name).admit(len(inputs), n_chars)
                try:
                    result, load_ns = await self._run(spec, request, job)
                finally:
                    ticket.release()
            vectors = await _finish(result, request, spec.name)
            self._batches.answered(spec.name, len(inputs), result.n_cached, result.n_joined)
            answer = _answer(spec.name, vectors, result, load_ns, time.perf_counter_ns() - started_ns)
            entry.answered(answer)
            return answer

    def _at_once(self, spec: ModelSpec, request: EmbedRequest, job: Job) -> JobResult | None:
        """Returns the result of what needs no queue: a small request to a model in the loop that is ready.

        Nothing waits, so nothing is admitted; nothing else happens meanwhile, so nothing is leased.
        """
        key = self._keys[spec.name]
        held = self._residency.ready(key)
        if held is None:
            return None
        check_dimensions(spec, held.loaded, request)
        result = held.embed_at_once(job)
        if result is not None:
            self._residency.used(key, request.keep_alive_s)
        return result

    async def _run(self, spec: ModelSpec, request: EmbedRequest, job: Job) -> tuple[JobResult, int]:
        """Returns the result and the nanoseconds spent waiting for the model.

        When the runner dies, a request that was computing runs once more, apart from others; one that only
        waited runs again as if nothing had happened.
        """
        load_ns = n_strikes = n_carries = 0
        while True:
            asked_ns = time.perf_counter_ns()
            async with self._residency.lease(self._keys[spec.name], spec, request.keep_alive_s) as held:
                load_ns += time.perf_counter_ns() - asked_ns
                check_dimensions(spec, held.loaded, request)
                try:
                    return await held.embed(job), load_ns
                except RunnerLost as lost:
                    n_strikes += lost.was_running
                    n_carries += not lost.was_running
                    if n_strikes > 1 or n_carries > _MAX_CARRIES:
                        raise lost.cause from lost
                    if lost.was_running:
                        job = msgspec.structs.replace(job, is_alone=True)


async def _finish(result: JobResult, request: EmbedRequest, model: str) -> FloatMatrix:
    if result.vectors.size <= _OFF_LOOP_FLOATS:
        return finish(result.vectors, request.dimensions, request.normalize, model)
    return await asyncio.to_thread(finish, result.vectors, request.dimensions, request.normalize, model)


def _answer(model: str, vectors: FloatMatrix, result: JobResult, load_ns: int, total_ns: int) -> EmbedResult:
    return EmbedResult(
        model,
        vectors,
        int(result.lengths.sum()),
        _truncated(result),
        load_ns,
        total_ns,
        tuple(ItemError(i, error.code, error.message) for i, error in sorted(result.errors.items()))
        if result.errors
        else (),
        result.queue_ns,
        result.tokenize_ns,
        result.inference_ns,
    )


def _truncated(result: JobResult) -> tuple[int, ...]:
    if result.lengths is result.full_lengths:  # the usual case, known without a comparison
        return ()
    return tuple((result.full_lengths > result.lengths).nonzero()[0].tolist())


def check_embeds(spec: ModelSpec) -> None:
    """Raises: NotCapable when the model is for something else."""
    if spec.capability != "embed":
        raise NotCapable(f"model '{spec.name}' does not embed, it is for: {spec.capability}", param="model")


def check_dimensions(spec: ModelSpec, loaded: Loaded, request: EmbedRequest) -> None:
    """Raises: InvalidRequest when `dimensions` is not one that the model and the request's rules allow."""
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


def with_prompt(spec: ModelSpec, request: EmbedRequest) -> Inputs:
    """Returns the inputs as the model wants them. Raises: InvalidRequest for ids where it wants a prompt."""
    prompt = spec.query_prompt if request.input_type == "query" else spec.document_prompt
    if not prompt:
        return request.inputs
    if any(not isinstance(text, str) for text in request.inputs):
        raise InvalidRequest(
            f"model '{spec.name}' puts a prompt before each {request.input_type}: send texts, not token ids",
            param="input",
        )
    return [prompt + text for text in request.inputs]  # type: ignore[operator]
