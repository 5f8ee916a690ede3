"""A client that leaves, or a request whose time is over: it stops at once, whatever it was waiting for."""

from __future__ import annotations

import asyncio
import math

from turbov2.obs.request_meters import EXPIRED
from turbov2.wire._http import Receive

# Shorter requests end before a disconnect could save anything, and starting a task would cost them more.
AFTER_S = 0.02


class Watch:
    """Cancels the current task when its client disconnects or its time limit passes.

    While the body arrives, reading it tells of a disconnect; after that, `start` does.
    """

    __slots__ = ("_deadline", "_receive", "_task", "_timer", "_watcher", "has_expired", "has_left")

    def __init__(self, receive: Receive) -> None:
        self.has_left = False
        self.has_expired = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def limit(self, timeout_s: float) -> None:
        """From now on the request may take this long."""
        if timeout_s < math.inf:
            self._deadline = asyncio.get_running_loop().call_later(timeout_s, self._expire)

    def start(self) -> None:
        """Begins to watch, a little later. Only once the whole body has been received."""
        self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._begin)

    def stop(self) -> None:
        """Afterwards nothing is cancelled any more."""
        for timer in (self._timer, self._deadline):
            if timer is not None:
                timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()
            # Else its traceback and this object would keep each other, and with them the whole request, for
            # the cycle collector: beside a long queue it then held the loop for 0.3 s.
            self._watcher = None

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._look(), name="watch for disconnect")

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        self.leave()

    def leave(self) -> None:
        """The client left: the request stops."""
        if self._task is not None and not self.has_expired:
            self.has_left = True
            self._task.cancel()

    def _expire(self) -> None:
        if self._task is not None and not self.has_left:
            self.has_expired = True
            self._task.cancel(EXPIRED)
