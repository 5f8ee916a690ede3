"""Subscriptions: which inputs are in flight and which jobs wait for them."""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence

import numpy as np

from turbov2.batching.cache import CachedVector, VectorCache
from turbov2.batching.fair import FairQueue
from turbov2.batching.items import Answer, Content, Item, State, size_of
from turbov2.batching.ragged import pieces_of
from turbov2.errors import TurboError
from turbov2.types import DENSE, Outputs, TokenBatch


class Subscriptions:
    """Computes nothing: makes an item of each input that is new, and hands results to all who want them."""

    def __init__(self, queue: FairQueue, cache: VectorCache | None) -> None:
        self._queue = queue
        self._cache = cache
        self._in_flight: dict[Hashable, Item] = {}
        self._has_dead = False  # a job left: some tokenised items may be wanted by nobody

    def __len__(self) -> int:
        return len(self._in_flight)

    def enter(self, answer: Answer, rows: range, now_s: float) -> None:
        """Afterwards these inputs are answered, or in flight with the job among their subscribers."""
        inputs = answer.job.inputs
        for row in rows:
            raw = inputs[row]
            content: Content = raw if isinstance(raw, str | tuple) else tuple(raw)
            key = content if answer.job.task is DENSE else (answer.job.task, content)
            if self._cache is None or not self._recall(self._cache, answer, row, key):
                self._subscribe(answer, row, content, key, now_s)
        if answer.is_live and answer.waiting:
            self._queue.put(answer)

    def leave(self, answer: Answer) -> None:
        """Afterwards nothing of a job that ended waits, unless others want it as well."""
        answer.end()
        for item in answer.waiting:
            if item.state is State.QUEUED and not item.is_wanted():
                self._in_flight.pop(item.key, None)
        answer.waiting.clear()
        self._has_dead = True

    def drop_unwanted(self) -> None:
        """Afterwards all tokenised items that wait are wanted by somebody."""
        if not self._has_dead:
            return
        self._has_dead = False
        for lane in self._queue.lanes:
            if dead := [item for item in lane.ready if not item.is_wanted()]:
                self._land(dead)
                lane.drop(dead)

    def wanted(self, items: Sequence[Item]) -> list[Item]:
        """Returns those that somebody waits for. The others are in flight no more."""
        wanted: list[Item] = []
        dead: list[Item] = []
        for item in items:
            (wanted if item.is_wanted() else dead).append(item)
        self._land(dead)
        return wanted

    def take_tokens(self, items: Sequence[Item], tokens: TokenBatch, taken_s: float) -> None:
        """Afterwards the items hold their tokens, and a job that forbids cutting waits for none cut."""
        lengths, full_lengths = tokens.lengths.tolist(), tokens.full_lengths.tolist()
        start = 0
        for item, length, full_length in zip(items, lengths, full_lengths, strict=True):
            item.ids = tokens.ids[start : start + length]
            item.length, item.full_length = length, full_length
            start += length
        if tokens.second_starts is not None:
            for item, second_start in zip(items, tokens.second_starts.tolist(), strict=True):
                item.second_start = second_start
        for answer in {answer for item in items for answer, _ in item.subscribers}:
            answer.tokenize_s += taken_s
        if lengths != full_lengths:
            self._refuse_cut(items)

    def fail(self, items: Sequence[Item], error: TurboError) -> None:
        """Afterwards all who waited for these items know why there is no vector."""
        self._land(items)
        for item in items:
            for answer, row in item.subscribers:
                answer.fail(row, error)

    def fill(self, items: Sequence[Item], outputs: Outputs, bad: Collection[int], taken_s: float) -> None:
        """Afterwards all who waited for these items have their rows of `outputs`, save the `bad` ones."""
        self._land(items if not bad else [item for i, item in enumerate(items) if i not in bad])
        pieces = pieces_of(outputs)
        wanted: dict[Answer, tuple[list[int], list[int]]] = {}
        for source, item in enumerate(items):
            if source in bad:
                continue
            for answer, row in item.subscribers:
                if answer.is_live:
                    pair = wanted.get(answer)
                    if pair is None:
                        pair = wanted[answer] = ([], [])
                    pair[0].append(source)
                    pair[1].append(row)
                    if pieces:
                        answer.keep(row, source, pieces)
        n = len(items)
        vectors = outputs.dense if outputs.dense is not None else np.zeros((n, 0), np.float32)
        lengths = np.fromiter((item.length for item in items), np.int32, n)
        full_lengths = np.fromiter((item.full_length for item in items), np.int32, n)
        everything = list(range(n))
        for answer, (sources, rows) in wanted.items():
            answer.inference_s += taken_s
            if sources == everything:  # usual of large jobs: spares a copy
                answer.fill(rows, vectors, lengths, full_lengths)
            else:
                answer.fill(rows, vectors[sources], lengths[sources], full_lengths[sources])
        if self._cache is not None and not pieces:
            for source, item in enumerate(items):
                if source not in bad and item.alone is None:
                    entry = CachedVector(vectors[source], item.length, item.full_length)
                    self._cache.put(item.key, item.content, entry)

    def _refuse_cut(self, items: Sequence[Item]) -> None:
        self._has_dead = True
        for item in items:
            item.subscribers = [
                (answer, row)
                for answer, row in item.subscribers
                if answer.accepts(row, item.length, item.full_length)
            ]

    def _recall(self, cache: VectorCache, answer: Answer, row: int, key: Hashable) -> bool:
        cached = cache.get(key)
        if cached is None:
            return False
        if answer.accepts(row, cached.length, cached.full_length):
            answer.n_cached += 1
            one = (np.array([n], np.int32) for n in (cached.length, cached.full_length))
            answer.fill([row], cached.vector[None, :], *one)
        return True

    def _subscribe(self, answer: Answer, row: int, content: Content, key: Hashable, now_s: float) -> None:
        alone = answer if answer.job.is_alone else None
        if alone is not None:
            key = (answer, key)
        item = self._in_flight.get(key)
        if item is None:
            task, subscribers = answer.job.task, [(answer, row)]
            item = Item(key, content, size_of(content), task, now_s, answer.rank, alone, subscribers)
            self._in_flight[key] = item
        elif item.ids is None or answer.accepts(row, item.length, item.full_length):
            answer.n_joined += 1
            item.subscribers.append((answer, row))
            if answer.rank < item.rank:
                self._queue.promote(item, answer.rank)
        if item.state is State.QUEUED:
            # In its own turn as well: that may come earlier than the turn of whoever asked first.
            answer.waiting.append(item)

    def _land(self, items: Sequence[Item]) -> None:
        for item in items:
            self._in_flight.pop(item.key, None)
