"""From a backend's raw vectors to those the caller asked for."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from turbov2.errors import NotFinite

_TINY = np.float32(1e-32)  # keeps the zero vector zero; the same constant as model2vec, for equal bits


def finish(
    vectors: NDArray[np.float32], dimensions: int | None, normalize: bool, model: str
) -> NDArray[np.float32]:
    """Returns `[n, min(dimensions, d)]` float32: cut first, then L2-normalised.

    Raises: NotFinite naming the inputs whose vector is not finite, so that no NaN ever leaves.
    """
    if dimensions is not None and dimensions < vectors.shape[1]:
        vectors = np.ascontiguousarray(vectors[:, :dimensions])
    squares = np.vecdot(vectors, vectors)
    # NaN and infinity survive a sum, so one number tells whether all are finite.
    if not math.isfinite(squares.sum()):
        squares = _careful_squares(vectors, model)
    if not normalize:
        return vectors
    norms = np.sqrt(squares)
    norms += _TINY
    unit: NDArray[np.float32] = vectors / norms.astype(np.float32, copy=False)[:, None]
    return unit


def _careful_squares(vectors: NDArray[np.float32], model: str) -> NDArray[np.float64]:
    """Returns the squared norms in float64, which large but finite values do not overflow."""
    bad = np.flatnonzero(~np.isfinite(vectors).all(axis=1))
    if bad.size:
        raise NotFinite(
            f"input {bad[0]}: model '{model}' gave NaN or infinity; change the text", param="input"
        )
    wide = vectors.astype(np.float64)
    squares: NDArray[np.float64] = np.vecdot(wide, wide)
    return squares
