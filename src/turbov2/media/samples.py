"""Samples of more than 8 bits, scaled to 8 bits instead of cut off."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbov2.media.results import Pixels

# Largest value that a sample may have, for formats that do not say it: the least that holds them all.
_CEILINGS = (255, 65_535, (1 << 31) - 1)
_FLOAT_CEILINGS = (1.0, 255.0, 65_535.0)
_ROWS = 256  # at once, so that the copies in between stay small


def to_eight_bits(samples: NDArray[Any]) -> Pixels:
    """Returns uint8 `[height, width]` of uint16, int32 or float32 samples. Black stays black.

    16 bits have their own ceiling. Of other samples the least of _CEILINGS or _FLOAT_CEILINGS that holds them
    is white; floats beyond all are scaled between their extremes. What is no number becomes black.
    """
    if samples.dtype.kind == "f":
        return _scaled_floats(samples)
    ceiling = 65_535
    if samples.dtype.itemsize > 2:
        highest = int(samples.max(initial=0))
        ceiling = next(ceiling for ceiling in _CEILINGS if highest <= ceiling)
    return _scaled(samples, 0.0, float(ceiling))


def _scaled_floats(samples: NDArray[Any]) -> Pixels:
    finite = samples[np.isfinite(samples)]
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    fitting = [ceiling for ceiling in _FLOAT_CEILINGS if high <= ceiling]
    if low >= 0 and fitting:
        low, high = 0.0, fitting[0]
    return _scaled(np.nan_to_num(samples, nan=low, posinf=high, neginf=low), low, high)


def _scaled(samples: NDArray[Any], low: float, high: float) -> Pixels:
    pixels = np.empty(samples.shape, np.uint8)
    factor = 255.0 / (high - low) if high > low else 0.0
    for start in range(0, len(samples), _ROWS):
        rows = samples[start : start + _ROWS].astype(np.float32)
        pixels[start : start + _ROWS] = np.clip((rows - low) * factor + 0.5, 0, 255)
    return pixels
