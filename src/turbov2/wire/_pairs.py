"""Scores of pairs of texts: one rerank request for each distinct first text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import msgspec
import numpy as np

from turbov2.engine.protocol import Engine
from turbov2.types import Context, RerankRequest, RerankResult


async def score_pairs(
    engine: Engine, queries: Sequence[str], asked: RerankRequest, context: Context
) -> RerankResult:
    """Returns the score of each `queries[i]` with `asked.documents[i]`, in that order.

    Raises: the first failure, after which the others are cancelled.
    """
    started_ns = time.perf_counter_ns()
    positions: dict[str, list[int]] = {}
    for index, query in enumerate(queries):
        positions.setdefault(query, []).append(index)
    results = await _all(engine, [_part(asked, query, which) for query, which in positions.items()], context)
    scores = np.empty(len(queries), np.float32)
    for which, result in zip(positions.values(), results, strict=True):
        scores[which] = result.scores
    return RerankResult(
        results[0].model,
        scores,
        sum(result.n_tokens for result in results),
        (),
        max(result.load_ns for result in results),
        time.perf_counter_ns() - started_ns,
        sum(result.queue_ns for result in results),
        sum(result.tokenize_ns for result in results),
        sum(result.inference_ns for result in results),
    )


def _part(asked: RerankRequest, query: str, which: Sequence[int]) -> RerankRequest:
    return msgspec.structs.replace(asked, query=query, documents=[asked.documents[i] for i in which])


async def _all(engine: Engine, requests: Sequence[RerankRequest], context: Context) -> list[RerankResult]:
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(engine.rerank(request, context)) for request in requests]
    except BaseExceptionGroup as failures:
        raise failures.exceptions[0] from None
    return [task.result() for task in tasks]
