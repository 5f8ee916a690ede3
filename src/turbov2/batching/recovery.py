"""Recovery: what becomes of a batch that did not go well."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Sequence

from turbov2.batching.fair import Batch
from turbov2.batching.forward import Computes, Forward
from turbov2.batching.items import Item
from turbov2.batching.jobs import OomStep
from turbov2.batching.pace import Pace
from turbov2.batching.subscriptions import Subscriptions
from turbov2.errors import NotFinite, OutOfMemory, TurboError

logger = logging.getLogger(__name__)
_RETRY_AFTER_OOM_S = 5.0


class Recovery:
    """Returns the batches that run again, and fails the items that have had their chances.

    What runs again waits as a batch of its lane: other lanes have their turns in between.
    """

    def __init__(
        self,
        runner: Computes,
        subscriptions: Subscriptions,
        pace: Pace,
        relieve: Callable[[], Awaitable[None]],
    ) -> None:
        self._runner = runner
        self._subscriptions = subscriptions
        self._pace = pace
        self._relieve = relieve

    def isolate(self, batch: Batch, error: TurboError) -> list[Batch]:
        """Returns the halves of a batch that failed, so that log2 n forwards find one guilty item."""
        if len(batch.items) > 1:
            return _halves(batch)
        self._subscriptions.fail(batch.items, error)
        return []

    def doubt(self, batch: Batch, items: Sequence[Item]) -> list[Batch]:
        """Returns batches of one for items whose rows hold NaN or infinity, to compute precisely."""
        if not items:
            return []
        if not batch.is_precise:
            return [Batch([item], batch.lane, is_again=True, is_precise=True) for item in items]
        message = "the model gave NaN or infinity, also alone and in float32; change the text"
        self._subscriptions.fail(items, NotFinite(message, param="input"))
        return []

    async def make_room(self, forward: Forward, error: OutOfMemory) -> list[Batch]:
        """Returns halves, or the only item for one more try, after all memory was freed that can be."""
        batch = forward.batch
        if batch.is_last_try:
            forward.oom_steps = ("gave_up",)
            self._pace.restore()
            retry_after_s = error.retry_after_s or _RETRY_AFTER_OOM_S
            self._subscriptions.fail(batch.items, OutOfMemory(error.message, retry_after_s=retry_after_s))
            return []
        try:
            await self._runner.free_caches()
            await self._relieve()
        except Exception:  # whatever it was, the next try shows whether there is room
            logger.exception("freeing memory failed")
        freed: tuple[OomStep, ...] = ("free_caches", "evict")
        if len(batch.items) > 1:
            forward.oom_steps = (*freed, "split")
            self._pace.shrink(forward.cost)
            return _halves(batch)
        forward.oom_steps = (*freed, "retry")
        return [Batch(batch.items, batch.lane, is_again=True, is_precise=batch.is_precise, is_last_try=True)]


def _halves(batch: Batch) -> list[Batch]:
    half = len(batch.items) // 2
    return [Batch(part, batch.lane, is_again=True) for part in (batch.items[:half], batch.items[half:])]
