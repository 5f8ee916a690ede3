"""Calls: the queue of a model that answers one call at a time, and not many inputs together.

It looks at an image, writes an answer or listens to a window of speech. Nothing is gained by putting two of
them together on a CPU, and an answer, which takes seconds to minutes, cannot be put aside half-way. So each
call takes one turn, shared out between lanes and keys as everywhere else. A turn ends when the model is done,
whatever the reader does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Protocol, TypeVar

import msgspec

from turbov2.batching.jobs import BatchRecord, Outcome, RunnerLost
from turbov2.batching.turns import Share, Turns
from turbov2.errors import RunnerCrashed, TurboError
from turbov2.types import Finish, GenerateTask, Heard, ImageTask, Lane, Piece, Seen, SpeechTask

if TYPE_CHECKING:
    from turbov2.types.audio import Samples
    from turbov2.types.images import Pixels

T = TypeVar("T")


class AnswersCalls(Protocol):
    """What the queue calls of a runner."""

    async def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns what the model sees."""

    async def generate(
        self, task: GenerateTask, images: Sequence[Pixels], on_piece: Callable[[Piece], None]
    ) -> Finish:
        """Returns how the answer ended, after all its pieces."""

    async def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens a prompt has."""

    async def listen(self, samples: Samples, task: SpeechTask) -> Heard:
        """Returns what the model hears."""


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


class GenerateJob(msgspec.Struct, frozen=True, eq=False):
    """One answer to write. `on_piece` is called, in the loop, with its pieces as they come."""

    task: GenerateTask
    images: tuple[Pixels, ...]
    on_piece: Callable[[Piece], None]
    lane: Lane = "default"
    key_id: str = ""


class GenerateResult(msgspec.Struct, frozen=True):
    """How the answer ended, and the request's share of wall clock."""

    finish: Finish
    queue_ns: int
    inference_ns: int


class ListenJob(msgspec.Struct, frozen=True, eq=False):
    """One window, or a piece of sound, to listen to. The requests of a key take turns window by window."""

    samples: Samples
    task: SpeechTask
    lane: Lane = "default"
    key_id: str = ""


class ListenResult(msgspec.Struct, frozen=True):
    """What was heard, and the request's share of wall clock."""

    heard: Heard
    queue_ns: int
    inference_ns: int


class Calls:
    """At most `n_slots` calls at a time."""

    def __init__(
        self,
        runner: AnswersCalls,
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
        self.n_queued_tokens = 0  # images have none, and those of a prompt are known once it is read

    @property
    def is_open(self) -> bool:
        """False once `close` began: jobs are refused with RunnerLost."""
        return self._lost is None

    @property
    def is_free(self) -> bool:
        """Whether a job would begin at once, and no other wait for it."""
        return self.is_open and self._turns.is_free

    async def look(self, job: LookJob) -> LookResult:
        """Returns what the model sees. Raises: the runner's error; RunnerLost."""
        look = partial(self._runner.look, job.pixels, job.task)
        return LookResult(*await self._in_turn(job, look, lambda _: 0))

    async def generate(self, job: GenerateJob) -> GenerateResult:
        """Returns how the answer ended. Raises: the runner's error; RunnerLost."""
        write = partial(self._runner.generate, job.task, job.images, job.on_piece)
        return GenerateResult(*await self._in_turn(job, write, _n_tokens_of))

    async def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens a prompt has, at once: it takes no turn. Raises: as `generate`."""
        if self._lost is not None:
            raise self._lost
        try:
            return await self._runner.count(task, images)
        except RunnerCrashed as error:
            raise RunnerLost(error, was_running=True) from error

    async def listen(self, job: ListenJob) -> ListenResult:
        """Returns what the model hears. Raises: the runner's error; RunnerLost."""
        listen = partial(self._runner.listen, job.samples, job.task)
        return ListenResult(*await self._in_turn(job, listen, lambda _: 0))

    async def close(self, cause: TurboError | None = None) -> None:
        """Afterwards all that waits failed with RunnerLost, and so does what comes."""
        said = "the model's runner ended before this request was done; send it again"
        self._lost = RunnerLost(cause or RunnerCrashed(said, retry_after_s=1), was_running=False)
        self._turns.close(self._lost)

    async def _in_turn(
        self,
        job: LookJob | GenerateJob | ListenJob,
        call: Callable[[], Awaitable[T]],
        n_tokens_of: Callable[[T], int],
    ) -> tuple[T, int, int]:
        """Returns what the call gives when its turn has come, the wait for that and its own time, in ns."""
        asked_s = self._now_s()
        share = await self._turn(job)
        began_s = self._now_s()
        outcome: Outcome = "failed"
        n_tokens = 0
        try:
            answer = await call()
            outcome, n_tokens = "ok", n_tokens_of(answer)
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
            cost = max(1, n_tokens)
            self._on_batch(BatchRecord(job.lane, 1, n_tokens, cost, queue_ns, inference_ns, outcome))
        return answer, queue_ns, inference_ns

    async def _turn(self, job: LookJob | GenerateJob | ListenJob) -> Share:
        if self._lost is not None:
            raise self._lost
        self.n_queued_items += 1
        try:
            return await self._turns.take(job.lane, job.key_id, is_first=True)
        finally:
            self.n_queued_items -= 1


def _n_tokens_of(finish: Finish) -> int:
    return finish.n_prompt_tokens + finish.n_output_tokens
