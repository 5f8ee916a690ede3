"""Scores of documents against a query, beside plain loops over the formulas."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.engine.scores import cosine, lexical, max_sim, probabilities
from turbov2.types import SparseRows, TokenVectors

Array = np.ndarray
seeds = st.integers(0, 2**32 - 1)
lengths_of_documents = st.lists(st.integers(0, 7), max_size=9)


def int32(*values: int) -> Array:
    return np.array(values, np.int32)


def normal(rng: np.random.Generator, *shape: int) -> Array:
    return rng.standard_normal(shape).astype(np.float32)


@given(raw=st.lists(st.floats(-1e4, 1e4, width=32), max_size=20), shift=st.floats(-10, 10))
def test_probabilities_are_the_shifted_sigmoid(raw, shift):
    def naive(x: float) -> float:
        return 1 / (1 + math.exp(-x)) if x >= 0 else math.exp(x) / (1 + math.exp(x))

    result = probabilities(np.array(raw, np.float32), shift)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, [naive(each - shift) for each in raw], rtol=1e-6, atol=1e-38)


def test_published_scale_of_the_raw_scores():
    # mxbai-rerank-base-v2's own scale puts 4.5 in the middle.
    assert probabilities(np.array([4.5, 9.0], np.float32), 4.5).tolist() == pytest.approx([0.5, 0.98901306])


def test_infinite_raw_scores_are_the_ends():
    assert probabilities(np.array([-np.inf, np.inf], np.float32)).tolist() == [0.0, 1.0]


@given(raw=st.lists(st.floats(-80, 15, width=32), min_size=2, max_size=20))
def test_probabilities_keep_the_order(raw):
    result = probabilities(np.sort(np.array(raw, np.float32)))
    assert (np.diff(result) >= 0).all()


@given(seed=seeds, n=st.integers(0, 6))
def test_cosine_equals_the_formula(seed, n):
    rng = np.random.default_rng(seed)
    query, documents = normal(rng, 5), normal(rng, n, 5)
    expected = [float(query @ d / (np.linalg.norm(query) * np.linalg.norm(d))) for d in documents]
    np.testing.assert_allclose(cosine(query, documents), expected, atol=1e-6)


def test_cosine_of_a_zero_vector_is_zero():
    documents = np.array([[0, 0], [3, 4]], np.float32)
    assert cosine(np.array([6, 8], np.float32), documents).tolist() == pytest.approx([0, 1])
    assert cosine(np.zeros(2, np.float32), documents).tolist() == [0, 0]


@given(seed=seeds, lengths=lengths_of_documents, n_query=st.sampled_from([0, 1, 3, 31, 32, 33, 70]))
def test_max_sim_equals_the_plain_loop(seed, lengths, n_query):
    rng = np.random.default_rng(seed)
    query, vectors = normal(rng, n_query, 4), normal(rng, sum(lengths), 4)
    expected, start = [], 0
    for length in lengths:
        document = vectors[start : start + length]
        best = [max(float(q @ d) for d in document) for q in query] if length else [0.0] * n_query
        expected.append(sum(best) / n_query if n_query else 0.0)
        start += length
    result = max_sim(query, TokenVectors(vectors, int32(*lengths)))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5, atol=1e-6)


def test_a_document_equal_to_the_query_has_max_sim_one():
    query = np.eye(3, dtype=np.float32)
    documents = TokenVectors(np.concatenate((query[:1], query[::-1])), int32(1, 3))
    assert max_sim(query, documents).tolist() == pytest.approx([1 / 3, 1])


@given(seed=seeds, lengths=lengths_of_documents, n_query=st.integers(0, 8))
def test_lexical_equals_the_plain_loop(seed, lengths, n_query):
    rng = np.random.default_rng(seed)

    def row(n: int) -> dict[int, float]:
        ids = rng.choice(12, n, replace=False).tolist()
        return dict(zip(ids, rng.random(n).astype(np.float32).tolist(), strict=True))

    query, documents = row(n_query), [row(n) for n in lengths]
    expected = [sum(w * query[i] for i, w in d.items() if i in query) for d in documents]
    result = lexical(sparse([query]), sparse(documents))
    assert result.dtype == np.float32
    np.testing.assert_allclose(result, expected, rtol=1e-5)


def sparse(rows: list[dict[int, float]]) -> SparseRows:
    ids = np.array([i for row in rows for i in row], np.int32)
    weights = np.array([w for row in rows for w in row.values()], np.float32)
    return SparseRows(ids, weights, int32(*map(len, rows)))
