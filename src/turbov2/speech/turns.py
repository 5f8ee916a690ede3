"""Turns: where somebody begins and ends to speak, known while it happens."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from turbov2.speech.mel import FRAME_SAMPLES, SAMPLE_RATE_HZ, WINDOW_FRAMES
from turbov2.speech.voices import VOICE_SAMPLES
from turbov2.types import TurnOptions

if TYPE_CHECKING:
    from turbov2.speech.mel import Samples

MAX_UTTERANCE_SAMPLES = WINDOW_FRAMES * FRAME_SAMPLES  # what the model reads at once
_EARLIEST_CUT_SAMPLES = 20 * SAMPLE_RATE_HZ
_HYSTERESIS = 0.15  # between the probabilities of a beginning and of an end, as Silero has it
_LEAST_THRESHOLD = 0.01
_LEAST_VOICES = 3  # windows, about 0.1 s: a click is shorter
_PAUSE_SAMPLES = SAMPLE_RATE_HZ * 96 // 1000  # that a cut looks for


class Started(NamedTuple):
    """Somebody speaks, from this sample on."""

    start: int


class Stopped(NamedTuple):
    """Nobody speaks any more; what belongs to it ends before this sample."""

    end: int


class TurnFinder:
    """Finds the turns of one stream, as soon as its samples tell. Memory does not grow with it."""

    def __init__(self, options: TurnOptions, n_heard: int = 0) -> None:
        """n_heard: samples of the stream that lie before all it will be told of."""
        self._threshold = options.threshold
        self._end_threshold = max(options.threshold - _HYSTERESIS, _LEAST_THRESHOLD)
        self._padding = SAMPLE_RATE_HZ * options.prefix_padding_ms // 1000
        self._silence = SAMPLE_RATE_HZ * options.silence_duration_ms // 1000
        self._n_heard = n_heard
        self._earliest = n_heard  # no turn reaches into the one before
        self._start: int | None = None  # of the voice
        self._n_voices = 0
        self._silence_start: int | None = None

    def feed(self, probabilities: Iterable[float]) -> list[Started | Stopped]:
        """Returns what is certain by now, in its order; the next 512 samples each have a probability."""
        found = []
        for probability in probabilities:
            turn = self._hear(probability, self._n_heard)
            self._n_heard += VOICE_SAMPLES
            if turn is not None:
                found.append(turn)
        return found

    @property
    def earliest_start(self) -> int:
        """No turn that is not told of yet begins before this sample."""
        voice = self._n_heard if self._start is None else self._start
        return max(self._earliest, voice - self._padding)

    def end(self) -> None:
        """Afterwards nobody speaks, whatever was heard: the next turn begins behind what is known."""
        self._forget(self._n_heard)

    def _hear(self, probability: float, at: int) -> Started | Stopped | None:
        if probability >= self._threshold:
            self._start = at if self._start is None else self._start
            self._silence_start = None
            self._n_voices += 1
            if self._n_voices == _LEAST_VOICES:
                return Started(self.earliest_start)
        elif self._start is not None:
            return self._hear_pause(self._start, probability, at)
        return None

    def _hear_pause(self, start: int, probability: float, at: int) -> Stopped | None:
        end = at + VOICE_SAMPLES
        if self._n_voices < _LEAST_VOICES:
            if end - start >= self._silence:
                self._forget(self._earliest)
        elif probability < self._end_threshold:
            self._silence_start = at if self._silence_start is None else self._silence_start
            if end - self._silence_start >= self._silence:
                self._forget(end)
                return Stopped(end)
        return None

    def _forget(self, earliest: int) -> None:
        self._earliest = earliest
        self._start = self._silence_start = None
        self._n_voices = 0


def quietest_cut(samples: Samples) -> int:
    """Returns where an utterance that became too long is cut: in its quietest 96 ms behind 20 s."""
    powers = samples[_EARLIEST_CUT_SAMPLES:].astype(np.float64) ** 2
    sums = np.concatenate((np.zeros(1), np.cumsum(powers)))
    energies = sums[_PAUSE_SAMPLES:] - sums[:-_PAUSE_SAMPLES]
    middle = _EARLIEST_CUT_SAMPLES + int(energies.argmin()) + _PAUSE_SAMPLES // 2
    return middle // FRAME_SAMPLES * FRAME_SAMPLES  # a time that can be told exactly
