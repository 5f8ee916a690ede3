"""What sessions of live speech have in common: how many there may be, and samples out of bytes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from turbov2.errors import InvalidRequest, QueueFull
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.speech.resampling import Resampler
from turbov2.types import LiveSound, TurnOptions
from turbov2.wire._forms import Form

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

RATES_HZ = (8_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 96_000)
_RETRY_S = 5.0
_SAMPLE_BYTES = 2
_DEFAULTS = TurnOptions()


class LivePlaces:
    """So many sessions at once, on all routes together; each may be silent for `idle_s`."""

    def __init__(self, n_places: int, idle_s: float) -> None:
        self._n_places = n_places
        self._n_taken = 0
        self.idle_s = idle_s

    @contextmanager
    def taken(self) -> Iterator[None]:
        """Inside, a place is taken. Raises: QueueFull when there is none."""
        if self._n_taken >= self._n_places:
            raise QueueFull(
                f"{self._n_taken} sessions of live speech are open, the limit is {self._n_places}; end one, "
                "or raise TURBOV2_LIVE_SESSIONS",
                retry_after_s=_RETRY_S,
            )
        self._n_taken += 1
        try:
            yield
        finally:
            self._n_taken -= 1


class PcmReader:
    """Bytes of int16, little-endian, mono, as the engine takes them: 16 kHz."""

    def __init__(self, rate_hz: int) -> None:
        self._resampler = None if rate_hz == SAMPLE_RATE_HZ else Resampler(rate_hz, SAMPLE_RATE_HZ)
        self._rest = b""

    def read(self, piece: bytes) -> LiveSound:
        """Returns the samples that are whole by now; a sample may lie in two pieces."""
        piece = self._rest + piece
        n_whole = len(piece) // _SAMPLE_BYTES * _SAMPLE_BYTES
        self._rest = piece[n_whole:]
        samples: Samples = np.frombuffer(piece[:n_whole], "<i2").astype(np.int16, copy=False)
        return LiveSound(samples if self._resampler is None else self._resampler.feed(samples))

    def finish(self) -> LiveSound:
        """Returns the last samples. Raises: InvalidRequest when half a sample is left."""
        if self._rest:
            raise InvalidRequest("the sound ends within a sample: its bytes are odd, and each has two")
        none = np.zeros(0, np.int16)
        return LiveSound(none if self._resampler is None else self._resampler.finish())


def parse_turns(form: Form) -> TurnOptions:
    """Returns when an utterance begins and ends. Raises: InvalidRequest naming the field."""
    threshold = form.number("threshold", 0, 1)
    return TurnOptions(
        threshold=_DEFAULTS.threshold if threshold is None else threshold,
        prefix_padding_ms=form.integer("prefix_padding_ms", _DEFAULTS.prefix_padding_ms, 0, 5_000),
        silence_duration_ms=form.integer("silence_duration_ms", _DEFAULTS.silence_duration_ms, 100, 10_000),
    )
