"""From token vectors to a table: principal components, weights by rank, dtype."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from turbov2.errors import InvalidRequest

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

TableDtype = Literal["float16", "float32", "int8"]
_CHUNK_ROWS = 8_192  # widened to float64 at a time


def check_sizes(n: int, n_dimensions: int, n_components: int) -> None:
    """Returns if `n` vectors have so many principal components. Raises: InvalidRequest."""
    if n_components > n_dimensions:
        raise InvalidRequest(f"{n_components} dimensions are more than the teacher has: {n_dimensions}")
    if n_components >= n:
        raise InvalidRequest(f"{n_components} dimensions need more than {n} tokens")


def principal_components(vectors: FloatMatrix, n_components: int) -> tuple[FloatMatrix, float]:
    """Returns the vectors' first principal components `[n, n_components]` and the share of variance kept.

    Each component's sign is such that its value of largest magnitude is positive, as scikit-learn and
    Model2Vec choose it. Source of the recipe: MinishLab/model2vec, model2vec/distill/inference.py.
    Raises: InvalidRequest when there are fewer dimensions or rows than components.
    """
    n, n_dimensions = vectors.shape
    check_sizes(n, n_dimensions, n_components)
    centred = vectors - vectors.mean(axis=0, dtype=np.float64).astype(np.float32)
    covariance = np.zeros((n_dimensions, n_dimensions))
    for start in range(0, n, _CHUNK_ROWS):
        chunk = centred[start : start + _CHUNK_ROWS].astype(np.float64)
        covariance += chunk.T @ chunk
    variances, directions = np.linalg.eigh(covariance)  # ascending
    kept = directions[:, ::-1][:, :n_components].astype(np.float32)
    scores = centred @ kept
    largest = np.abs(scores).argmax(axis=0)
    scores *= np.sign(scores[largest, np.arange(n_components)])
    return scores, float(variances[-n_components:].sum() / variances.sum())


def zipf_weights(n_tokens: int, sif: float) -> NDArray[np.float64]:
    """Returns `[n]`: the weight a / (a + p) of each token, p from its rank by Zipf's law; ones if a is 0.

    Vocabularies list frequent tokens first, so the id stands for the rank. Sources: Arora et al. 2017 (SIF);
    MinishLab/model2vec, which starts ranks at 2.
    """
    if sif == 0:
        return np.ones(n_tokens)
    shares = 1 / np.arange(2, n_tokens + 2)
    weights: NDArray[np.float64] = sif / (sif + shares / shares.sum())
    return weights


def to_dtype(table: FloatMatrix, dtype: TableDtype) -> NDArray[Any]:
    """Returns the table in this dtype; int8 is scaled so that the largest magnitude becomes 127.

    The scale is not kept: vectors are normalised in the end, so it changes nothing.
    """
    if dtype == "int8":
        table = np.rint(table * (127 / np.abs(table).max()))
    return table.astype(dtype, copy=False)
