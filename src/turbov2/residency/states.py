"""A resident and the states it goes through.

absent → loading → ready → draining → unloading → absent; loading → failed → absent. Absent residents
are not in the table.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import enum
import math
from typing import Generic, Protocol, TypeVar

from turbov2.catalog import ModelSpec


class State(enum.StrEnum):
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
        """Returns the host memory it was measured or estimated to take."""

    async def close(self, grace_s: float) -> None:
        """Afterwards its memory is released. Never raises."""


H = TypeVar("H", bound=Held)


class Resident(Generic[H]):
    """One entry of the table. Changed by Residency only."""

    __slots__ = (
        "expires_s", "held", "is_pinned", "keep_alive_s", "key", "last_used_s", "leases", "load_s",
        "loaded_at", "loading", "need_bytes", "spec", "state",
    )  # fmt: skip

    def __init__(self, key: str, spec: ModelSpec, need_bytes: int) -> None:
        self.key = key
        self.spec = spec
        self.state = State.LOADING
        self.held: H | None = None
        self.loading: asyncio.Task[None] | None = None
        self.leases = 0
        self.is_pinned = False
        self.need_bytes = need_bytes  # reserved while loading, measured after
        self.keep_alive_s = 0.0
        self.expires_s = math.inf
        self.last_used_s = 0.0
        self.loaded_at = dt.datetime.now(dt.UTC)
        self.load_s = 0.0
