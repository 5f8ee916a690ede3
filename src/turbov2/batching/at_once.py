"""Answers for a job whose vectors were computed without a queue, by the queue's own rules."""

from __future__ import annotations

from typing import TYPE_CHECKING

from turbov2.batching.forward import not_finite_rows
from turbov2.batching.items import Answer
from turbov2.batching.jobs import Job, JobResult
from turbov2.errors import NotFinite
from turbov2.types import TokenBatch

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix


def answer_at_once(
    job: Job, tokens: TokenBatch, vectors: FloatMatrix, taken_ns: int, queue_ns: int = 0
) -> JobResult:
    """Returns the job's result. `vectors`: `[n, d]` float32, raw, of all its inputs.

    Raises: the first failed item's error, unless the job allows partial results.
    """
    # A batch of which nothing was cut has one array of lengths.
    if not job.is_partial_ok and (job.truncate or tokens.lengths is tokens.full_lengths):
        return JobResult(vectors, tokens.lengths, tokens.full_lengths, {}, queue_ns, 0, taken_ns, 0, 0)
    answer = Answer(job, vectors.shape[1], 0.0)
    lengths, full_lengths = tokens.lengths.tolist(), tokens.full_lengths.tolist()
    bad = set(not_finite_rows(vectors))
    good = []
    for row, (length, full_length) in enumerate(zip(lengths, full_lengths, strict=True)):
        if row in bad:
            answer.fail(row, NotFinite("the model gave NaN or infinity; change the text", param="input"))
        elif answer.accepts(row, length, full_length):
            good.append(row)
    answer.inference_s = taken_ns / 1e9
    if answer.is_live:
        answer.fill(good, vectors[good], tokens.lengths[good], tokens.full_lengths[good])
    return answer.result((queue_ns + taken_ns) / 1e9)
