"""Reranking, from request to scores, in each of the ways a model can score."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import numpy as np

from turbov2.batching import Job, JobResult
from turbov2.catalog import Catalog, ModelSpec
from turbov2.engine.checks import check_ranks, with_prompt
from turbov2.engine.embedding import item_errors, truncated_rows
from turbov2.engine.lanes import lane_of
from turbov2.engine.running import Running
from turbov2.engine.scores import max_sim, probabilities
from turbov2.engine.vectors import finish
from turbov2.errors import InvalidRequest
from turbov2.obs.ledger import Ledger
from turbov2.obs.meters import Meters
from turbov2.types import DENSE, Context, EmbedTask, Inputs, Loaded, RerankRequest, RerankResult, TokenVectors

if TYPE_CHECKING:
    from turbov2.types.embed import FloatVector


class Reranking:
    """The operation `rerank` of one engine."""

    def __init__(self, catalog: Catalog, running: Running, meters: Meters, ledger: Ledger) -> None:
        self._catalog = catalog
        self._running = running
        self._batches = meters.batches
        self._ledger = ledger

    async def __call__(self, request: RerankRequest, context: Context) -> RerankResult:
        """Returns scores in the documents' order; see Engine."""
        started_ns = time.perf_counter_ns()
        spec = self._catalog.resolve(request.model)
        check_ranks(spec)
        inputs, n_chars = _inputs(spec, request)
        lane = lane_of(context.lane, len(inputs), n_chars)
        job = Job(inputs, _task(spec), request.truncate, lane, context.key_id, request.is_partial_ok)

        def check(loaded: Loaded) -> None:
            _check(spec, loaded, request)

        with self._ledger.entry(spec.name, lane, len(inputs), context, "rerank") as entry:
            result, load_ns = await self._running.run(spec, job, n_chars, request.keep_alive_s, check)
            self._batches.answered(spec.name, len(inputs), result.n_cached, result.n_joined)
            # Products of many vectors take tens of milliseconds, in which others want the loop.
            scores = await asyncio.to_thread(_scores, spec, request, result)
            answer = _answer(spec, request, scores, result, load_ns, time.perf_counter_ns() - started_ns)
            entry.answered(answer)
            return answer


def _inputs(spec: ModelSpec, request: RerankRequest) -> tuple[Inputs, int]:
    """Returns what the model reads and its characters: pairs, or the documents and then the query.

    So an input's number is its document's, whatever the way of scoring.
    """
    query, documents = request.query, request.documents
    n_chars = sum(map(len, documents))
    if spec.scoring_way == "pair":
        pairs = [(query, document, request.instruction) for document in documents]
        return pairs, n_chars + (len(query) + len(request.instruction)) * len(documents)
    texts = [*with_prompt(spec, documents, "document"), *with_prompt(spec, [query], "query")]
    return texts, n_chars + len(query)


def _task(spec: ModelSpec) -> EmbedTask:
    if spec.scoring_way == "maxsim":
        return EmbedTask(("tokens",), spec.layers)
    return DENSE if spec.layers is None else EmbedTask(layers=spec.layers)


def _check(spec: ModelSpec, loaded: Loaded, request: RerankRequest) -> None:
    """Raises: InvalidRequest for an instruction that the model would not read."""
    if request.instruction and not loaded.reads_instructions:
        message = f"model '{spec.name}' reads no instruction; leave it out, or put it into the query"
        raise InvalidRequest(message, param="instruction")


def _scores(spec: ModelSpec, request: RerankRequest, result: JobResult) -> FloatVector:
    """Returns `[n]` float32: raw, or in 0..1 if that was asked for."""
    n = len(request.documents)
    if n in result.errors:  # the query: without it there is no score
        raise result.errors[n]
    if spec.scoring_way == "pair":
        raw = result.vectors[:, 0]
        return probabilities(raw, spec.score_shift) if request.is_normalized else raw
    cosines = _late(result, n) if spec.scoring_way == "maxsim" else _cosines(spec, result)
    cosines = np.clip(cosines, np.float32(-1), np.float32(1))  # rounding passes 1 by a hair
    return (np.float32(1) + cosines) / np.float32(2) if request.is_normalized else cosines


def _cosines(spec: ModelSpec, result: JobResult) -> FloatVector:
    dimensions = spec.dimensions if spec.matryoshka else None
    vectors = finish(result.vectors, dimensions, True, spec.name)
    cosines: FloatVector = vectors[:-1] @ vectors[-1]
    return cosines


def _late(result: JobResult, n: int) -> FloatVector:
    assert result.tokens is not None, "token vectors were asked for. This is a bug."
    lengths, n_rows = result.tokens.lengths, int(result.tokens.lengths[:n].sum())
    documents = TokenVectors(result.tokens.vectors[:n_rows], lengths[:n])
    return max_sim(result.tokens.vectors[n_rows:], documents)


def _answer(
    spec: ModelSpec,
    request: RerankRequest,
    scores: FloatVector,
    result: JobResult,
    load_ns: int,
    total_ns: int,
) -> RerankResult:
    n = len(request.documents)
    truncated = truncated_rows(result)
    return RerankResult(
        spec.name,
        scores,
        int(result.lengths.sum()),
        tuple(row for row in truncated if row < n),
        load_ns,
        total_ns,
        result.queue_ns,
        result.tokenize_ns,
        result.inference_ns,
        item_errors(result),
        n in truncated,
    )
