"""A client that leaves: its request stops at once, whatever it was waiting for."""

from __future__ import annotations

import asyncio

from turbov2.wire._http import Receive

# Shorter requests end before a disconnect could save anything, and starting a task would cost them more.
AFTER_S = 0.02


class Watch:
    """Cancels the current task when its client disconnects; while the body arrives, reading it tells."""

    __slots__ = ("_receive", "_task", "_timer", "_watcher", "has_fired")

    def __init__(self, receive: Receive) -> None:
        self.has_fired = False
        self._receive = receive
        self._task = asyncio.current_task()
        self._timer: asyncio.TimerHandle | None = None
        self._watcher: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to watch, a little later. Only once the whole body has been received."""
        self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._begin)

    def stop(self) -> None:
        """Afterwards nothing is cancelled any more."""
        if self._timer is not None:
            self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        self._watcher = asyncio.create_task(self._look(), name="watch for disconnect")

    async def _look(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
        if self._task is not None:
            self.has_fired = True
            self._task.cancel()
