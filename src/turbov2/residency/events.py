"""What happened to models, in words: the last 256 events, and whoever wants to hear of each."""

from __future__ import annotations

import datetime as dt
import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence

from turbov2.residency.pools import Pool, in_words
from turbov2.types import MemoryEvent
from turbov2.types.memory import EventKind

logger = logging.getLogger(__name__)
N_KEPT = 256

_LEVELS = {
    kind: logging.INFO for kind in ("loaded", "expired", "unloaded", "evicted", "refused", "abandoned")
}


class Journal:
    """Keeps the newest events and hands each to `on_event`, which must be quick and never raise."""

    def __init__(self, on_event: Callable[[MemoryEvent], None]) -> None:
        self._on_event = on_event
        self._events: deque[MemoryEvent] = deque(maxlen=N_KEPT)

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
        event = MemoryEvent(
            dt.datetime.now(dt.UTC), kind, model, key, reason, dict(bytes_ or {}), round(seconds, 3)
        )
        if kind == "refused":  # asked for again and again, one model would push out all other events
            same = [old for old in self._events if old.kind == kind and old.key == key]
            for old in same:
                self._events.remove(old)
        self._events.append(event)
        level = _LEVELS.get(kind, logging.WARNING)
        logger.log(
            level,
            "%s %s (%s, %.2f s): %s",
            kind,
            model,
            in_words(event.bytes),
            seconds,
            reason,
            extra={"event": kind, "model": model},
        )
        self._on_event(event)

    def events(self) -> Sequence[MemoryEvent]:
        """Returns what is kept, newest last."""
        return list(self._events)

    def of(self, key: str) -> tuple[MemoryEvent, ...]:
        """Returns what is kept of one model, newest last."""
        return tuple(event for event in self._events if event.key == key)
