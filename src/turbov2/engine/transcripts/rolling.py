"""The part of a stream that is still needed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

_SAMPLE_BYTES = 2


class RollingSound:
    """Samples by their number in the stream; those before `release` are gone."""

    def __init__(self) -> None:
        self._kept = bytearray()
        self._first = 0

    def __len__(self) -> int:
        return len(self._kept) // _SAMPLE_BYTES

    @property
    def end(self) -> int:
        """How many samples have come."""
        return self._first + len(self)

    def add(self, samples: Samples) -> None:
        """Afterwards these int16 samples follow the others."""
        self._kept += samples.astype("<i2", copy=False).tobytes()

    def window(self, start: int, stop: int) -> Samples:
        """Returns a copy of the samples from `start` to before `stop`, which must be there."""
        assert self._first <= start <= stop <= self.end, "what is needed was kept. This is a bug."
        kept = self._kept[(start - self._first) * _SAMPLE_BYTES : (stop - self._first) * _SAMPLE_BYTES]
        return np.frombuffer(kept, "<i2").astype(np.int16, copy=False)

    def release(self, before: int) -> None:
        """Afterwards the samples before this one are gone."""
        n_gone = max(0, min(before, self.end) - self._first)
        del self._kept[: n_gone * _SAMPLE_BYTES]
        self._first += n_gone
