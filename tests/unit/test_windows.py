"""Cutting long texts into windows, and joining what a model makes of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.batching import JobResult
from turbov2.engine.windows import cut, embed_windows
from turbov2.errors import NotFinite, TurboError

READS = 64  # words that the model below reads
WORDS = [f"w{i}" for i in range(2000)]


def vector_of(words: Sequence[str]) -> list[float]:
    """Returns the mean of the words' vectors: `[1, number]` of each."""
    numbers = [float(word[1:] or 0) for word in words]
    return [1.0, sum(numbers) / len(numbers)] if numbers else [0.0, 0.0]


async def model(texts: Sequence[str], failing: str = "none") -> JobResult:
    """Reads the first words of each text; a text that holds `failing` fails."""
    words = [text.split() for text in texts]
    errors: dict[int, TurboError] = {
        i: NotFinite("not a number") for i, each in enumerate(words) if failing in each
    }
    lengths = np.array([min(len(each), READS) for each in words], np.int32)
    full_lengths = np.array([len(each) for each in words], np.int32)
    vectors = np.array([vector_of(each[:READS]) for each in words], np.float32)
    return JobResult(vectors, lengths, full_lengths, errors, 1, 2, 3, 0, 0)


@given(st.integers(0, 400), st.sets(st.integers(0, 399)), st.integers(1, 40))
def test_windows_cover_the_text_in_order_and_are_no_longer_than_they_should(
    n_chars: int, spaces: set[int], n: int
) -> None:
    text = "".join(" " if i % 2 and i in spaces else chr(0x4E00 + i) for i in range(n_chars))
    n = min(n, n_chars // 4 + 1)  # so that each window has a character found nowhere else
    windows = cut(text, n)
    assert len(windows) == n
    size, end = -(-n_chars // n), 0
    for window in windows:
        start = text.find(window)
        assert start <= end, "nothing is left out between two windows"
        assert len(window) <= size + 3 * (size // 10) + 1
        end = start + len(window)
    assert end == n_chars


@given(st.text(min_size=2, max_size=64))
def test_halves_are_shorter(text: str) -> None:
    assert all(len(half) < len(text) for half in cut(text, 2))


def test_windows_begin_and_end_at_spaces_and_overlap() -> None:
    first, second = cut(" ".join(WORDS), 2)
    assert first.endswith(" ")
    assert second.startswith("w")
    shared = len(first) + len(second) - len(" ".join(WORDS))
    assert 0.05 * len(first) < shared < 0.2 * len(first)


async def test_only_long_texts_are_made_of_windows() -> None:
    inputs = ["w1 w2", " ".join(WORDS), "w3"]
    first = await model(inputs)
    result, n_windows = await embed_windows(model, inputs, first)
    assert set(n_windows) == {1}
    assert n_windows[1] >= len(WORDS) / READS
    np.testing.assert_array_equal(result.vectors[[0, 2]], first.vectors[[0, 2]])
    assert result.vectors[1] == pytest.approx(vector_of(WORDS), rel=0.05), "its windows' mean by tokens"
    assert result.lengths[1] >= len(WORDS), "overlaps count as often as they were read"
    assert result.full_lengths is result.lengths, "nothing was cut off"
    assert result.queue_ns > 1


async def test_a_window_that_is_still_too_long_is_halved() -> None:
    text = "w5 " * 400 + "w" + "0" * 4000  # nearly all words in a quarter of the characters
    result, n_windows = await embed_windows(model, [text], await model([text]))
    assert n_windows[0] > 401 / READS
    assert result.lengths[0] >= 401


async def test_a_window_that_fails_fails_its_text_alone() -> None:
    inputs = [" ".join(WORDS), " ".join(WORDS[:400]) + " w99999"]

    async def run(texts: Sequence[str]) -> JobResult:
        return await model(texts, "w99999")

    result, n_windows = await embed_windows(run, inputs, await model(inputs))
    assert set(result.errors) == {1}
    assert result.errors[1].message == "input 1: one of its windows failed: not a number"
    assert set(n_windows) == {0}
    assert not result.vectors[1].any()
