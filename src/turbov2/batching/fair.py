"""FairQueue: whose turn it is, by start-time fair queueing on two levels.

Lanes share the device's seconds 8:4:1 and, within a lane, API keys share its tokens equally. Each share has
a virtual time, which rises by what it used divided by its weight; the smallest is next. A share that was
idle starts at the present virtual time, so nobody saves up turns, and the one furthest behind always wins, so
nobody starves: bulk gets a thirteenth under any load. After P. Goyal, H. Vin, H. Cheng, "Start-time Fair
Queueing" (SIGCOMM 1996).
"""

from __future__ import annotations

import bisect
import heapq
import itertools
from collections import deque
from collections.abc import Sequence
from operator import attrgetter

import msgspec
import numpy as np

from turbov2.batching.former import choose_rows
from turbov2.batching.items import LANES, Answer, Item, State
from turbov2.types import EmbedTask

WEIGHTS = {"interactive": 8, "default": 4, "bulk": 1}
MAX_CHUNK_ITEMS = 256
# Rows of a forward, which keeps near 1 ms what the loop does with them: 512 of 32 tokens are 16,384.
MAX_BATCH_ITEMS = 512
_CHARS_PER_TOKEN = 4  # of English text under common tokenizers
_MAX_ESTIMATE = 512  # tokens charged ahead: as much as most encoders read of a text
_N_AHEAD = 2  # batches of tokenised items kept ready in each lane

_tag = attrgetter("tag")


class Batch(msgspec.Struct, eq=False):
    """Items that share one forward."""

    items: list[Item]
    lane: LaneQueue
    is_again: bool = False  # they were in a forward that failed
    is_precise: bool = False  # to compute in float32 throughout
    is_last_try: bool = False  # it ran out of memory alone: if it does so again, it fails

    @property
    def task(self) -> EmbedTask:
        """What all its items are for."""
        return self.items[0].task


class Flow:
    """One key's jobs in one lane, first in, first out."""

    __slots__ = ("answers", "is_active", "owed", "tag")

    def __init__(self) -> None:
        self.answers: deque[Answer] = deque()
        self.is_active = False
        self.tag = 0.0
        self.owed = 0  # tokens by which estimates were wrong; corrected with the next item

    def head(self) -> Item | None:
        """Returns the next item, after dropping those that others took or nobody wants."""
        while self.answers:
            waiting = self.answers[0].waiting
            while waiting:
                if waiting[0].state is State.QUEUED:
                    return waiting[0]
                waiting.popleft()
            self.answers.popleft().is_queued = False
        return None

    def take(self, item: Item, estimate: int) -> None:
        """Afterwards `item`, the head, is being tokenised and the flow has paid what it probably costs."""
        item.estimate = estimate
        item.state = State.TOKENIZING
        item.tag = self.tag
        step = estimate + self.owed
        if step > 0:
            self.tag += step
            self.owed = 0
        else:
            self.owed = step
        self.answers[0].waiting.popleft()


class LaneQueue:
    """One lane: flows of items to tokenise, then a list of tokenised ones in order of their tags."""

    def __init__(self, rank: int) -> None:
        self.name = LANES[rank]
        self.rank = rank
        self.tag_s = 0.0
        self.ready: list[Item] = []
        self.n_ready_tokens = 0
        self.again: deque[Batch] = deque()  # what runs before anything else of the lane
        self._flows: dict[str, Flow] = {}  # as many as there are keys
        self._active: list[tuple[float, int, Flow]] = []  # heap by tag, then first in, first out
        self._order = itertools.count()
        self.virtual = 0.0  # tag of the most urgent item of the last batch

    def is_backlogged(self) -> bool:
        """Returns whether it has anything to do."""
        return bool(self._active or self.ready or self.again)

    def wants_tokens(self, max_cost: int) -> bool:
        """Returns whether little is ready of what waits, or something more urgent came."""
        return bool(self._active) and (self._room(max_cost) > 0 or self._is_urgent())

    def put(self, answer: Answer) -> None:
        """Afterwards the answer's waiting items have turns."""
        if answer.is_queued:
            return
        flow = self._flows.setdefault(answer.job.key_id, Flow())
        flow.answers.append(answer)
        answer.is_queued = True
        if not flow.is_active:
            flow.is_active = True
            flow.tag = max(flow.tag, self.virtual)
            heapq.heappush(self._active, (flow.tag, next(self._order), flow))

    def take_chunk(self, max_cost: int, max_chars: int) -> tuple[list[Item], list[Flow]]:
        """Returns the items to tokenise together, all texts or all ids, and the flows that pay for each."""
        items: list[Item] = []
        flows: list[Flow] = []
        n_chars, room = 0, self._room(max_cost)
        while self._active and len(items) < MAX_CHUNK_ITEMS and (room > 0 or self._is_urgent()):
            flow = self._active[0][2]
            item = flow.head()
            if item is None:
                heapq.heappop(self._active)
                flow.is_active = False
                continue
            n_chars += item.n_chars
            if items and (n_chars > max_chars or type(item.content) is not type(items[0].content)):
                break
            is_ids = type(item.content) is tuple and item.n_chars == len(item.content)
            estimate = item.n_chars if is_ids else item.n_chars // _CHARS_PER_TOKEN + 1
            flow.take(item, estimate if estimate < _MAX_ESTIMATE else _MAX_ESTIMATE)
            if item.rank > self.rank:
                item.rank = self.rank
            heapq.heapreplace(self._active, (flow.tag, next(self._order), flow))
            room -= item.estimate
            items.append(item)
            flows.append(flow)
        return items, flows

    def _room(self, max_cost: int) -> int:
        """Returns how many tokens more are worth keeping ready; not above 0: enough."""
        is_full = len(self.ready) >= _N_AHEAD * MAX_BATCH_ITEMS
        return 0 if is_full else _N_AHEAD * max_cost - self.n_ready_tokens

    def _is_urgent(self) -> bool:
        """Returns whether the next text comes before what is ready: a key that was idle is back."""
        return bool(self.ready) and self._active[0][0] < self.ready[-1].tag

    def make_ready(self, item: Item) -> None:
        """Afterwards the item, whose tokens are known, waits for a forward."""
        item.state = State.READY
        self.n_ready_tokens += item.length
        if not self.ready or self.ready[-1].tag <= item.tag:
            self.ready.append(item)
        else:
            bisect.insort(self.ready, item, key=_tag)

    def form(self, max_cost: int, max_items: int, *, is_padded: bool) -> Batch:
        """Returns the batch that is due. Needs something ready."""
        if self.again:
            return self.again.popleft()
        first = self.ready[0]
        self.virtual = max(self.virtual, first.tag)
        mates = [item for item in self.ready if item.alone is first.alone and item.task == first.task]
        lengths = np.fromiter((item.length for item in mates), np.int32, len(mates))
        rows = choose_rows(lengths, max_cost, max_items, is_padded=is_padded)
        items = [mates[row] for row in rows.tolist()]
        for item in items:
            item.state = State.FORMED
        self.n_ready_tokens -= int(lengths[rows].sum())
        self.ready = [item for item in self.ready if item.state is State.READY]
        return Batch(items, self)

    def drop(self, dead: Sequence[Item]) -> None:
        """Afterwards these ready items wait no more."""
        for item in dead:
            item.state = State.FORMED
        self.ready = [item for item in self.ready if item.state is State.READY]
        self.n_ready_tokens = sum(item.length for item in self.ready)


class FairQueue:
    """The lanes and their common virtual time."""

    def __init__(self) -> None:
        self.lanes = tuple(LaneQueue(rank) for rank in range(len(LANES)))
        self._virtual_s = 0.0

    def put(self, answer: Answer) -> None:
        """Afterwards the answer's waiting items have turns."""
        lane = self.lanes[answer.rank]
        self._wake(lane)
        lane.put(answer)

    def next_to_tokenize(self, max_cost: int) -> LaneQueue | None:
        """Returns the lane whose texts are tokenised next."""
        return min((lane for lane in self.lanes if lane.wants_tokens(max_cost)), key=_tag_s, default=None)

    def next_to_run(self) -> LaneQueue | None:
        """Returns the lane whose turn it is. It is to run a batch and then to be charged for it."""
        lane = min((lane for lane in self.lanes if lane.ready or lane.again), key=_tag_s, default=None)
        if lane is not None:
            self._virtual_s = max(self._virtual_s, lane.tag_s)
        return lane

    def charge(self, lane: LaneQueue, taken_s: float) -> None:
        """Afterwards the lane has paid for a forward."""
        lane.tag_s += taken_s / WEIGHTS[lane.name]

    def make_ready(self, items: Sequence[Item], flows: Sequence[Flow], lane: LaneQueue) -> None:
        """Afterwards items that `lane` gave to be tokenised wait in the fastest lane that wants them."""
        for item, flow in zip(items, flows, strict=True):
            flow.owed += item.length - item.estimate
            if item.rank != lane.rank:
                self._join(item)
            else:
                lane.make_ready(item)

    def promote(self, item: Item, rank: int) -> None:
        """Afterwards an item that a faster lane wants as well goes with that lane, if it does not run yet."""
        if item.state is State.READY:
            self.lanes[item.rank].drop([item])
            item.rank = rank
            self._join(item)
        item.rank = rank

    def _join(self, item: Item) -> None:
        """Afterwards the item is the most urgent one of its lane: tags of another lane mean nothing there."""
        lane = self.lanes[item.rank]
        self._wake(lane)
        item.tag = lane.virtual
        lane.make_ready(item)

    def _wake(self, lane: LaneQueue) -> None:
        if not lane.is_backlogged():
            lane.tag_s = max(lane.tag_s, self._virtual_s)


_tag_s = attrgetter("tag_s")
