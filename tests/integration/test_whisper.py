"""Windows of the whisper backend are what faster-whisper makes of the whole file; random weights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="needs the extra 'audio'")

import ctranslate2
import faster_whisper
from msgspec.structs import replace

from tests.support.listening import (
    Samples,
    assert_same,
    read_by_library,
    read_in_chunks,
    read_in_windows,
)
from tests.support.tiny_whisper import make_whisper
from turbov2.backends.whisper import WhisperBackend
from turbov2.errors import InferenceFailed, InvalidRequest, LoadFailed
from turbov2.speech.windows import Position, next_window
from turbov2.types import LoadSpec, TranscribeOptions, VoiceOptions, WindowTask

SECOND = 16_000
FIRST = TranscribeOptions(temperatures=(0.0,))
# Random weights are sure of nothing: with the usual thresholds every window would be left out.
OPEN = TranscribeOptions(
    temperatures=(0.0,), no_speech_threshold=None, log_prob_threshold=None, compression_ratio_threshold=None
)


def spec_of(files: dict[str, str], **options: Any) -> LoadSpec:
    return LoadSpec("tiny-whisper", "whisper", files, "r1", options={"compute_type": "float32", **options})


@pytest.fixture(scope="module")
def make_files(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., dict[str, str]]:
    return lambda seed=0, **kind: make_whisper(tmp_path_factory.mktemp("whisper"), seed, **kind)


def library(files: dict[str, str]) -> Any:
    folder = str(Path(files["model.bin"]).parent)
    return faster_whisper.WhisperModel(folder, device="cpu", compute_type="float32", cpu_threads=1)


def sound(seconds: float, seed: int = 0) -> Samples:
    """Returns noise whose loudness changes every second, and that is silent now and then."""
    random = np.random.default_rng(seed)
    n_samples = round(seconds * SECOND)
    loudness = random.choice([0, 30, 300, 3000], int(seconds) + 1).repeat(SECOND)[:n_samples]
    return (random.normal(size=n_samples) * loudness).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"language": "fr"},
        {"language": "de", "task": "translate"},
        {"word_timestamps": True},
        {"word_timestamps": True, "condition_on_previous_text": False},
        {"language": "en", "initial_prompt": "what was said", "hotwords": "a name"},
        {"language": "en", "prefix": "it begins", "condition_on_previous_text": False},
        {"without_timestamps": True, "beam_size": 1},
        {"repetition_penalty": 1.3, "no_repeat_ngram_size": 3, "suppress_tokens": ()},
        {"max_initial_timestamp": 5.0, "patience": 2.0, "length_penalty": 0.7, "suppress_blank": False},
        {"no_speech_threshold": 0.0, "log_prob_threshold": -0.8},
    ],
    ids=str,
)
def test_windows_are_those_of_the_whole_file(make_files: Any, options: dict[str, Any]) -> None:
    files, samples = make_files(3), sound(95, seed=1)
    asked = replace(OPEN, **options)
    theirs = read_by_library(library(files), samples, asked)
    assert_same(read_in_windows(WhisperBackend(spec_of(files)), samples, asked), theirs)
    assert len(theirs.segments) > 3 or asked.no_speech_threshold == 0


@pytest.mark.parametrize("seed", range(6))
def test_whatever_the_model_writes(make_files: Any, seed: int) -> None:
    files, samples = make_files(seed), sound(65, seed)
    asked = replace(OPEN, word_timestamps=True)
    theirs = read_by_library(library(files), samples, asked)
    assert_same(read_in_windows(WhisperBackend(spec_of(files)), samples, asked), theirs)


@pytest.mark.parametrize("seconds", [0.0, 0.004, 0.05, 5, 29.995, 30, 30.01, 60])
def test_streams_of_any_length(make_files: Any, seconds: float) -> None:
    files, samples = make_files(0), sound(seconds, seed=2)
    theirs = read_by_library(library(files), samples, OPEN)
    assert_same(read_in_windows(WhisperBackend(spec_of(files)), samples, OPEN), theirs)


@pytest.mark.parametrize("samples", [np.zeros(40 * SECOND, np.int16), sound(40)], ids=["silence", "noise"])
def test_the_usual_thresholds(make_files: Any, samples: Samples) -> None:
    files = make_files(1)
    theirs = read_by_library(library(files), samples, FIRST)
    assert_same(read_in_windows(WhisperBackend(spec_of(files)), samples, FIRST), theirs)


def test_an_english_model_hears_english_whatever_is_asked(make_files: Any) -> None:
    files, samples = make_files(0, is_multilingual=False), sound(45)
    backend = WhisperBackend(spec_of(files))
    assert backend.loaded.speech is not None
    assert backend.loaded.speech.languages == ("en",)
    theirs = read_by_library(library(files), samples, OPEN)
    assert_same(read_in_windows(backend, samples, OPEN), theirs)
    french = replace(OPEN, language="fr")
    assert_same(read_in_windows(backend, samples, french), theirs)


def test_the_ladder_of_temperatures(make_files: Any) -> None:
    """Chance repeats where one thread draws it, from the same seed."""
    files, samples = make_files(2), sound(65, seed=4)
    asked = TranscribeOptions(
        no_speech_threshold=None, log_prob_threshold=-0.9, compression_ratio_threshold=1.2
    )
    ctranslate2.set_random_seed(7)
    theirs = read_by_library(library(files), samples, asked)
    ctranslate2.set_random_seed(7)
    backend = WhisperBackend(spec_of(files, n_slots=1))
    assert_same(read_in_windows(backend, samples, asked), theirs)
    assert {each.temperature for each in theirs.segments} - {0.0}


@pytest.mark.parametrize(
    "asked", [{}, {"language": "fr"}, {"word_timestamps": True, "without_timestamps": False}], ids=str
)
def test_chunks_are_those_of_the_batched_pipeline(
    make_files: Any, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Noise is no speech to the real detector, so one stands in for it that goes by loudness."""
    files, samples = make_files(3), sound(95, seed=1)
    monkeypatch.setattr("tests.support.listening.find_speech", lambda *_: spans_of(samples))
    spans = [{"start": span.start, "end": span.end} for span in spans_of(samples)]
    monkeypatch.setattr("faster_whisper.transcribe.get_speech_timestamps", lambda *_: spans)
    options = replace(OPEN, **{"without_timestamps": True} | asked)
    pipeline = faster_whisper.BatchedInferencePipeline(library(files))
    theirs = read_by_library(pipeline, samples, options, batch_size=3)
    ours = read_in_chunks(WhisperBackend(spec_of(files)), samples, options)
    assert len({each.start_frame for each in ours.segments}) > 2
    assert_same(ours, theirs)


def spans_of(samples: Samples) -> list[Any]:
    from turbov2.speech.voices import SpeechFinder

    loud = np.abs(samples[: len(samples) // 512 * 512].reshape(-1, 512)).max(axis=1) > 200
    finder = SpeechFinder(VoiceOptions(max_speech_duration_s=30, min_silence_duration_ms=160))
    return finder.feed(np.where(loud, 0.9, 0.1).tolist()) + finder.finish(len(samples))


def test_windows_at_a_time_do_not_know_of_each_other(make_files: Any) -> None:
    from concurrent.futures import ThreadPoolExecutor

    backend = WhisperBackend(spec_of(make_files(3), n_slots=3))
    assert backend.loaded.n_slots == 3
    streams = [sound(35, seed) for seed in range(6)]
    alone = [read_in_windows(backend, samples, OPEN) for samples in streams]
    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(lambda samples: read_in_windows(backend, samples, OPEN), streams)) == alone


def test_a_cancelled_window_is_left_before_its_next_step(make_files: Any) -> None:
    backend, asked = WhisperBackend(spec_of(make_files(0))), 0

    def is_cancelled() -> bool:
        nonlocal asked
        asked += 1
        return asked > 2  # after the language and the encoder, before the first token

    task = next_window(Position(), OPEN, 10 * SECOND, peak=0.0)
    with pytest.raises(InferenceFailed, match="nobody waits"):
        backend.listen(sound(10), task, is_cancelled)
    assert asked == 3


def test_a_language_that_nobody_speaks(make_files: Any) -> None:
    backend = WhisperBackend(spec_of(make_files(0)))
    task = WindowTask(0, 100, 0.0, TranscribeOptions(language="tlh"))
    with pytest.raises(InvalidRequest, match="'tlh'"):
        backend.listen(sound(1), task, lambda: False)


def test_what_was_loaded_is_told(make_files: Any) -> None:
    loaded = WhisperBackend(spec_of(make_files(0), compute_type="int8")).loaded
    assert loaded.capabilities == ("transcribe",)
    assert loaded.dtype.startswith("int8")
    assert loaded.speech is not None
    assert loaded.speech.n_mels == 80
    assert {"en", "fr", "de"} <= set(loaded.speech.languages)


@pytest.mark.parametrize("missing", ["tokenizer.json", "model.bin", "config.json", "vocabulary.json"])
def test_a_missing_file_is_named_and_not_fetched(make_files: Any, missing: str) -> None:
    files = {name: path for name, path in make_files(0).items() if name != missing}
    with pytest.raises(LoadFailed, match=missing):
        WhisperBackend(spec_of(files))


def test_an_option_of_the_wrong_kind(make_files: Any) -> None:
    with pytest.raises(LoadFailed, match="compute_type"):
        WhisperBackend(spec_of(make_files(0), compute_type="int3"))
