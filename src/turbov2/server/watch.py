"""A client that leaves: its request stops at once, whatever it was waiting for."""

from __future__ import annotations

import asyncio

from turbov2.wire._http import Request

# Shorter requests end before a disconnect could save anything, and starting a task would cost them more.
AFTER_S = 0.02


class Watch:
    """Cancels the current task when the request's client disconnects."""

    __slots__ = ("_request", "_task", "_timer", "_watcher", "has_fired")

    def __init__(self, request: Request) -> None:
        self.has_fired = False
        self._request = request
        self._task = asyncio.current_task()
        self._watcher: asyncio.Task[None] | None = None
        self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._begin)

    def stop(self) -> None:
        """Afterwards nothing is cancelled any more."""
        self._timer.cancel()
        if self._watcher is not None:
            self._watcher.cancel()

    def _begin(self) -> None:
        if self._request.is_read:
            self._watcher = asyncio.create_task(self._look(), name="watch for disconnect")
        else:  # whoever reads the body will see the disconnect
            self._timer = asyncio.get_running_loop().call_later(AFTER_S, self._begin)

    async def _look(self) -> None:
        await self._request.disconnected()
        if self._task is not None:
            self.has_fired = True
            self._task.cancel()
