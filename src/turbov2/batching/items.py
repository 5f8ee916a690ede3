"""Item: one input to compute. Answer: one job's result while it fills."""

from __future__ import annotations

import asyncio
import enum
from collections import deque
from collections.abc import Hashable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.batching.jobs import Job, JobResult, RunnerLost
from turbov2.batching.ragged import Pieces, join_sparse, join_tokens
from turbov2.errors import InputTooLong, TurboError
from turbov2.types import EmbedTask, Lane, Pair

if TYPE_CHECKING:
    from turbov2.types.embed import IntVector

LANES: tuple[Lane, ...] = ("interactive", "default", "bulk")  # fastest first


Content = str | tuple[int, ...] | Pair


def size_of(content: Content) -> int:
    """Returns what an input counts: a text's or pair's characters, or its token ids."""
    if type(content) is tuple and content and type(content[0]) is str:
        return sum(map(len, content))  # a pair
    return len(content)


class State(enum.Enum):
    """Where an item is. It only moves on, down this list."""

    QUEUED = enum.auto()
    TOKENIZING = enum.auto()
    READY = enum.auto()  # waits for a forward
    FORMED = enum.auto()  # belongs to a batch, which runs or will run again


class Item(msgspec.Struct, eq=False):
    """An input that is computed once for all who want it.

    A struct without equality: made in C, and tens of thousands are made each second.
    """

    key: Hashable  # equal keys are computed together
    content: Content
    n_chars: int  # of a text or a pair; token ids count as one each
    task: EmbedTask
    arrived_s: float
    rank: int  # index of the fastest lane that wants it
    alone: Answer | None = None  # the only job whose items may share its batch
    subscribers: list[tuple[Answer, int]] = []  # who wants it, and in which row
    state: State = State.QUEUED
    tag: float = 0.0  # virtual time at which its turn comes within its lane
    estimate: int = 0  # tokens charged before they were counted
    ids: IntVector | None = None  # `[length]` int32, once tokenised
    length: int = 0
    full_length: int = 0
    second_start: int | None = None

    def is_wanted(self) -> bool:
        """Returns whether anybody still waits for it."""
        for answer, _ in self.subscribers:  # noqa: SIM110  # any() costs three times as much
            if answer.is_live:
                return True
        return False


class Answer:
    """Changes until `is_live` is False; then `done` is set and `result` returns or raises what came of it."""

    __slots__ = (
        "began_s",
        "done",
        "errors",
        "failure",
        "full_lengths",
        "inference_s",
        "is_live",
        "is_queued",
        "job",
        "lengths",
        "n_cached",
        "n_joined",
        "n_left",
        "pieces",
        "rank",
        "tokenize_s",
        "vectors",
        "waiting",
    )

    def __init__(self, job: Job, dimensions: int, began_s: float) -> None:
        n = len(job.inputs)
        self.job = job
        self.rank = LANES.index(job.lane)
        self.began_s = began_s
        self.vectors = np.zeros((n, dimensions if "dense" in job.task.outputs else 0), np.float32)
        self.pieces: Pieces = {kind: [None] * n for kind in job.task.outputs if kind != "dense"}
        self.lengths = np.zeros(n, np.int32)
        self.full_lengths = np.zeros(n, np.int32)
        self.errors: dict[int, TurboError] = {}
        self.failure: TurboError | RunnerLost | None = None
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.is_live = True
        self.is_queued = False  # a flow holds it
        self.waiting: deque[Item] = deque()  # its items in order; those already taken are passed over
        self.n_left = n
        self.n_cached = self.n_joined = 0
        self.tokenize_s = self.inference_s = 0.0
        if not n:
            self.end()

    def fill(
        self, rows: Sequence[int], vectors: NDArray[np.float32], lengths: IntVector, full_lengths: IntVector
    ) -> None:
        """Afterwards these rows are answered; with the last of them the job is."""
        if self.vectors.shape[1]:
            self.vectors[rows] = vectors
        self.lengths[rows] = lengths
        self.full_lengths[rows] = full_lengths
        self._settle(len(rows))

    def keep(self, row: int, source: int, pieces: Pieces) -> None:
        """Afterwards the row's outputs other than its vector are `pieces` of `source`. `fill` comes next."""
        for kind, of_rows in self.pieces.items():
            of_rows[row] = pieces[kind][source]

    def fail(self, row: int, error: TurboError) -> None:
        """Afterwards the row has failed, and the job too unless it allows partial results.

        The error is a copy that names the input: one exception raised in many tasks would gather all
        their frames.
        """
        place = f"input {row}: " if len(self.job.inputs) > 1 else ""
        self._fail(
            row, type(error)(place + error.message, param=error.param, retry_after_s=error.retry_after_s)
        )

    def accepts(self, row: int, length: int, full_length: int) -> bool:
        """Returns whether the row may be answered; one that is too long for the job has failed."""
        if self.job.truncate or full_length <= length:
            return True
        message = (
            f"the input length exceeds the context length: input {row} has {full_length} tokens, the model "
            f"reads {length}; shorten it or allow truncation"
        )
        self._fail(row, InputTooLong(message, param="input"))
        return False

    def end(self, failure: TurboError | RunnerLost | None = None) -> None:
        """Afterwards nothing changes any more and nothing of it waits."""
        if not self.is_live:
            return
        self.is_live = False
        self.failure = failure
        if not self.done.done():
            self.done.set_result(None)

    def result(self, now_s: float) -> JobResult:
        """Returns what was computed. Raises: the first item's error, RunnerLost."""
        if self.failure is not None:
            raise self.failure
        queue_s = max(now_s - self.began_s - self.tokenize_s - self.inference_s, 0.0)
        return JobResult(
            vectors=self.vectors,
            lengths=self.lengths,
            full_lengths=self.full_lengths,
            errors=self.errors,
            queue_ns=round(queue_s * 1e9),
            tokenize_ns=round(self.tokenize_s * 1e9),
            inference_ns=round(self.inference_s * 1e9),
            n_cached=self.n_cached,
            n_joined=self.n_joined,
            sparse=join_sparse(self.pieces["sparse"]) if "sparse" in self.pieces else None,
            tokens=join_tokens(self.pieces["tokens"]) if "tokens" in self.pieces else None,
        )

    def _fail(self, row: int, error: TurboError) -> None:
        if not self.is_live:
            return
        if not self.job.is_partial_ok:
            self.end(error)
            return
        self.errors[row] = error
        self._settle(1)

    def _settle(self, n_rows: int) -> None:
        self.n_left -= n_rows
        if not self.n_left:
            self.end()
