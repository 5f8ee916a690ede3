"""What a job is: its kind, its state, what it has done."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Literal, Protocol

import msgspec

from turbov2.types import Context

JobState = Literal["queued", "running", "done", "failed", "cancelled"]
ENDED: frozenset[JobState] = frozenset(("done", "failed", "cancelled"))


class JobLimits(msgspec.Struct, frozen=True):
    """What jobs may take.

    n_running: at once; the others wait. max_bytes: of all inputs and results together. max_age_s: after its
    end a job is removed. max_jobs: kept, ended ones included.
    """

    n_running: int = 1
    max_bytes: int = 2 << 30
    max_age_s: float = 86_400.0
    max_jobs: int = 1_000


class Unit(msgspec.Struct, frozen=True):
    """The result of the next unit of a job, such as a page.

    n_units: of the whole job, as far as is known. state: what the next unit needs of those before; clients
    do not see it, and only the last one is kept.
    """

    body: bytes
    n_units: int
    state: bytes = b""


class Reached(msgspec.Struct, frozen=True):
    """How far a job has come: the units that are done, and the state that the last of them gave."""

    n_done: int = 0
    state: bytes = b""


class JobError(msgspec.Struct, frozen=True):
    """What a job ended in; code and message are a TurboError's."""

    code: str
    message: str


class JobStatus(msgspec.Struct, frozen=True):
    """A job as it is now. Times are seconds since the epoch; `n_units` is None until the work has begun."""

    id: str
    kind: str
    state: JobState
    n_done: int
    n_units: int | None
    created_s: float
    started_s: float | None = None
    ended_s: float | None = None
    error: JobError | None = None


class JobKind(Protocol):
    """A sort of long work.

    Its units have an order and are done in it, so what is done is a number, and a job that was cut goes on
    with the next unit. An iterator rather than a call a unit lets the work read ahead.
    """

    @property
    def name(self) -> str:
        """What the file and clients call it."""

    def run(
        self, asked: bytes, payload: Path, reached: Reached, context: Context
    ) -> AsyncGenerator[Unit, None]:
        """Yields the results of the units that are not done, to the last. Closing it stops the work.

        asked: what `Jobs.submit` was given. payload: a file with the rest of it, which stays until the job
        ends. Raises: CapacityError to be tried again, else what fails the job.
        """
