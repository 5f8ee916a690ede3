"""Admission: requests that wait for one runner, in order, up to a limit."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from turbov2.batching.former import Cost, take_next
from turbov2.errors import QueueFull
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

    def __len__(self) -> int:
        return len(self._items)

    def admit(self, batch: EmbedBatch) -> Item:
        """Returns the waiting item. Raises: QueueFull, at once, when the limit is reached."""
        if len(self._items) >= self._max_waiting:
            raise QueueFull(
                f"{len(self._items)} requests already wait for this model, the limit is {self._max_waiting}",
                retry_after_s=1,
            )
        item = Item(batch)
        self._items.append(item)
        self._arrived.set()
        return item

    async def take(self, max_cost: int) -> Sequence[Item]:
        """Returns the next batch's items, waiting until there are any."""
        while True:
            self._items = [item for item in self._items if not item.done.done()]
            if self._items:
                break
            self._arrived.clear()
            await self._arrived.wait()
        positions = set(take_next([(item.batch, item.cost) for item in self._items], max_cost))
        taken = [item for position, item in enumerate(self._items) if position in positions]
        self._items = [item for position, item in enumerate(self._items) if position not in positions]
        return taken

    def close(self) -> Sequence[Item]:
        """Returns the items nobody will run, and forgets them."""
        left, self._items = self._items, []
        return left
