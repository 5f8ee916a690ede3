"""A stream is heard whole, whatever is known of it when; and reading on needs nothing but a position."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import numpy as np
import pytest

from turbov2.backends.fake_speech import hear
from turbov2.speech import mel
from turbov2.speech.windows import Position, next_window, samples_of
from turbov2.types import Segment, TranscribeOptions, WindowResult

SECOND = mel.SAMPLE_RATE_HZ


def stream(seconds: float) -> np.ndarray:
    """Returns noise that is silent in every seventh second."""
    samples = np.random.default_rng(0).integers(-8000, 8000, round(seconds * SECOND), dtype=np.int16)
    for second in range(0, int(seconds), 7):
        samples[second * SECOND : (second + 1) * SECOND] = 0
    return samples


def read(samples: np.ndarray, known: Callable[[Position], int]) -> tuple[list[Segment], list[Position]]:
    position, segments, positions = Position(), [], []
    while not position.is_at_end(len(samples)):
        task = next_window(position, TranscribeOptions(), min(len(samples), known(position)), peak=0.0)
        first, stop = samples_of(task)
        heard = hear(samples[first:stop], task)
        assert isinstance(heard, WindowResult)
        segments += heard.segments
        position = position.after(heard)
        position = msgspec.json.decode(msgspec.json.encode(position), type=Position)  # as a job keeps it
        positions.append(position)
    return segments, positions


@pytest.mark.parametrize("seconds", [0.005, 1, 29.99, 30, 30.005, 60, 95.5])
def test_every_second_is_heard_once(seconds: float) -> None:
    samples = stream(seconds)
    whole, _ = read(samples, lambda _: len(samples))
    bit_by_bit, positions = read(samples, lambda position: position.n_samples_needed)
    assert bit_by_bit == whole
    tokens = [token for each in whole for token in each.tokens]
    assert tokens == [second for second in range(int(seconds + 0.99)) if second % 7 and second < seconds]
    assert positions[-1].language is not None
    assert positions[-1].language.probabilities == (("en", 0.75), ("fr", 0.25))


def test_a_stream_of_nothing_is_asked_for_its_language() -> None:
    segments, positions = read(np.zeros(0, np.int16), lambda _: 0)
    assert segments == []
    assert len(positions) == 1


def test_the_language_that_was_found_is_kept() -> None:
    samples = stream(95)
    position = Position()
    asked = []
    while not position.is_at_end(len(samples)):
        task = next_window(position, TranscribeOptions(), len(samples), peak=0.0)
        asked.append(task.options.language)
        position = position.after(hear(samples[slice(*samples_of(task))], task))  # type: ignore[arg-type]
    assert asked == [None, "en", "en", "en"]


def test_what_was_said_before_is_told() -> None:
    _, positions = read(stream(65), lambda position: position.n_samples_needed)
    assert positions[0].previous_tokens == tuple(second for second in range(30) if second % 7)
    assert positions[1].previous_tokens == tuple(second for second in range(60) if second % 7)
    assert positions[1].last_speech_s == 59.9
