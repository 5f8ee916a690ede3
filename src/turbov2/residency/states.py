"""A resident and the states it goes through.

absent → loading → ready → draining → unloading → absent; loading → failed → absent. Absent residents
are not in the table. A draining one serves those who hold it, and those who came while it was loading;
who comes later waits until it is gone and loads it anew.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import math
from typing import Generic, Protocol, TypeVar

from turbov2.catalog import ModelSpec


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
        """False once the runner died by itself."""

    def host_bytes(self) -> int:
        """Returns the host memory it was measured or estimated to take. Never raises."""

    async def close(self, grace_s: float) -> None:
        """Afterwards its memory is released. Never raises."""


H = TypeVar("H", bound=Held)


class Resident(Generic[H]):
    """One entry of the table. Changed by Residency only."""

    __slots__ = (
        "awaits_room", "expires_s", "failure", "gone", "held", "is_pinned", "keep_alive_s", "key",
        "last_used_s", "leases", "load_s", "loaded_at", "loading", "need_bytes", "spec", "state", "unloading",
    )  # fmt: skip

    def __init__(self, key: str, spec: ModelSpec, keep_alive_s: float, *, is_pinned: bool) -> None:
        self.key = key
        self.spec = spec
        self.state = State.LOADING
        self.held: H | None = None  # from the end of loading to the end of unloading
        self.loading: asyncio.Task[H] | None = None
        self.unloading: asyncio.Task[None] | None = None
        self.failure: Exception | None = None
        self.gone = asyncio.Event()
        self.awaits_room = True  # until those that make room for it are gone and its load starts
        self.leases = 0  # who uses it or waits for its load
        self.is_pinned = is_pinned
        self.need_bytes = spec.host_bytes  # reserved while loading, measured after
        self.keep_alive_s = keep_alive_s
        self.expires_s = math.inf
        self.last_used_s = asyncio.get_running_loop().time()
        self.loaded_at = dt.datetime.now(dt.UTC)
        self.load_s = 0.0

    def is_usable(self) -> bool:
        """Returns whether a new request may use it right now."""
        return self.state is State.READY and self.held is not None and self.held.is_alive

    def is_dead(self) -> bool:
        """Returns whether its runner ended by itself."""
        return self.held is not None and not self.held.is_alive
