"""What residency tells: events, pools, and what it would do to load a model."""

from __future__ import annotations

import datetime as dt
from typing import Literal

import msgspec

Bytes = dict[str, int]  # by pool: "host", "cuda:0", ...
EventKind = Literal[
    "loaded",
    "load_failed",
    "refused",
    "evicted",
    "expired",
    "unloaded",
    "recycled",
    "abandoned",
    "crashed",
    "leaked",
]


class MemoryEvent(msgspec.Struct, frozen=True):
    """One thing that happened to a model, once it is over.

    evicted: it made room for others. expired: its keep_alive was over. unloaded: somebody asked. recycled: it
    had grown. abandoned: its process was ended, because nobody waited for what it computed.
    refused: there is no room for it. leaked: it is closed and its memory is not back.
    """

    at: dt.datetime
    kind: EventKind
    model: str
    key: str  # of its weights
    reason: str  # a sentence
    bytes: Bytes
    seconds: float  # it took


class PoolStatus(msgspec.Struct, frozen=True):
    """One memory pool: what models may take, take now, and what the machine has left."""

    name: str
    budget_bytes: int
    committed_bytes: int
    available_bytes: int
    head_room_bytes: int  # kept free beside the models for what running them takes


class Victim(msgspec.Struct, frozen=True):
    """A model that would have to go, and why it is this one."""

    model: str
    bytes: Bytes
    reason: str


class Obstacle(msgspec.Struct, frozen=True):
    """A model that has memory the load lacks and may not go now, and why."""

    model: str
    why: str  # "pinned", or "in use by 3 requests"


class MemoryPlan(msgspec.Struct, frozen=True):
    """How a model stands and what a request for it would set off. Looking at it changes nothing.

    fits: it is loaded, or would be without waiting for a request to end.
    ready_in_s: after how long it would be, as past loads go; None where nobody can say.
    failed_reason: why its last load failed, or why none can succeed as things stand.
    """

    model: str
    state: str  # a residency state, "absent" when it is not in the table
    need: Bytes
    need_source: Literal["measured", "estimated"]
    fits: bool
    victims: tuple[Victim, ...]
    in_the_way: tuple[Obstacle, ...]
    ready_in_s: float | None
    failed_reason: str
    retry_in_s: float | None
    last_events: tuple[MemoryEvent, ...]  # this model's, newest last
