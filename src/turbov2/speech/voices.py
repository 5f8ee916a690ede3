"""Where somebody speaks: spans of samples, from the probabilities that a voice detector gives piece by piece.

The rules are Silero's as faster-whisper has them, so that the spans are those it finds in the whole file.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np

from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.types import VoiceOptions

VOICE_SAMPLES = 512  # that one probability is of
_PAUSE_SAMPLES = SAMPLE_RATE_HZ * 98 // 1000  # of silence: speech that became too long may be cut there


class Span(NamedTuple):
    """Samples of a stream, from `start` to before `end`."""

    start: int
    end: int


class SpeechFinder:
    """Finds the spans of speech in one stream. Memory does not grow with it."""

    def __init__(self, options: VoiceOptions) -> None:
        lower = options.neg_threshold
        # Probabilities are float32: of equal numbers the wider one would be the greater.
        self._threshold = float(np.float32(options.threshold))
        self._neg_threshold = float(
            np.float32(max(options.threshold - 0.15, 0.01) if lower is None else lower)
        )
        self._pad = SAMPLE_RATE_HZ * options.speech_pad_ms / 1000
        self._min_silence = SAMPLE_RATE_HZ * options.min_silence_duration_ms / 1000
        self._min_speech = SAMPLE_RATE_HZ * options.min_speech_duration_ms / 1000
        self._max_speech = SAMPLE_RATE_HZ * options.max_speech_duration_s - VOICE_SAMPLES - 2 * self._pad
        self._n_windows = 0
        self._start: int | None = None  # of the speech that goes on
        self._silence_start = 0  # within it; 0: none
        self._pause_start = 0  # of its last pause; 0: none
        self._pause_end = 0  # where it went on after that; less than the start: it has not
        self._found: list[Span] = []  # not padded yet

        self._last: Span | None = None  # found, padded at its start
        self._is_last_told = False

    def feed(self, probabilities: Iterable[float]) -> list[Span]:
        """Returns the spans that are certain by now, padded; the next 512 samples each have a probability."""
        for probability in probabilities:
            self._hear(probability, self._n_windows * VOICE_SAMPLES)
            self._n_windows += 1
        told = self._pad_found()
        if self._last is not None and not self._is_last_told:
            next_start = self._next_start()
            if next_start - self._last.end >= 2 * self._pad:
                told.append(self._padded_alone(self._last))
                self._is_last_told = True
        return told

    def finish(self, n_samples: int) -> list[Span]:
        """Returns the spans that were not certain, once all of the stream's samples were heard."""
        if self._start is not None and n_samples - self._start > self._min_speech:
            self._found.append(Span(self._start, n_samples))
        told = self._pad_found()
        if self._last is not None and not self._is_last_told:
            told.append(Span(self._last.start, int(min(n_samples, self._last.end + self._pad))))
        return told

    def _hear(self, probability: float, at: int) -> None:
        is_speech = probability >= self._threshold
        if is_speech and self._silence_start:
            self._silence_start = 0
            if self._pause_end < self._pause_start:
                self._pause_end = at
        if is_speech and self._start is None:
            self._start = at
            return
        if self._start is not None and at - self._start > self._max_speech and self._cut(at):
            return
        if probability < self._neg_threshold and self._start is not None:
            self._hear_silence(self._start, at)

    def _cut(self, at: int) -> bool:
        """Ends speech that became too long, at its last pause or else here. Returns whether it was here."""
        assert self._start is not None, "only what began can be too long. This is a bug."
        had_pause = self._pause_start > 0
        self._found.append(Span(self._start, self._pause_start if had_pause else at))
        has_gone_on = had_pause and self._pause_end >= self._pause_start
        self._begin_anew(self._pause_end if has_gone_on else None)
        return not had_pause

    def _hear_silence(self, start: int, at: int) -> None:
        self._silence_start = self._silence_start or at
        n_silent = at - self._silence_start
        if n_silent > _PAUSE_SAMPLES:
            self._pause_start = self._silence_start
        if n_silent < self._min_silence:
            return
        if self._silence_start - start > self._min_speech:
            self._found.append(Span(start, self._silence_start))
        self._begin_anew(None)

    def _begin_anew(self, start: int | None) -> None:
        self._start = start
        self._silence_start = self._pause_start = self._pause_end = 0

    def _next_start(self) -> int:
        """Returns the first sample at which a span that was not found yet may begin."""
        heard = max(0, self._n_windows - 1) * VOICE_SAMPLES  # the last window may reach beyond the end
        return heard if self._start is None else min(heard, self._start)

    def _pad_found(self) -> list[Span]:
        """Returns the spans that have a neighbour now: two that are close share the silence between them."""
        told = []
        for span in self._found:
            if self._last is None:
                start = int(max(0, span.start - self._pad))
            else:
                silence = span.start - self._last.end
                is_far = silence >= 2 * self._pad
                before = self._padded_alone(self._last) if is_far else self._last
                if not is_far:
                    before = Span(before.start, before.end + silence // 2)
                if not self._is_last_told:
                    told.append(before)
                start = int(max(0, span.start - (self._pad if is_far else silence // 2)))
            self._last, self._is_last_told = Span(start, span.end), False
        self._found.clear()
        return told

    def _padded_alone(self, span: Span) -> Span:
        return Span(span.start, int(span.end + self._pad))
