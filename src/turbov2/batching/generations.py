"""Generations: the queue of a model that writes one answer at a time.

An answer takes seconds to minutes and cannot be put aside half-way, so each takes a turn, shared out between
lanes and keys as everywhere else. The turn ends with the model's last token, whatever its reader does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from turbov2.batching.jobs import BatchRecord, Outcome, RunnerLost
from turbov2.batching.turns import Turns
from turbov2.errors import RunnerCrashed, TurboError
from turbov2.types import Finish, GenerateTask, Lane

if TYPE_CHECKING:
    from turbov2.types.images import Pixels


class Writes(Protocol):
    """What the queue calls of a runner."""

    async def generate(
        self, task: GenerateTask, images: Sequence[Pixels], on_piece: Callable[[str], None]
    ) -> Finish:
        """Returns how the answer ended, after all its pieces."""


class GenerateJob(msgspec.Struct, frozen=True, eq=False):
    """One answer to write. `on_piece` is called, in the loop, with its text as it comes."""

    task: GenerateTask
    images: tuple[Pixels, ...]
    on_piece: Callable[[str], None]
    lane: Lane = "default"
    key_id: str = ""


class GenerateResult(msgspec.Struct, frozen=True):
    """How the answer ended, and the request's share of wall clock."""

    finish: Finish
    queue_ns: int
    inference_ns: int


class Generations:
    """At most one answer at a time."""

    def __init__(
        self,
        runner: Writes,
        *,
        on_batch: Callable[[BatchRecord], None],
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runner = runner
        self._on_batch = on_batch
        self._now_s = now_s
        self._turns = Turns(lambda: 1)
        self._lost: RunnerLost | None = None
        self.n_queued_items = 0
        self.n_queued_tokens = 0  # known only once a prompt is read

    @property
    def is_open(self) -> bool:
        """False once `close` began: jobs are refused with RunnerLost."""
        return self._lost is None

    async def generate(self, job: GenerateJob) -> GenerateResult:
        """Returns how the answer ended. Raises: the runner's error; RunnerLost."""
        if self._lost is not None:
            raise self._lost
        asked_s = self._now_s()
        self.n_queued_items += 1
        try:
            share = await self._turns.take(job.lane, job.key_id, is_first=True)
        finally:
            self.n_queued_items -= 1
        began_s = self._now_s()
        outcome: Outcome = "failed"
        n_tokens = 0
        try:
            finish = await self._runner.generate(job.task, job.images, job.on_piece)
            outcome, n_tokens = "ok", finish.n_prompt_tokens + finish.n_output_tokens
        except asyncio.CancelledError:
            outcome = "cancelled"
            raise
        except RunnerCrashed as error:
            outcome = "lost"
            raise RunnerLost(error, was_running=True) from error
        finally:
            taken_s = self._now_s() - began_s
            self._turns.pay(share, 1, taken_s)
            queue_ns, inference_ns = round((began_s - asked_s) * 1e9), round(taken_s * 1e9)
            self._on_batch(BatchRecord(job.lane, 1, n_tokens, n_tokens, queue_ns, inference_ns, outcome))
        return GenerateResult(finish, queue_ns, inference_ns)

    async def close(self, cause: TurboError | None = None) -> None:
        """Afterwards all that waits failed with RunnerLost, and so does what comes."""
        said = "the model's runner ended before this request was done; send it again"
        self._lost = RunnerLost(cause or RunnerCrashed(said, retry_after_s=1), was_running=False)
        self._turns.close(self._lost)
