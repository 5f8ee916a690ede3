"""Samples of one rate as those of another, as they come."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Zero crossings of the filter on either side, and its Kaiser window's shape: as scipy's `resample_poly`.
_N_CROSSINGS = 10
_KAISER_BETA = 5.0
_BLOCK = 8192  # outputs that are made together: each needs up to 122 inputs in memory


class Resampler:
    """Filters and resamples one stream of int16; together its pieces are what the whole would give."""

    def __init__(self, from_hz: int, to_hz: int) -> None:
        divisor = math.gcd(from_hz, to_hz)
        self._up, self._down = to_hz // divisor, from_hz // divisor
        self._reach = _N_CROSSINGS * max(self._up, self._down)  # of the filter, in steps of the common rate
        self._taps = _taps(self._up, self._down, self._reach)
        n_before = self._reach // self._up  # samples that the first output sees of what was before: silence
        self._rest: NDArray[np.float32] = np.zeros(n_before, np.float32)
        self._first = -n_before  # sample that the rest begins with
        self._n_in = self._n_out = 0

    def feed(self, samples: NDArray[np.int16]) -> NDArray[np.int16]:
        """Returns the samples that are certain by now."""
        self._n_in += len(samples)
        self._rest = np.concatenate((self._rest, samples.astype(np.float32)))
        # Output n lies at n * down / up and sees inputs up to `reach` steps behind it.
        n_certain = max(0, ((self._n_in - 1) * self._up - self._reach) // self._down + 1)
        return self._take(n_certain)

    def finish(self) -> NDArray[np.int16]:
        """Returns the last samples; behind them is silence."""
        self._rest = np.pad(self._rest, (0, self._reach // self._up + 1))
        return self._take(-(-self._n_in * self._up // self._down))

    def _take(self, n_out: int) -> NDArray[np.int16]:
        if n_out <= self._n_out:
            return np.zeros(0, np.int16)
        blocks = range(self._n_out, n_out, _BLOCK)
        found = [self._block(start, min(start + _BLOCK, n_out)) for start in blocks]
        self._n_out = n_out
        n_gone = max(0, n_out * self._down // self._up - self._reach // self._up - self._first)
        self._rest = self._rest[n_gone:].copy()
        self._first += n_gone
        return np.concatenate(found)

    def _block(self, start: int, stop: int) -> NDArray[np.int16]:
        at = np.arange(start, stop) * self._down
        centres, phases = at // self._up, at % self._up
        width = self._taps.shape[1]
        firsts = centres - self._reach // self._up - self._first
        inputs = self._rest[firsts[0] : firsts[-1] + width]
        missing = firsts[-1] + width - firsts[0] - len(inputs)
        seen = np.lib.stride_tricks.sliding_window_view(np.pad(inputs, (0, missing)), width)
        found = np.einsum("ij,ij->i", seen[firsts - firsts[0]], self._taps[phases])
        whole: NDArray[np.int16] = np.clip(np.rint(found), -32768, 32767).astype(np.int16)
        return whole


def _taps(up: int, down: int, reach: int) -> NDArray[np.float32]:
    """Returns a low-pass filter by phase, `[up, n]`: for the samples around each output."""
    steps = np.arange(-reach, reach + 1)
    cutoff = 1 / max(up, down)
    kernel = cutoff * np.sinc(cutoff * steps) * np.kaiser(2 * reach + 1, _KAISER_BETA)
    kernel *= up / kernel.sum()
    n_before = reach // up
    inputs = np.arange(-n_before, n_before + 2)  # one more: a phase lies between two samples
    offsets = np.arange(up)[:, None] - inputs[None] * up  # from each input to the output, in steps
    inside = np.abs(offsets) <= reach
    return np.where(inside, kernel[np.clip(offsets + reach, 0, 2 * reach)], 0).astype(np.float32)
