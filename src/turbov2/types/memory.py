"""What residency tells: events, pools, and what it would do to load a model."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

Bytes = dict[str, int]  # by pool: "host", "cuda:0", ...
EventKind = Literal[
    "loaded", "load_failed", "unloaded", "evicted", "crashed", "recycled", "refused", "leaked"
]


class MemoryEvent(msgspec.Struct, frozen=True):
    """Something that changed what is in memory, or was refused.

    "evicted" made room for another model, "unloaded" was idle or asked to go, "recycled" had grown.
    """

    at: dt.datetime
    kind: EventKind
    model: str
    reason: str  # a plain sentence
    bytes: Bytes
    seconds: float = 0.0  # how long the load or unload took


class PoolStatus(msgspec.Struct, frozen=True):
    """One memory pool: what models may take, take now, and what the machine has left."""

    name: str
    budget_bytes: int
    committed_bytes: int
    available_bytes: int
    head_room_bytes: int  # kept free beside the models for what running them takes


class InTheWay(msgspec.Struct, frozen=True):
    """A resident that would have to go, or that cannot: `why` says which."""

    model: str
    bytes: Bytes
    why: str


class MemoryPlan(msgspec.Struct, frozen=True):
    """What loading a model would take right now. Looking at it changes nothing."""

    model: str
    state: str  # a residency state, "absent" when it is not in the table
    need: Bytes
    need_source: Literal["measured", "estimated"]
    is_possible: bool  # it fits now, or after the victims have gone
    victims: tuple[InTheWay, ...] = ()
    in_the_way: tuple[InTheWay, ...] = ()
    ready_in_s: float | None = None  # from past loads; None: never loaded here
    failure: str = ""
    retry_in_s: float | None = None
    events: tuple[MemoryEvent, ...] = ()  # this model's, newest last
