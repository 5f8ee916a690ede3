"""Retrieval quality: nDCG@10, recall and MRR of rankings, each with a 95 % confidence interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

Values = NDArray[np.float64]

DEPTH = 10  # places that count
N_RESAMPLES = 2_000
SEED = 0


class Estimate(msgspec.Struct, frozen=True):
    """A mean over queries and its 95 % interval."""

    mean: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.mean:.3f} [{self.low:.3f}, {self.high:.3f}]"


def unit_rows(vectors: FloatMatrix) -> FloatMatrix:
    """Returns the rows `[n, d]` L2-normalised; a zero row stays zero."""
    rows: FloatMatrix = vectors / np.maximum(
        np.linalg.norm(vectors, axis=1, keepdims=True), np.float32(1e-12)
    )
    return rows


def rank(scores: NDArray[np.float32], n_places: int) -> NDArray[np.int64]:
    """Returns `[n_queries, min(n_places, n_documents)]`: the best documents, best first; ties by index.

    scores: `[n_queries, n_documents]`.
    """
    return np.argsort(-scores, axis=1, kind="stable")[:, :n_places]


def score_rankings(
    rankings: Sequence[Sequence[int]] | NDArray[np.int64], positives: Sequence[frozenset[int]]
) -> dict[str, Values]:
    """Returns each metric's value for every query, `[n]` float64 in 0..1.

    A document is relevant or not. nDCG@10: the gains 1 / log2(place + 1) of the relevant ones found, over the
    most that ten places could have (Järvelin & Kekäläinen 2002). recall@k: share of the relevant ones in the
    first k places. MRR@10: 1 / place of the first relevant one, 0 beyond ten.
    """
    gains = 1 / np.log2(np.arange(2, DEPTH + 2))
    hits = np.zeros((len(positives), DEPTH))
    for row, (ranking, wanted) in enumerate(zip(rankings, positives, strict=True)):
        places = [place for place, document in enumerate(ranking[:DEPTH]) if int(document) in wanted]
        hits[row, places] = 1
    n_wanted = np.array([len(wanted) for wanted in positives])
    best = gains.cumsum()[np.minimum(n_wanted, DEPTH) - 1]
    first = hits.argmax(axis=1)
    return {
        "nDCG@10": hits @ gains / best,
        "recall@1": hits[:, 0] / n_wanted,
        "recall@10": hits.sum(axis=1) / n_wanted,
        "MRR@10": hits.any(axis=1) / (first + 1),
    }


def estimate(values: Values) -> Estimate:
    """Returns the mean with its percentile bootstrap interval over queries; the same for the same values.

    Of two systems on the same queries, give the differences: their interval is far narrower than the gap
    between two separate ones suggests. Source: Efron & Tibshirani 1993, chapter 13.
    """
    random = np.random.default_rng(SEED)
    n = len(values)
    means = [float(values[random.integers(0, n, n)].mean()) for _ in range(N_RESAMPLES)]
    low, high = np.percentile(means, [2.5, 97.5])
    return Estimate(float(values.mean()), float(low), float(high))


def estimates(scored: Mapping[str, Values]) -> dict[str, Estimate]:
    """Returns the estimate of each metric."""
    return {name: estimate(values) for name, values in scored.items()}
