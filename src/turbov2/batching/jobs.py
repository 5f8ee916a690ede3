"""What a batcher is asked, what it answers, and what it reports of each forward."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

from turbov2.errors import TurboError
from turbov2.types import DENSE, EmbedTask, Inputs, Lane, SparseRows, TokenVectors

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix, IntVector

Outcome = Literal["ok", "failed", "oom", "cancelled", "lost"]
OomStep = Literal["free_caches", "evict", "split", "retry", "gave_up"]


class Job(msgspec.Struct, frozen=True, eq=False):
    """One request's inputs, prompt included, token ids checked against the vocabulary."""

    inputs: Inputs
    task: EmbedTask = DENSE
    truncate: bool = True  # False: an input longer than the model reads is an InputTooLong
    lane: Lane = "default"
    key_id: str = ""
    is_partial_ok: bool = False  # True: failed items are reported beside the others' vectors
    is_alone: bool = False  # it was in a batch that killed a runner: shares no batch with other jobs


class JobResult(msgspec.Struct, frozen=True):
    """A job's outputs in input order, as the model gave them: not cut and not normalised.

    vectors: `[n, d]` float32, of width 0 if the task asks for none; lengths, full_lengths: `[n]` int32,
    tokens after and before truncation. Rows of failed items are zero in all three, and empty in `sparse`
    and `tokens`. The times are the job's share of wall clock: forwards and tokenising of batches that held
    its items; queue_ns is the rest until the last answer.
    """

    vectors: FloatMatrix
    lengths: IntVector
    full_lengths: IntVector
    errors: dict[int, TurboError]  # by input; empty unless the job allows partial results
    queue_ns: int
    tokenize_ns: int
    inference_ns: int
    n_cached: int  # inputs answered by the cache
    n_joined: int  # inputs that shared the computation of an equal one
    sparse: SparseRows | None = None
    tokens: TokenVectors | None = None


class BatchRecord(msgspec.Struct, frozen=True):
    """One forward, however it ended."""

    lane: Lane
    n_items: int
    n_tokens: int
    cost: int  # tokens with padding
    queue_ns: int  # the oldest item's wait from its arrival to this forward, tokenising included
    inference_ns: int
    outcome: Outcome
    is_again: bool = False  # it holds items of a forward that failed
    n_not_finite: int = 0  # rows that hold NaN or infinity
    oom_steps: tuple[OomStep, ...] = ()  # what was done after running out of memory


class RunnerLost(Exception):
    """The runner died, or was closed, before a job was answered. Stays inside: the engine tries again.

    was_running: one of the job's items was with the runner when it died.
    """

    def __init__(self, cause: TurboError, *, was_running: bool) -> None:
        super().__init__(cause.message)
        self.cause = cause
        self.was_running = was_running
