"""A resident and the states it goes through.

absent → loading → ready → draining → unloading → absent; a load that fails and a model that crashes end as
failed, which is shown until the next load. Absent residents are not in the table. A draining one serves
those who hold it, and those who came while it was loading; who comes later waits and loads it anew.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import math
from typing import Generic, Protocol, TypeVar

from turbov2.catalog import ModelSpec
from turbov2.errors import TurboError
from turbov2.residency.pools import Pool
from turbov2.types.memory import EventKind

TICK_S = 0.001  # uvloop rounds timers to this; what expires within it has expired
MIN_STAY_S = 1.0


class State(enum.StrEnum):
    """Where a resident stands; see above."""

    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    UNLOADING = "unloading"
    FAILED = "failed"


class Held(Protocol):
    """A loaded model, as far as residency cares."""

    @property
    def is_alive(self) -> bool:
        """False once the runner ended, though nobody unloaded it."""

    @property
    def was_abandoned(self) -> bool:
        """True once it was ended because nobody waited for what it computed: no crash."""

    async def measure(self) -> dict[Pool, int]:
        """Returns the bytes it takes now; after `close`, those that are still not back. Never raises."""

    async def close(self, grace_s: float) -> None:
        """Afterwards nothing uses its memory any more. Never raises."""


H = TypeVar("H", bound=Held)
H_co = TypeVar("H_co", bound=Held, covariant=True)


class Models(Protocol[H_co]):
    """What residency is given to load with. Slow work: it runs beside the decisions, never inside one."""

    async def size(self, spec: ModelSpec) -> dict[Pool, int]:
        """Returns the bytes it is expected to take; may fetch its weights first. Raises: TurboError."""

    async def load(self, spec: ModelSpec) -> H_co:
        """Returns the loaded model. Raises: TurboError, and then nothing of it is left in memory."""


class Resident(Generic[H]):
    """One entry of the table. Changed by residency only."""

    __slots__ = (
        "base", "bytes", "clock", "expires_s", "failure", "gone", "held", "is_forgotten", "is_pinned",
        "keep_alive_s", "key", "last_used_s", "leases", "leaves", "load_s", "loaded_at", "loading",
        "n_idle_looks", "n_uses", "need", "peak", "ready_s", "retry_at_s", "spec", "started_s", "state",
        "unloading",
    )  # fmt: skip

    def __init__(self, key: str, spec: ModelSpec, keep_alive_s: float, *, is_pinned: bool) -> None:
        self.key = key
        self.spec = spec
        self.state = State.LOADING
        self.held: H | None = None  # from the end of loading to the end of unloading
        self.loading: asyncio.Task[H] | None = None
        self.unloading: asyncio.Task[dict[Pool, int]] | None = None  # gives the bytes not seen back
        self.gone = asyncio.Event()
        self.is_forgotten = False  # it left the table, or its load was dropped: ask for a new one
        self.leases = 0  # who uses it or waits for its load
        self.is_pinned = is_pinned
        self.need: dict[Pool, int] = {}  # what its load asks for, once that is known
        self.bytes: dict[Pool, int] = {}  # reserved while it loads, measured after, until seen back
        self.base: dict[Pool, int] = {}  # what it takes when all is well: the most of its first measurements
        self.leaves: tuple[EventKind, str] = ("unloaded", "it was asked to go")  # how a draining one ends
        self.n_idle_looks = 0  # how often it was measured while idle
        self.peak: dict[Pool, int] = {}  # the most that running batches took on top
        self.keep_alive_s = keep_alive_s
        self.expires_s = math.inf
        self.last_used_s = asyncio.get_running_loop().time()
        self.started_s: float | None = None  # when it had its room and its load began
        self.ready_s = 0.0
        self.loaded_at = dt.datetime.now(dt.UTC)
        self.load_s = 0.0
        self.n_uses = 0
        self.clock = 0.0  # of the policy, at its last use
        self.failure: TurboError | None = None
        self.retry_at_s = 0.0  # of a failed one: when it may be loaded again

    def is_usable(self) -> bool:
        """Returns whether a new request may use it right now."""
        return self.state is State.READY and self.held is not None and self.held.is_alive

    def is_dead(self) -> bool:
        """Returns whether its runner ended by itself."""
        return self.held is not None and not self.held.is_alive

    def is_idle(self) -> bool:
        """Returns whether it is loaded and nobody uses it."""
        return self.state is State.READY and not self.leases

    def is_due(self, now_s: float) -> bool:
        """Returns whether it failed and may be loaded again."""
        return self.state is State.FAILED and self.retry_at_s <= now_s + TICK_S

    def is_wanted(self) -> bool:
        """Returns whether anybody waits for it, or it is to be there in any case."""
        return self.leases > 0 or self.is_pinned

    def stays_until_s(self) -> float:
        """Returns when it has served long enough to be asked to drain for others.

        Twice what its load took, so that at most a third of the time goes into loading.
        """
        return self.ready_s + max(MIN_STAY_S, 2 * self.load_s)
