"""Learns at load how much a model computes in one slice of time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from turbov2.batching.forward import Computes
from turbov2.batching.pace import BatchLimits
from turbov2.errors import OutOfMemory
from turbov2.types import DENSE, Inputs, TokenBatch

if TYPE_CHECKING:
    from turbov2.types.embed import IntVector

_MAX_COST = 16_384  # tokens; as text-embeddings-inference's default of --max-batch-tokens
_MAX_PROBE_S = 1.0
_ROW_TOKENS = 128  # of a sample row: a paragraph
SAMPLE = (
    "Whoever waits in the queue is served before long, whatever the size of their neighbours' texts. " * 8
)


async def learn_limits(
    runner: Computes,
    *,
    slice_s: float,
    sample: Inputs,
    max_tokens: int | None,
    now_s: Callable[[], float] = time.perf_counter,
) -> BatchLimits:
    """Returns what one forward of about `slice_s` may cost, found by forwards of doubling size.

    sample: one text or pair, long enough for 128 tokens. Ends at the slice, at the memory's limit, at 16,384
    tokens, or when the next forward would take the probe past one second. Rows are equally long, so padding
    plays no part.
    Raises: what the runner raises, save OutOfMemory, which is a limit found.
    """
    began_s = now_s()
    row = await _sample_row(runner, sample, max_tokens)
    limits = BatchLimits(max_cost=1, seconds_per_cost=slice_s / len(row))
    cost = n_rows = 1
    try:
        await _time_forward(runner, row, 1, now_s)  # the first also initialises
        while True:
            taken_s = await _time_forward(runner, row, n_rows, now_s)
            cost = n_rows * len(row)
            limits = _fit(cost, taken_s, slice_s)
            is_over = now_s() - began_s + 2 * taken_s > _MAX_PROBE_S
            if taken_s >= slice_s or 2 * cost > _MAX_COST or is_over:
                return limits
            n_rows *= 2
    except OutOfMemory:
        await runner.free_caches()
        return BatchLimits(min(limits.max_cost, cost), limits.seconds_per_cost)


def _fit(cost: int, taken_s: float, slice_s: float) -> BatchLimits:
    seconds_per_cost = max(taken_s, 1e-6) / cost
    return BatchLimits(min(max(int(slice_s / seconds_per_cost), 1), _MAX_COST), seconds_per_cost)


async def _sample_row(runner: Computes, sample: Inputs, max_tokens: int | None) -> IntVector:
    n_tokens = min(_ROW_TOKENS, max_tokens or _ROW_TOKENS)
    ids = (await runner.tokenize(sample)).ids
    # A static model may know none of the words; every vocabulary has a first token.
    return ids[:n_tokens] if len(ids) else np.zeros(n_tokens, np.int32)


async def _time_forward(runner: Computes, row: IntVector, n_rows: int, now_s: Callable[[], float]) -> float:
    lengths = np.full(n_rows, len(row), np.int32)
    began_s = now_s()
    await runner.embed(TokenBatch(np.tile(row, n_rows), lengths, lengths), DENSE)
    return now_s() - began_s
