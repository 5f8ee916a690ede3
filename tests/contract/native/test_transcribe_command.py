"""`turbov2 transcribe` against a running server."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import DEADLY, EARS, ears_server, recording, words
from tests.support.server import RunningServer
from turbov2.cli import app

TALK = recording(12, silent=(3, 4))
Transcribe = Callable[..., Result]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("ears")) as running:
        yield running


@pytest.fixture
def transcribe(server: RunningServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Transcribe:
    """Runs the command in a folder where talk.wav is, against the server."""
    for name in [name for name in os.environ if name.startswith(("TURBOV2_", "EMBEDDINGS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("TURBOV2_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    Path("talk.wav").write_bytes(TALK)
    return lambda *args: CliRunner().invoke(app, ["transcribe", *args, "--url", server.base_url])


def test_text(transcribe: Transcribe) -> None:
    result = transcribe("talk.wav")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "s0 s1 s2\ns5 s6 s7 s8 s9\ns10 s11\n"
    assert "transcribing talk.wav: 12 seconds" in result.stderr


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("srt", "1\n00:00:00,000 --> 00:00:02,900\ns0 s1 s2\n\n2\n00:00:05,000 --> "),
        ("vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:02.900\ns0 s1 s2\n\n00:00:05.000 --> "),
    ],
)
def test_subtitles(transcribe: Transcribe, name: str, start: str) -> None:
    assert transcribe("talk.wav", "--format", name, "--language", "en").stdout.startswith(start)


def test_json(transcribe: Transcribe) -> None:
    body = json.loads(transcribe("talk.wav", "-f", "json", "--model", EARS, "--vad", "--translate").stdout)
    assert (body["file"], body["model"], body["task"]) == ("talk.wav", EARS, "translate")
    assert [segment["id"] for segment in body["segments"]] == list(range(len(body["segments"])))
    assert body["duration"] == 12


def test_several_files_into_a_folder(transcribe: Transcribe) -> None:
    Path("other.wav").write_bytes(recording(2))
    result = transcribe("talk.wav", "other.wav", "--format", "srt", "--out", "subtitles")
    assert (result.exit_code, result.stdout) == (0, "")
    assert sorted(path.name for path in Path("subtitles").iterdir()) == ["other.srt", "talk.srt"]


def test_a_file_that_fails_does_not_stop_the_others(transcribe: Transcribe) -> None:
    Path("cut.wav").write_bytes(TALK[:100_000])
    result = transcribe("cut.wav", "missing.wav", "talk.wav", "--out", "texts")
    assert result.exit_code == 1
    assert "cut short" in result.stderr
    assert "missing.wav" in result.stderr
    assert "".join(Path("texts/talk.txt").read_text().split("\n")).startswith("s0 s1 s2")


def test_a_failure_midway_says_how_much_was_heard(transcribe: Transcribe) -> None:
    Path("long.wav").write_bytes(recording(70))
    result = transcribe("long.wav", "--model", DEADLY)
    assert result.exit_code == 1
    assert "stopped after 6 segments" in result.stderr
    assert words(2) not in result.stdout
