"""Which lane a request waits in when nobody says."""

from __future__ import annotations

import pytest

from turbov2.engine.lanes import BULK_CHARS, BULK_ITEMS, INTERACTIVE_CHARS, INTERACTIVE_ITEMS, lane_of
from turbov2.types import Lane


@pytest.mark.parametrize(
    ("n_items", "n_chars", "lane"),
    [
        (0, 0, "interactive"),
        (1, 1, "interactive"),
        (INTERACTIVE_ITEMS, INTERACTIVE_CHARS, "interactive"),
        (INTERACTIVE_ITEMS + 1, 1, "default"),
        (1, INTERACTIVE_CHARS + 1, "default"),
        (BULK_ITEMS - 1, BULK_CHARS - 1, "default"),
        (BULK_ITEMS, 1, "bulk"),
        (1, BULK_CHARS, "bulk"),
        (100_000, 10**9, "bulk"),
    ],
)
def test_the_size_decides(n_items: int, n_chars: int, lane: Lane) -> None:
    assert lane_of(None, n_items, n_chars) == lane


@pytest.mark.parametrize("asked", ["interactive", "default", "bulk"])
@pytest.mark.parametrize("n_items", [1, 20, 1000])
def test_what_was_asked_for_counts_more(asked: Lane, n_items: int) -> None:
    assert lane_of(asked, n_items, n_items) == asked
