"""How often an utterance that goes on is read."""

from __future__ import annotations

import time
from collections.abc import Callable

from turbov2.speech.mel import SAMPLE_RATE_HZ

_STEP_SAMPLES = SAMPLE_RATE_HZ // 2  # of new sound, before an utterance that goes on is read again


class Pace:
    """When an utterance that goes on is read again: after a step of new sound, and half the time at most."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        self._now_s = now_s
        self._rests_until_s = float("-inf")

    def is_due(self, n_new_samples: int) -> bool:
        """Returns whether there is enough to be read, and the last reading lies back as long as it took."""
        return n_new_samples >= _STEP_SAMPLES and self._now_s() >= self._rests_until_s

    def read(self, began_s: float) -> None:
        """Afterwards a reading that began then has ended now."""
        now_s = self._now_s()
        self._rests_until_s = now_s + (now_s - began_s)

    def now_s(self) -> float:
        """Returns the clock's time."""
        return self._now_s()
