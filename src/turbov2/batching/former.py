"""Which waiting inputs share the next forward: pure functions over their lengths."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from turbov2.types.embed import IntVector


def batch_cost(lengths: IntVector, *, is_padded: bool) -> int:
    """Returns what a forward of these rows costs: the longest times their number if padded, else the sum."""
    if is_padded:
        return int(lengths.max(initial=1)) * len(lengths)
    return int(np.maximum(lengths, 1).sum())


def choose_rows(lengths: IntVector, max_cost: int, max_items: int, *, is_padded: bool) -> NDArray[np.intp]:
    """Returns the positions of `lengths` that run together, rising.

    `lengths` `[n]`, n >= 1, stand in the order of urgency. The first always runs, alone if it passes
    `max_cost`. Beside it, in a padded batch, run neighbours in length: those that fill the budget with
    the most tokens and thus the least padding. Of equal lengths the earlier ones go first.
    """
    costs = np.maximum(lengths, 1).astype(np.int64)  # an empty input takes a row as well
    if not is_padded:
        n = int(np.searchsorted(np.cumsum(costs[:max_items]), max_cost, side="right"))
        return np.arange(max(n, 1))
    order = np.argsort(costs, kind="stable")
    start, end = _neighbours(costs[order], int(costs[0]), max_cost, max_items)
    return np.sort(order[_earliest(costs[order], start, end)])


def _neighbours(by_length: NDArray[np.int64], anchor: int, max_cost: int, max_items: int) -> tuple[int, int]:
    """Returns [start, end) of the run around the first row of length `anchor` that holds most tokens."""
    first = int(np.searchsorted(by_length, anchor))
    ends = np.arange(first + 1, len(by_length) + 1)
    starts = np.maximum(ends - np.minimum(max_cost // by_length[first:], max_items), 0)
    sums = np.concatenate(([0], np.cumsum(by_length)))
    n_tokens = np.where(starts <= first, sums[ends] - sums[starts], 0)
    best = int(n_tokens.argmax())
    return (int(starts[best]), int(ends[best])) if n_tokens[best] else (first, first + 1)


def _earliest(by_length: NDArray[np.int64], start: int, end: int) -> NDArray[np.intp]:
    """Returns the run's indices; where it cuts into equal lengths at its start, the earliest of them."""
    first = int(np.searchsorted(by_length, by_length[start]))
    last = min(int(np.searchsorted(by_length, by_length[start], side="right")), end)
    return np.concatenate((np.arange(first, first + last - start), np.arange(last, end)))
