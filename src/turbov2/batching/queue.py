"""Admission: requests that wait for one runner, in order, up to a limit."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence

from turbov2.batching.former import Cost, take_next
from turbov2.errors import QueueFull, RunnerCrashed
from turbov2.types import EmbedBatch, EmbedOutput


class Item:
    """One request's inputs and the future its caller awaits."""

    __slots__ = ("batch", "cost", "done")

    def __init__(self, batch: EmbedBatch) -> None:
        self.batch = batch
        self.cost = Cost.of(batch)
        self.done: asyncio.Future[EmbedOutput] = asyncio.get_running_loop().create_future()


class Queue:
    """First in, first out; items whose caller has left are skipped."""

    def __init__(self, max_waiting: int) -> None:
        self._max_waiting = max_waiting
        self._items: list[Item] = []
        self._arrived = asyncio.Event()
        self._is_closed = False

    def __len__(self) -> int:
        return len(self._items)

    def admit(self, batch: EmbedBatch) -> Item:
        """Returns the waiting item. Raises, at once: QueueFull at the limit, RunnerCrashed after `close`."""
        if self._is_closed:
            raise ended()
        if len(self._items) >= self._max_waiting:
            raise QueueFull(
                f"{len(self._items)} requests already wait for this model, the limit is {self._max_waiting}",
                retry_after_s=1,
            )
        item = Item(batch)
        self._items.append(item)
        self._arrived.set()
        return item

    def forget(self, item: Item) -> None:
        """Afterwards the item, whose caller has left, takes no place in the queue."""
        with contextlib.suppress(ValueError):  # it was taken already
            self._items.remove(item)

    async def take(self, max_cost: int) -> Sequence[Item]:
        """Returns the next batch's items, waiting until there are any."""
        while True:
            # Cancelled callers' futures are done at once; the callers come to `forget` only a step later.
            self._items = [item for item in self._items if not item.done.done()]
            if self._items:
                break
            self._arrived.clear()
            await self._arrived.wait()
        positions = take_next([(item.batch, item.cost) for item in self._items], max_cost)
        taken = [self._items[position] for position in positions]
        for position in reversed(positions):
            del self._items[position]
        return taken

    def close(self) -> Sequence[Item]:
        """Returns the items nobody will run. Afterwards the queue is empty and admits nothing."""
        self._is_closed = True
        left, self._items = self._items, []
        return left


def ended() -> RunnerCrashed:
    """Returns the error of requests that come too late for this runner."""
    return RunnerCrashed("the model's runner ended before this request was done; send it again")
