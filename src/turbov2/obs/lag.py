"""How late the event loop runs what is due: the first sign that something holds it."""

from __future__ import annotations

import asyncio
from collections import deque
from time import perf_counter

EVERY_S = 0.5
_KEPT = 120  # a minute's worth


class LoopLag:
    """Afterwards `start`, a timer tells every half second how late it came."""

    def __init__(self) -> None:
        self._lags_s: deque[float] = deque(maxlen=_KEPT)
        self._timer: asyncio.TimerHandle | None = None

    @property
    def last_s(self) -> float:
        """The latest lag; 0 before the first."""
        return self._lags_s[-1] if self._lags_s else 0.0

    @property
    def max_s(self) -> float:
        """The largest lag of the last minute."""
        return max(self._lags_s, default=0.0)

    def start(self) -> None:
        """Afterwards the running loop is measured until `stop`."""
        self._await_next()

    def stop(self) -> None:
        """Afterwards no timer is left."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _await_next(self) -> None:
        # Not loop.time(): uvloop's counts whole milliseconds.
        due_s = perf_counter() + EVERY_S
        self._timer = asyncio.get_running_loop().call_later(EVERY_S, self._measure, due_s)

    def _measure(self, due_s: float) -> None:
        self._lags_s.append(max(perf_counter() - due_s, 0.0))
        self._await_next()
