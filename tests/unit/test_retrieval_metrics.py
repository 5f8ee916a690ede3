"""Retrieval metrics against values worked out by hand, and intervals against what they promise."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.recipes.evaluate import evaluate
from turbov2.recipes.metrics import DEPTH, estimate, rank, score_rankings, unit_rows
from turbov2.recipes.retrieval import RetrievalSet


def test_values_worked_out_by_hand() -> None:
    rankings = [list(range(20)), list(range(20)), list(range(20)), [3]]
    positives = [frozenset({0}), frozenset({2}), frozenset({1, 4, 15}), frozenset({9})]
    scored = score_rankings(rankings, positives)
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    found = 1 / math.log2(3) + 1 / math.log2(6)
    np.testing.assert_allclose(scored["nDCG@10"], [1, 1 / math.log2(4), found / best, 0])
    np.testing.assert_allclose(scored["recall@1"], [1, 0, 0, 0])
    np.testing.assert_allclose(scored["recall@10"], [1, 1, 2 / 3, 0])
    np.testing.assert_allclose(scored["MRR@10"], [1, 1 / 3, 1 / 2, 0])


def test_more_answers_than_places() -> None:
    scored = score_rankings([list(range(30))], [frozenset(range(25))])
    assert scored["nDCG@10"][0] == pytest.approx(1)
    assert scored["recall@10"][0] == pytest.approx(10 / 25)


@given(st.permutations(range(12)), st.sets(st.integers(0, 11), min_size=1))
def test_values_lie_in_0_to_1_and_a_perfect_ranking_has_1(ranking: list[int], wanted: set[int]) -> None:
    perfect = sorted(wanted) + [each for each in range(12) if each not in wanted]
    scored = score_rankings([ranking, perfect], [frozenset(wanted)] * 2)
    for values in scored.values():
        assert (values >= 0).all()
        assert (values <= 1 + 1e-12).all()
    assert scored["nDCG@10"][1] == pytest.approx(1)
    assert scored["MRR@10"][1] == 1
    assert scored["nDCG@10"][0] <= scored["nDCG@10"][1] + 1e-12


def test_ties_go_by_index() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.9]], np.float32)
    assert rank(scores, 3).tolist() == [[1, 3, 0]]


def test_an_interval_is_repeatable_and_covers_the_mean() -> None:
    values = np.random.default_rng(1).random(400)
    found = estimate(values)
    assert found == estimate(values)
    assert found.low < found.mean < found.high
    # A bootstrap's width is close to the normal one at this size.
    assert found.high - found.low == pytest.approx(2 * 1.96 * values.std() / math.sqrt(400), rel=0.1)


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    random = np.random.default_rng(2)
    held = sum(
        found.low <= 0.3 <= found.high
        for found in (estimate((random.random(150) < 0.3) * 1.0) for _ in range(60))
    )
    assert held >= 51  # of 60: fewer happen once in a thousand if 95 % is true


def test_reranking_changes_only_what_was_found() -> None:
    vectors = unit_rows(np.random.default_rng(3).standard_normal((40, 8)).astype(np.float32))
    texts = tuple(f"d{n}" for n in range(40))
    data = RetrievalSet(texts, texts[:5], tuple(frozenset({n}) for n in range(5)))
    steps: list[tuple[int, int]] = []

    def embed(some: object, input_type: str) -> np.ndarray:
        return vectors[[int(text[1:]) for text in some]]  # type: ignore[attr-defined]

    def reverse(query: str, found: object) -> list[int]:
        assert found[0] == query  # type: ignore[index]  the query's own vector is its nearest
        return list(range(len(found)))[::-1]  # type: ignore[arg-type]

    found = evaluate(data, embed, reverse, 12, lambda *step: steps.append(step))
    assert found.quality["recall@1"].mean == 1
    assert found.reranked["recall@10"].mean == 0  # twelfth of twelve
    assert found.gain["nDCG@10"].mean == -1
    assert steps[-1] == (50, 50)
    assert evaluate(data, embed, None, DEPTH, lambda *step: None).reranked == {}
