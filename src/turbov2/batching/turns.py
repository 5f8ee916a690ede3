"""Turns: who computes next where nobody shares a call.

Lanes and keys have the shares that turbov2.batching.fair gives them, by the same start-time fair queueing.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from operator import attrgetter

from turbov2.batching.fair import WEIGHTS
from turbov2.batching.items import LANES
from turbov2.types import Lane

_tag = attrgetter("tag")


class Share:
    """One key's waiters in one lane, first in, first out."""

    __slots__ = ("lane", "tag", "waiters")

    def __init__(self, lane: LaneShare) -> None:
        self.lane = lane
        self.tag = 0.0  # virtual time: what it took
        self.waiters: deque[asyncio.Future[None]] = deque()


class LaneShare:
    """One lane: the shares of its keys."""

    def __init__(self, lane: Lane) -> None:
        self.weight = WEIGHTS[lane]
        self.tag = 0.0  # virtual time: seconds it took, by weight
        self.virtual = 0.0  # tag of the key served last
        self._shares: dict[str, Share] = {}  # as many as there are keys

    def share(self, key_id: str) -> Share:
        """Returns the key's share."""
        return self._shares.setdefault(key_id, Share(self))

    def backlogged(self) -> list[Share]:
        """Returns the shares that wait."""
        return [share for share in self._shares.values() if share.waiters]


class Turns:
    """Gives out turns, as many at a time as `n_slots` says at that moment."""

    def __init__(self, n_slots: Callable[[], int]) -> None:
        self._n_slots = n_slots
        self._n_taken = self._n_waiting = 0
        self._virtual = 0.0  # tag of the lane served last
        self._lanes = {lane: LaneShare(lane) for lane in LANES}

    @property
    def is_free(self) -> bool:
        """Whether a turn would come at once."""
        return not self._n_waiting and self._n_taken < self._n_slots()

    async def take(self, lane: Lane, key_id: str, *, is_first: bool) -> Share:
        """Returns when the turn has come; `pay` ends it.

        is_first: False for a job that had a turn before; it goes before the other jobs of its key.
        Raises: what `close` was given.
        """
        share = self._lanes[lane].share(key_id)
        if is_first:
            self._wake(share)
        if self.is_free:
            self._grant(share)
            return share
        turn = asyncio.get_running_loop().create_future()
        (share.waiters.append if is_first else share.waiters.appendleft)(turn)
        self._n_waiting += 1
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # it had come, and nobody is there to use it
                self.pay(share, 0, 0.0)
            raise
        return share

    def pay(self, share: Share, cost: int, taken_s: float) -> None:
        """Afterwards the turn is over; the next begins once the same job's next part could enter."""
        share.tag += cost
        share.lane.tag += taken_s / share.lane.weight
        self._n_taken -= 1
        if self._n_waiting:
            asyncio.get_running_loop().call_soon(self._give)

    def _give(self) -> None:
        while self._n_waiting and self._n_taken < self._n_slots():
            share = self._next()
            turn = share.waiters.popleft()
            self._n_waiting -= 1
            if not turn.cancelled():
                self._grant(share)
                turn.set_result(None)

    def close(self, error: Exception) -> None:
        """Afterwards all who waited have failed with the error."""
        for share in (share for lane in self._lanes.values() for share in lane.backlogged()):
            while share.waiters:
                turn = share.waiters.popleft()
                if not turn.done():
                    turn.set_exception(error)
        self._n_waiting = 0

    def _wake(self, share: Share) -> None:
        """Afterwards a lane or key that was idle has no claim to the turns it did not take meanwhile."""
        if not share.lane.backlogged():
            share.lane.tag = max(share.lane.tag, self._virtual)
        if not share.waiters:
            share.tag = max(share.tag, share.lane.virtual)

    def _next(self) -> Share:
        lane = min((lane for lane in self._lanes.values() if lane.backlogged()), key=_tag)
        return min(lane.backlogged(), key=_tag)

    def _grant(self, share: Share) -> None:
        self._n_taken += 1
        share.lane.virtual = max(share.lane.virtual, share.tag)
        self._virtual = max(self._virtual, share.lane.tag)
