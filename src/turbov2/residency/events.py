"""What happened to models, in words: the last 256 events, and whoever wants to hear of each."""

from __future__ import annotations

import datetime as dt
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import msgspec

from turbov2.residency.pools import Pool, in_words

logger = logging.getLogger(__name__)
N_KEPT = 256

EventKind = Literal[
    "loaded", "load_failed", "unloaded", "evicted", "crashed", "recycled", "refused", "leaked"
]
_LEVELS = {kind: logging.INFO for kind in ("loaded", "unloaded", "evicted", "refused")}


class Event(msgspec.Struct, frozen=True):
    """One thing that happened to a model, once it is over.

    evicted: it made room for others. unloaded: its time was over or somebody asked. recycled: it had grown.
    refused: there is no room for it. leaked: it is closed and its memory is not back.
    """

    at: dt.datetime
    kind: EventKind
    model: str
    key: str
    reason: str  # a sentence
    bytes: dict[Pool, int]
    seconds: float  # it took


class Journal:
    """Keeps the newest events and hands each to `on_event`, which must be quick and never raise."""

    def __init__(self, on_event: Callable[[Event], None]) -> None:
        self._on_event = on_event
        self._events: deque[Event] = deque(maxlen=N_KEPT)

    def add(
        self,
        kind: EventKind,
        model: str,
        key: str,
        reason: str,
        bytes_: Mapping[Pool, int] | None = None,
        seconds: float = 0.0,
    ) -> None:
        """Afterwards the event is kept, logged and told."""
        event = Event(dt.datetime.now(dt.UTC), kind, model, key, reason, dict(bytes_ or {}), seconds)
        self._events.append(event)
        level = _LEVELS.get(kind, logging.WARNING)
        logger.log(level, "%s %s (%s, %.2f s): %s", kind, model, in_words(event.bytes), seconds, reason)
        self._on_event(event)

    def events(self) -> Sequence[Event]:
        """Returns what is kept, newest last."""
        return list(self._events)

    def of(self, key: str) -> tuple[Event, ...]:
        """Returns what is kept of one model, newest last."""
        return tuple(event for event in self._events if event.key == key)
