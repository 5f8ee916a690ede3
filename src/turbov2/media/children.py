"""The decoding children there are: started when needed, used again, ended when idle."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from turbov2.errors import Stopping
from turbov2.media.child import Child
from turbov2.media.limits import MediaLimits


class Children:
    """Gives children out and takes them back. How many are out at once is the caller's affair."""

    def __init__(self, limits: MediaLimits, idle_s: float, executable: str) -> None:
        self._limits = limits
        self._idle_s = idle_s
        self._executable = executable
        self._idle: dict[Child, asyncio.TimerHandle] = {}  # the one used last comes last
        self._children: set[Child] = set()
        self._is_closed = False

    @property
    def pids(self) -> list[int]:
        """Process ids of the children there are."""
        return [child.pid for child in self._children]

    def check_open(self) -> None:
        """Raises: Stopping, once they are closed."""
        if self._is_closed:
            raise Stopping("the server is stopping") from None

    async def take(self, key: int = 0) -> Child:
        """Returns a child of the caller's own: one that holds the document, else the one used last.

        Raises: Stopping; DecoderCrashed and DeadlineExceeded when none can be started.
        """
        self.check_open()
        usable = [child for child in self._idle if not child.is_spent]
        if usable:
            chosen = next((child for child in usable if key and child.holds == key), usable[-1])
            self._idle.pop(chosen).cancel()
            return chosen
        return await self._start()

    def give_back(self, child: Child | None) -> None:
        """Afterwards the child may be taken again, or is ended: when it is spent, or all are."""
        if child is None:
            return
        if child.is_spent or self._is_closed:
            child.end()
        else:
            loop = asyncio.get_running_loop()
            self._idle[child] = loop.call_later(self._idle_s, self._end_idle, child)

    async def close(self, *users: Collection[asyncio.Task[Any]]) -> None:
        """Afterwards there are none, and the tasks that used them have ended."""
        self._is_closed = True
        for timer in self._idle.values():
            timer.cancel()
        self._idle.clear()
        while tasks := [
            *(task for tasks in users for task in tasks),
            *(child.ended for child in self._children),
        ]:
            for child in self._children:
                child.end()
            await asyncio.wait(tasks)

    async def _start(self) -> Child:
        child = await Child.spawn(self._executable)
        self._children.add(child)
        child.ended.add_done_callback(lambda _: self._lose(child))
        try:
            await child.begin(self._limits)
        except BaseException:
            child.end()
            raise
        return child

    def _end_idle(self, child: Child) -> None:
        del self._idle[child]
        child.end()

    def _lose(self, child: Child) -> None:
        self._children.discard(child)
        if timer := self._idle.pop(child, None):
            timer.cancel()
