"""Looks: the queue of a model that looks at one image at a time.

On a CPU nothing is gained by putting images together, and one image must not wait for another's. So each
request takes one turn, shared out between lanes and keys as everywhere else.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec

from turbov2.batching.jobs import BatchRecord, Outcome, RunnerLost
from turbov2.batching.turns import Turns
from turbov2.errors import RunnerCrashed, TurboError
from turbov2.types import ImageTask, Lane, Seen

if TYPE_CHECKING:
    from turbov2.types.images import Pixels


class SeesImages(Protocol):
    """What the queue calls of a runner."""

    async def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns what the model sees."""


class LookJob(msgspec.Struct, frozen=True, eq=False):
    """One image to look at."""

    pixels: Pixels
    task: ImageTask
    lane: Lane = "default"
    key_id: str = ""


class LookResult(msgspec.Struct, frozen=True):
    """What was seen, and the request's share of wall clock."""

    seen: Seen
    queue_ns: int
    inference_ns: int


class Looks:
    """At most `n_slots` images at a time."""

    def __init__(
        self,
        runner: SeesImages,
        *,
        n_slots: int,
        on_batch: Callable[[BatchRecord], None],
        now_s: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._runner = runner
        self._on_batch = on_batch
        self._now_s = now_s
        self._turns = Turns(lambda: n_slots)
        self._lost: RunnerLost | None = None
        self.n_queued_items = 0
        self.n_queued_tokens = 0  # images have none

    @property
    def is_open(self) -> bool:
        """False once `close` began: jobs are refused with RunnerLost."""
        return self._lost is None

    async def look(self, job: LookJob) -> LookResult:
        """Returns what the model sees when its turn has come. Raises: the runner's error; RunnerLost."""
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
        try:
            seen = await self._runner.look(job.pixels, job.task)
            outcome = "ok"
        except RunnerCrashed as error:
            outcome = "lost"
            raise RunnerLost(error, was_running=True) from error
        finally:
            taken_s = self._now_s() - began_s
            self._turns.pay(share, 1, taken_s)
            queue_ns, inference_ns = round((began_s - asked_s) * 1e9), round(taken_s * 1e9)
            self._on_batch(BatchRecord(job.lane, 1, 0, 1, queue_ns, inference_ns, outcome))
        return LookResult(seen, queue_ns, inference_ns)

    async def close(self, cause: TurboError | None = None) -> None:
        """Afterwards all that waits failed with RunnerLost, and so does what comes."""
        said = "the model's runner ended before this request was done; send it again"
        self._lost = RunnerLost(cause or RunnerCrashed(said, retry_after_s=1), was_running=False)
        self._turns.close(self._lost)
