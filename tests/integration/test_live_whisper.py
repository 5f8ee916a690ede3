"""Live speech with a Whisper of random weights, and of real ones: what is told is what a file would give."""

from __future__ import annotations

import io
import time
import wave
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("faster_whisper", reason="needs the extra 'audio'")

from tests.support.mouths import Mouth, Samples, mouth
from tests.support.server import RunningServer
from tests.support.sounds import voice
from tests.support.speech import fetch_speech, fetch_tiny_en
from tests.support.tiny_whisper import make_whisper

MODEL = "ears"
RATE_HZ = 16_000


def whisper_server(folder: Path, weights: Path) -> RunningServer:
    lines = [f'[models."{MODEL}"]', 'capability = "transcribe"', 'backend = "whisper"', 'runner = "process"']
    lines.append(f'weights = {{ kind = "path", path = "{weights}" }}')
    return RunningServer(folder, models="\n".join(lines))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("tiny")
    make_whisper(folder / "weights")
    with whisper_server(folder, folder / "weights") as running:
        yield running


def by_file(server: RunningServer, samples: Samples, **fields: str) -> dict[str, Any]:
    file = io.BytesIO()
    with wave.open(file, "wb") as writer:
        writer.setnchannels(1)
        writer.setsampwidth(2)
        writer.setframerate(RATE_HZ)
        writer.writeframes(samples.tobytes())
    files = {"file": ("talk.wav", file.getvalue())}
    answer = server.http.post("/api/transcribe", files=files, data={"model": MODEL, **fields}, timeout=120)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def assert_as_by_file(server: RunningServer, session: Mouth, sound: Samples, **fields: str) -> None:
    """Each final text is what a file of its samples gives; its times are those of the session."""
    n_before = 0
    for final in session.finals():
        part = sound[round(final["start"] * RATE_HZ) : round(final["end"] * RATE_HZ)]
        body = by_file(server, part, **fields)
        assert final["text"] == body["text"]
        assert final["language"] == body["language"]
        assert [each["id"] for each in final["segments"]] == [
            n_before + each["id"] for each in body["segments"]
        ]
        for ours, theirs in zip(final["segments"], body["segments"], strict=True):
            assert ours["tokens"] == theirs["tokens"]
            assert ours["doubts"] == theirs["doubts"]
            assert ours["start"] == pytest.approx(final["start"] + theirs["start"], abs=2e-3)
            assert ours["avg_logprob"] == pytest.approx(theirs["avg_logprob"], abs=1e-4)
        n_before += len(final["segments"])


@pytest.mark.parametrize(
    "fields", [{"temperature": "0"}, {"temperature": "0", "language": "fr", "beam_size": "1"}]
)
def test_random_weights(server: RunningServer, fields: dict[str, str]) -> None:
    sound = np.concatenate([voice(n, RATE_HZ, seed=n)[0] for n in (3, 7, 33)])
    query = "&".join(
        f"{name}={value}" for name, value in {"model": MODEL, "turns": "false", **fields}.items()
    )
    with mouth(server, query) as session:
        for start, end in ((0, 3), (3, 10), (10, 43)):
            session.speak(sound[start * RATE_HZ : end * RATE_HZ], 0.1)
            session.say(type="commit")
        session.say(type="end")
        assert session.rest() == (1000, "")
    assert len(session.finals()) == 4  # the last one is cut
    assert_as_by_file(server, session, sound, **fields)


@pytest.mark.network
@pytest.mark.timeout(600)
def test_real_speech(tmp_path: Path) -> None:
    """Half a page of Dickens, spoken as fast as it was read: nothing is lost, and text comes soon."""
    sound = fetch_speech(tmp_path).cities
    weights = Path(fetch_tiny_en(tmp_path).files["model.bin"]).parent
    with whisper_server(tmp_path, weights) as server:
        with mouth(server, f"model={MODEL}&temperature=0") as session:
            session.until("started", 60)
            began_s = time.monotonic()
            for n in range(0, len(sound), 1600):
                time.sleep(max(0.0, began_s + n / RATE_HZ - time.monotonic()))  # as a microphone
                session.speak(sound[n : n + 1600], 0.1)
                session.hear_what_came()
            session.say(type="end")
            assert session.rest() == (1000, "")
        assert_as_by_file(server, session, sound, temperature="0")
        told = " ".join(final["text"] for final in session.finals())
    for words in ("It was the best of times", "it was the epoch of belief", "degree of comparison only"):
        assert words.lower() in told.lower()
    assert sum(event["event"] == "partial" for event in session.told) > 10
