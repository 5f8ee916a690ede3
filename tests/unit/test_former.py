"""Which waiting inputs share a forward."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.batching.former import batch_cost, choose_rows


def choose(lengths: list[int], max_cost: int, max_items: int = 1000, *, is_padded: bool = True) -> list[int]:
    return choose_rows(np.array(lengths, np.int32), max_cost, max_items, is_padded=is_padded).tolist()


@pytest.mark.parametrize(
    ("lengths", "is_padded", "cost"),
    [([3, 7, 5], True, 21), ([3, 7, 5], False, 15), ([0], True, 1), ([0, 0, 2], False, 4), ([0, 2], True, 4)],
)
def test_cost(lengths: list[int], is_padded: bool, cost: int) -> None:
    assert batch_cost(np.array(lengths, np.int32), is_padded=is_padded) == cost


@pytest.mark.parametrize(
    ("lengths", "max_cost", "rows"),
    [
        ([10], 100, [0]),
        ([10] * 3, 30, [0, 1, 2]),
        ([10] * 3, 29, [0, 1]),  # first in, first out among equals
        ([1000, 1], 100, [0]),  # the first runs whatever it costs
        ([10, 50, 10], 30, [0, 2]),  # a long one is passed over, not waited for
        ([50, 10, 49, 10, 48], 150, [0, 2, 4]),  # neighbours in length waste least
        ([10, 10, 10, 20], 60, [0, 1, 2]),  # 30 tokens, not 40 padded to 60 by leaving one out
        ([20, 10, 10, 10], 60, [0, 1, 2]),  # below a longer one the earliest of equals go
        ([1, 30, 30], 60, [0, 1]),  # fills the budget, though it pads the first
        ([0] * 4, 4, [0, 1, 2, 3]),
        ([0] * 4, 2, [0, 1]),  # an empty input takes a row as well
        ([10, 10], 0, [0]),
    ],
)
def test_padded(lengths: list[int], max_cost: int, rows: list[int]) -> None:
    assert choose(lengths, max_cost) == rows


@pytest.mark.parametrize(
    ("lengths", "max_cost", "rows"),
    [
        ([10, 50, 10], 60, [0, 1]),
        ([10, 50, 10], 70, [0, 1, 2]),
        ([100, 1], 50, [0]),
        ([0, 0, 0], 2, [0, 1]),
    ],
)
def test_unpadded_goes_by_order_alone(lengths: list[int], max_cost: int, rows: list[int]) -> None:
    assert choose(lengths, max_cost, is_padded=False) == rows


@pytest.mark.parametrize("is_padded", [True, False])
def test_rows_are_bounded(is_padded: bool) -> None:
    assert choose([1] * 10, 1000, 4, is_padded=is_padded) == [0, 1, 2, 3]


_lengths = st.lists(st.integers(0, 40), min_size=1, max_size=40)


@given(_lengths, st.integers(0, 300), st.integers(1, 12), st.booleans())
def test_batches_are_lawful(lengths: list[int], max_cost: int, max_items: int, is_padded: bool) -> None:
    rows = choose(lengths, max_cost, max_items, is_padded=is_padded)
    assert rows == sorted(set(rows))
    assert rows[0] == 0
    assert len(rows) <= max_items
    if len(rows) > 1:
        assert batch_cost(np.array(lengths, np.int32)[rows], is_padded=is_padded) <= max_cost
    for row in set(range(len(lengths))) - set(rows):
        assert not any(lengths[row] == lengths[other] and row < other for other in rows), (
            "first in, first out"
        )


@given(_lengths, st.integers(1, 300))
def test_padded_batches_hold_the_most_tokens(lengths: list[int], max_cost: int) -> None:
    """Compared with every run of neighbours in length around the first."""
    rows = choose(lengths, max_cost)
    order = sorted(range(len(lengths)), key=lambda i: max(lengths[i], 1))
    costs = [max(lengths[i], 1) for i in order]
    first = order.index(0)
    best = max(
        (
            sum(costs[start:end])
            for start in range(first + 1)
            for end in range(first + 1, len(costs) + 1)
            if costs[end - 1] * (end - start) <= max_cost
        ),
        default=costs[first],
    )
    assert sum(max(lengths[row], 1) for row in rows) == best


@given(_lengths, st.integers(0, 120), st.booleans())
def test_everyone_gets_a_turn(lengths: list[int], max_cost: int, is_padded: bool) -> None:
    """However large they are, at most as many batches run as inputs wait."""
    for _ in range(len(lengths)):
        if lengths:
            rows = choose(lengths, max_cost, is_padded=is_padded)
            lengths = [length for row, length in enumerate(lengths) if row not in rows]
    assert lengths == []
