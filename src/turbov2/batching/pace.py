"""How large a batch may be, so that nobody waits long for a neighbour's."""

from __future__ import annotations

import msgspec

from turbov2.types import Lane

# One call of the tokenizer, about 4 ms of it: an arrival waits no longer for a neighbour's texts.
MAX_CHUNK_CHARS = 16_384
_SHORT_CHUNKS = 8  # calls made of it while interactive requests come: half a millisecond each
_INTERACTIVE_FOR_S = 2.0  # one that comes so soon after another lets a third be expected for as long
# A batch of another lane may take this many times an interactive one. Whoever arrives behind it then
# waits 1.25 forwards and takes one: 2.25, below the promised 3 by what tokenising and noise add.
_SHARE = 1.25
_LEAST_S = 0.0005  # shorter forwards would cost more around them than they take
_N_FULL = 500  # batches near a shrunk limit before a larger one is tried: a minute of a busy model
_ALPHA = 0.2  # weight of the newest interactive forward in their average


class BatchLimits(msgspec.Struct, frozen=True):
    """What was learnt of a model at load."""

    max_cost: int  # tokens, padded if the model pads, whose forward takes about one slice
    seconds_per_cost: float  # of such a forward


class Expectation:
    """Whether interactive requests come. A single one tells nothing of the next; two in short order do."""

    def __init__(self) -> None:
        self._last_s = self._until_s = float("-inf")

    def note(self, now_s: float) -> None:
        """Takes note of an interactive request."""
        if now_s - self._last_s < _INTERACTIVE_FOR_S:
            self._until_s = now_s + _INTERACTIVE_FOR_S
        self._last_s = now_s

    def is_near(self, now_s: float) -> bool:
        """Returns whether one came lately."""
        return now_s < self._until_s


class Pace:
    """Learnt limits, corrected by what real forwards take.

    While interactive requests come, batches of the other lanes shrink to about what an interactive
    forward takes. Their size follows by feedback, size x wanted / taken, because a forward has a fixed
    part that no seconds per token express: the fixed point is the wanted time whatever that part is.
    """

    def __init__(self, limits: BatchLimits) -> None:
        self._max_cost = limits.max_cost
        self._learnt_cost = limits.max_cost
        self._n_full = 0  # batches near a limit that was shrunk, since then
        self._seconds_per_cost = limits.seconds_per_cost
        self._interactive = Expectation()
        self._interactive_s = 0.0  # what an interactive forward takes; 0: none ran yet
        self._short_cost = 0.0  # of a batch that takes _SHARE of that

    @property
    def longest_cost(self) -> int:
        """What a batch may cost when no interactive request is near."""
        return self._max_cost

    def expect_interactive(self, now_s: float) -> None:
        """Takes note of an interactive request: if they come, other lanes' batches are short for a while."""
        self._interactive.note(now_s)

    def max_chars(self, lane: Lane, now_s: float) -> int:
        """Returns how much text of the lane may be tokenised in one call."""
        is_near = lane != "interactive" and self._interactive.is_near(now_s)
        return MAX_CHUNK_CHARS // _SHORT_CHUNKS if is_near else MAX_CHUNK_CHARS

    def max_cost(self, lane: Lane, now_s: float) -> int:
        """Returns what the lane's next batch may cost."""
        if lane == "interactive" or not self._interactive.is_near(now_s) or not self._interactive_s:
            return self._max_cost
        return max(int(min(self._short_cost, self._max_cost)), 1)

    def ran(self, lane: Lane, cost: int, taken_s: float) -> None:
        """Corrects the limits by one forward that went well."""
        self._grow_back(cost)
        if lane == "interactive":
            if not self._interactive_s:
                self._interactive_s = taken_s
                self._short_cost = self._short_s(taken_s) / self._seconds_per_cost
            self._interactive_s += _ALPHA * (taken_s - self._interactive_s)
        elif self._interactive_s and cost >= self._short_cost / 2:  # a smaller one says little
            wanted = cost * self._short_s(self._interactive_s) / max(taken_s, 1e-6)
            self._short_cost = (self._short_cost + min(wanted, self._max_cost)) / 2

    def shrink(self, cost: int) -> None:
        """Halves the limit after a batch of this cost ran out of memory."""
        self._max_cost = max(min(self._max_cost, cost) // 2, 1)
        self._n_full = 0

    def restore(self) -> None:
        """Takes back what was shrunk, after one item alone ran out of memory: it was at fault."""
        self._max_cost = self._learnt_cost

    @staticmethod
    def _short_s(interactive_s: float) -> float:
        return max(_SHARE * interactive_s, _LEAST_S)

    def _grow_back(self, cost: int) -> None:
        """Doubles a limit that was shrunk, once enough batches near it went well."""
        if self._max_cost < self._learnt_cost and 2 * cost > self._max_cost:
            self._n_full += 1
            if self._n_full >= _N_FULL:
                self._max_cost = min(2 * self._max_cost, self._learnt_cost)
                self._n_full = 0
