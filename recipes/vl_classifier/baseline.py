"""What can be told without a network: ten measurements of a page and a logistic regression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

Gray = NDArray[np.uint8]
Features = NDArray[np.float64]
FEATURES = ("ink", "mid-tones", "edges", "long horizontal lines", "long vertical lines", "largest component",
            "large components", "row variation", "column variation", "empty rows")  # fmt: skip
_DARK = 128
_LONG = 0.12  # of the canvas: a line that no letter has


def measure(page: Gray) -> Features:
    """Returns the ten measurements of a canvas `[h, w]`."""
    ink = (page < _DARK).astype(np.uint8)
    height, width = ink.shape
    across = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((1, int(width * _LONG)), np.uint8))
    down = cv2.morphologyEx(ink, cv2.MORPH_OPEN, np.ones((int(height * _LONG), 1), np.uint8))
    _, _, stats, _ = cv2.connectedComponentsWithStats(ink, connectivity=8)
    boxes = stats[1:, cv2.CC_STAT_WIDTH] * stats[1:, cv2.CC_STAT_HEIGHT] / ink.size
    rows, columns = ink.mean(axis=1), ink.mean(axis=0)
    values = (
        ink.mean(),
        ((page > 40) & (page < 215)).mean(),
        (cv2.Canny(page, 60, 160) > 0).mean(),
        across.any(axis=1).mean(),
        down.any(axis=0).mean(),
        boxes.max(initial=0),
        boxes[boxes > 0.002].sum(),
        rows.std(),
        columns.std(),
        (rows < 0.004).mean(),
    )
    return np.log(np.array(values, np.float64) + 1e-3)


class Baseline:
    """A logistic regression on `measure`, its inputs standardised."""

    def __init__(self, features: Features, is_high: NDArray[np.bool_]) -> None:
        """Fits it; both labels weigh the same. features: `[n, 10]`."""
        self._mean, self._deviation = features.mean(axis=0), features.std(axis=0) + 1e-9
        inputs = self._inputs(features)
        weights = np.where(is_high, 0.5 / is_high.sum(), 0.5 / (~is_high).sum())
        sign = np.where(is_high, 1.0, -1.0)

        def loss(values: Features) -> float:
            return float(
                (weights * np.logaddexp(0, -sign * (inputs @ values))).sum() + 1e-4 * values @ values
            )

        self._values = minimize(loss, np.zeros(inputs.shape[1]), method="L-BFGS-B").x

    def p_high(self, features: Features) -> NDArray[np.float64]:
        """Returns the probability `[n]` of HIGH."""
        return np.asarray(1 / (1 + np.exp(-self._inputs(features) @ self._values)), np.float64)

    def _inputs(self, features: Features) -> Features:
        scaled = (features - self._mean) / self._deviation
        return np.hstack([scaled, np.ones((len(scaled), 1))])
