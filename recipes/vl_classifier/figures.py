"""Figures of a classifier's quality, each with what is known of its own error."""

from __future__ import annotations

import math
from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

Probabilities = NDArray[np.float64]
Labels = NDArray[np.bool_]
N_BINS = 10
Z_95 = 1.959964  # of the normal distribution, for 95 %


class Share(msgspec.Struct, frozen=True):
    """`hits` of `n`, and Wilson's 95 % interval (Wilson 1927)."""

    hits: int
    n: int
    low: float
    high: float

    @property
    def value(self) -> float:
        """The share itself."""
        return self.hits / self.n if self.n else 0.0

    def __str__(self) -> str:
        return f"{self.value:.1%} ({self.low:.1%}-{self.high:.1%}, {self.hits} of {self.n})"


def share(hits: int, n: int) -> Share:
    """Returns hits of n with their interval."""
    if not n:
        return Share(0, 0, 0.0, 1.0)
    p, z2 = hits / n, Z_95**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = Z_95 / (1 + z2 / n) * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n))
    return Share(hits, n, max(middle - half, 0.0), min(middle + half, 1.0))


def recalls(p_high: Probabilities, is_high: Labels, threshold: float) -> dict[str, Share]:
    """Returns the share of HIGH and of LOW pages that are called so."""
    said = p_high >= threshold
    return {
        "HIGH": share(int((said & is_high).sum()), int(is_high.sum())),
        "LOW": share(int((~said & ~is_high).sum()), int((~is_high).sum())),
    }


def reliability(p_high: Probabilities, is_high: Labels) -> list[tuple[float, float, int]]:
    """Returns (mean probability, share that is HIGH, pages) of ten equal bins, empty ones left out."""
    bins = np.minimum((p_high * N_BINS).astype(int), N_BINS - 1)
    return [
        (float(p_high[bins == b].mean()), float(is_high[bins == b].mean()), int((bins == b).sum()))
        for b in range(N_BINS)
        if (bins == b).any()
    ]


def calibration_error(p_high: Probabilities, is_high: Labels) -> float:
    """Returns the bins' mean |probability - share|, weighed by pages (Guo et al. 2017)."""
    rows: Sequence[tuple[float, float, int]] = reliability(p_high, is_high)
    return sum(n * abs(said - seen) for said, seen, n in rows) / len(p_high)


def area_under_curve(p_high: Probabilities, is_high: Labels) -> float:
    """Returns the odds that a HIGH page has the higher probability than a LOW one; ties count half."""
    high, low = p_high[is_high], np.sort(p_high[~is_high])
    below, upto = np.searchsorted(low, high, "left"), np.searchsorted(low, high, "right")
    return float(((below + upto) / 2).mean() / len(low))
