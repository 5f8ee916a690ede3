"""Spans of speech found piece by piece, and the stream that they make."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from turbov2.speech.collected import ChunkMaker, Collected
from turbov2.speech.voices import VOICE_SAMPLES, Span, SpeechFinder
from turbov2.types import Segment, VoiceOptions, Word

SECOND = 16_000


def found(options: VoiceOptions, probabilities: list[float], n_samples: int, cuts: list[int]) -> list[Span]:
    finder, spans = SpeechFinder(options), []
    for start, end in itertools.pairwise([0, *cuts, len(probabilities)]):
        spans += finder.feed(probabilities[start:end])
    return spans + finder.finish(n_samples)


def speech_of(*stretches: tuple[float, float]) -> list[float]:
    """Returns probabilities for stretches of (probability, seconds)."""
    return [p for p, seconds in stretches for _ in range(round(seconds * SECOND / VOICE_SAMPLES))]


def random_case(seed: int) -> tuple[VoiceOptions, list[float], int, list[int]]:
    random = np.random.default_rng(seed)
    n_windows = int(random.integers(1, 400))
    wave = np.cumsum(random.normal(0, random.choice([0.05, 0.2, 0.5]), n_windows)) % 2 - 0.5
    steps = random.choice([0, 0.2, 0.35, 0.36, 0.5, 0.9], n_windows)
    probabilities = np.clip(wave if seed % 2 else steps, 0, 1).astype(np.float32).tolist()
    options = VoiceOptions(
        threshold=float(random.choice([0.35, 0.5, 0.9])),
        min_speech_duration_ms=int(random.choice([0, 250, 1000])),
        max_speech_duration_s=float(random.choice([float("inf"), 3, 5, 30])),
        min_silence_duration_ms=int(random.choice([0, 100, 160, 500, 2000])),
        speech_pad_ms=int(random.choice([0, 30, 400, 1000])),
    )
    n_samples = n_windows * VOICE_SAMPLES - int(random.integers(1, VOICE_SAMPLES + 1))
    return options, probabilities, n_samples, sorted(random.integers(0, n_windows, 5).tolist())


@pytest.mark.parametrize("seed", range(200))
def test_spans_are_those_that_faster_whisper_finds_in_the_whole(
    seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    vad = pytest.importorskip("faster_whisper.vad", reason="needs the extra 'audio'")
    options, probabilities, n_samples, cuts = random_case(seed)
    told = np.array(probabilities, np.float32)
    monkeypatch.setattr(vad, "get_vad_model", lambda: lambda _: told)
    asked = {name: getattr(options, name) for name in options.__struct_fields__}
    whole = vad.get_speech_timestamps(np.zeros(n_samples, np.float32), vad.VadOptions(**asked))
    assert found(options, probabilities, n_samples, cuts) == [(each["start"], each["end"]) for each in whole]


@pytest.mark.parametrize("seed", range(50))
def test_spans_do_not_depend_on_how_the_stream_comes(seed: int) -> None:
    options, probabilities, n_samples, cuts = random_case(seed)
    assert found(options, probabilities, n_samples, cuts) == found(options, probabilities, n_samples, [])


def test_a_span_is_told_once_nothing_can_change_it() -> None:
    finder = SpeechFinder(VoiceOptions(min_silence_duration_ms=160, speech_pad_ms=100))
    assert finder.feed(speech_of((0.0, 1.024), (0.9, 2.048), (0.0, 0.16))) == []
    told = finder.feed(speech_of((0.0, 0.16)))
    assert told == [Span(32 * VOICE_SAMPLES - 1600, 96 * VOICE_SAMPLES + 1600)]
    assert finder.finish(200 * VOICE_SAMPLES) == []


def test_neighbours_share_the_silence_between_them() -> None:
    probabilities = speech_of((0.9, 1.024), (0.0, 0.512), (0.9, 1.024))
    spans = found(VoiceOptions(min_silence_duration_ms=100), probabilities, 80 * VOICE_SAMPLES, [])
    assert spans == [(0, 40 * VOICE_SAMPLES), (40 * VOICE_SAMPLES, 80 * VOICE_SAMPLES)]


def collected(*spans: Span) -> Collected:
    made = Collected()
    for span in spans:
        made.add(span)
    return made


SPANS = (Span(1 * SECOND, 3 * SECOND), Span(10 * SECOND, 11 * SECOND), Span(20 * SECOND, 25 * SECOND))


def test_any_part_of_the_collected_stream_is_found_in_the_original() -> None:
    made, original = collected(*SPANS), np.arange(30 * SECOND)
    joined = np.concatenate([original[span.start : span.end] for span in SPANS])
    assert made.n_samples == len(joined) == 8 * SECOND
    for first, stop in [(0, 8 * SECOND), (5, 6), (2 * SECOND - 1, 3 * SECOND + 1), (7 * SECOND, 9 * SECOND)]:
        parts = [original[span.start : span.end] for span in made.sources(first, stop)]
        np.testing.assert_array_equal(np.concatenate(parts), joined[first:stop])
    assert list(made.sources(8 * SECOND, 9 * SECOND)) == []


def segment(start_s: float, end_s: float, *words: Word) -> Segment:
    return Segment(0, start_s, end_s, "x", (), 0.0, 0.0, 1.0, 0.0, words or None)


@pytest.mark.parametrize("seed", range(20))
def test_times_are_restored_as_faster_whisper_does(seed: int) -> None:
    library: Any = pytest.importorskip("faster_whisper.transcribe", reason="needs the extra 'audio'")
    random = np.random.default_rng(seed)
    edges = np.cumsum(random.integers(1, 3 * SECOND, 20)).tolist()
    spans = [Span(start, end) for start, end in zip(edges[::2], edges[1::2], strict=True)]
    made = collected(*spans)
    times = np.sort(random.uniform(0, made.n_samples / SECOND, 6)).round(2).tolist()
    times[1] = made.n_samples / SECOND if seed % 3 == 0 else (spans[0].end - spans[0].start) / SECOND
    words = [Word(" a", times[2], times[3], 1.0), Word(" b", times[4], times[5], 1.0)] if seed % 2 else []
    theirs = library.Segment(
        1, 0, times[0], times[1], "x", [], 0.0, 1.0, 0.0,
        [library.Word(word.start_s, word.end_s, word.text, 1.0) for word in words] or None, 0.0,
    )  # fmt: skip
    chunks = [{"start": span.start, "end": span.end} for span in spans]
    (wanted,) = library.restore_speech_timestamps([theirs], chunks, SECOND)
    got = made.restore(segment(times[0], times[1], *words))
    assert (got.start_s, got.end_s) == (wanted.start, wanted.end)
    assert [(word.start_s, word.end_s) for word in got.words or ()] == [
        (word.start, word.end) for word in wanted.words or ()
    ]


def test_an_end_at_a_seam_belongs_to_the_speech_before_it() -> None:
    restored = collected(*SPANS).restore(segment(1.0, 2.0))
    assert (restored.start_s, restored.end_s) == (2.0, 3.0)


def test_chunks_hold_whole_spans() -> None:
    maker, chunks = ChunkMaker(30), []
    spans = [Span(0, 10), Span(20, 35), Span(40, 46), Span(50, 80), Span(90, 91)]
    for span in spans:
        chunks += [maker.add(span)]
    assert [chunk for chunk in chunks if chunk] == [spans[:2], spans[2:3], spans[3:4]]
    assert maker.finish() == spans[4:]
