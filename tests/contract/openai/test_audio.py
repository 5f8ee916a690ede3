"""POST /v1/audio/transcriptions and /v1/audio/translations: every format, streams, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import DEADLY, EARS, ears_server, recording, words
from tests.support.server import INLINE, RunningServer, openai_error

SOUND = recording(12, silent=(3, 4))
TEXT = words(12, silent=(3, 4))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("ears")) as running:
        yield running


def hear(
    server: RunningServer, sound: bytes = SOUND, path: str = "transcriptions", **fields: Any
) -> httpx.Response:
    data = {"model": EARS, **fields}
    return server.http.post(f"/v1/audio/{path}", files={"file": ("talk.wav", sound)}, data=data)


def test_json(server: RunningServer) -> None:
    answer = hear(server)
    assert answer.json() == {"text": TEXT, "usage": {"type": "duration", "seconds": 12.0}}


def test_text(server: RunningServer) -> None:
    answer = hear(server, response_format="text")
    assert answer.text == TEXT + "\n"
    assert answer.headers["content-type"].startswith("text/plain")


def test_verbose_json(server: RunningServer) -> None:
    body = hear(server, response_format="verbose_json").json()
    assert set(body) == {"task", "language", "duration", "text", "segments", "usage"}
    assert (body["task"], body["language"], body["duration"]) == ("transcribe", "english", 12.0)
    assert set(body["segments"][0]) >= {
        "id", "seek", "start", "end", "text", "tokens", "temperature", "avg_logprob", "compression_ratio",
        "no_speech_prob",
    }  # fmt: skip
    assert "".join(segment["text"] for segment in body["segments"]).strip() == TEXT


def test_granularities(server: RunningServer) -> None:
    name = "timestamp_granularities[]"
    both = hear(server, response_format="verbose_json", **{name: ["word", "segment"]}).json()
    assert both["words"][0] == {"word": "s0", "start": 0.0, "end": 0.9}
    assert [word["word"] for word in both["words"]] == TEXT.split()
    assert len(both["segments"]) == 3
    words_only = hear(server, response_format="verbose_json", timestamp_granularities="word").json()
    assert ("words" in words_only, "segments" in words_only) == (True, False)


def test_subtitles(server: RunningServer) -> None:
    srt = hear(server, response_format="srt")
    assert srt.text.startswith("1\n00:00:00,000 --> 00:00:02,900\ns0 s1 s2\n\n2\n")
    vtt = hear(server, response_format="vtt")
    assert vtt.text.startswith("WEBVTT\n\n00:00:00.000 --> 00:00:02.900\ns0 s1 s2\n\n")
    assert vtt.headers["content-type"].startswith("text/vtt")


def test_translations(server: RunningServer) -> None:
    body = hear(server, path="translations", response_format="verbose_json", language="xx").json()
    assert (body["task"], body["language"]) == ("translate", "english")
    assert body["text"] == TEXT.replace("s", "t")


def test_the_file_may_come_last_and_fields_nobody_knows_do_not_matter(server: RunningServer) -> None:
    fields = [("model", (None, EARS)), ("keywords[]", (None, "a")), ("chunking_strategy", (None, "auto"))]
    answer = server.http.post(
        "/v1/audio/transcriptions", files=[*fields, ("file", ("x.mp3", SOUND, "audio/mpeg"))]
    )
    assert answer.json()["text"] == TEXT


def events_of(answer: httpx.Response) -> list[tuple[str, dict[str, Any]]]:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"].startswith("text/event-stream")
    frames = [frame.split("\n") for frame in answer.text.removesuffix("\n\n").split("\n\n")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in frames]


def test_a_stream(server: RunningServer) -> None:
    events = events_of(hear(server, stream="true"))
    assert [name for name, _ in events] == [data["type"] for _, data in events]
    *deltas, (name, done) = events
    assert {name for name, _ in deltas} == {"transcript.text.delta"}
    assert "".join(data["delta"] for _, data in deltas) == TEXT
    assert (name, done["text"]) == ("transcript.text.done", TEXT)
    usage = done["usage"]
    assert (usage["type"], usage["input_tokens"], usage["output_tokens"]) == ("tokens", 600, 10)
    assert usage["total_tokens"] == 610


def test_a_failure_within_a_stream_is_an_error_event(server: RunningServer) -> None:
    *_, (name, data) = events_of(hear(server, recording(70), model=DEADLY, stream="true"))
    assert name == "error"
    assert data["error"]["code"] == "runner_crashed"


@pytest.mark.parametrize(
    ("fields", "status", "param"),
    [
        ({"model": "no-such-model"}, 404, "model"),
        ({"model": INLINE}, 400, "model"),
        ({"language": "klingon"}, 400, "language"),
        ({"response_format": "docx"}, 400, "response_format"),
        ({"temperature": "1.5"}, 400, "temperature"),
        ({"timestamp_granularities[]": "letter"}, 400, "timestamp_granularities"),
        ({"include[]": "logprobs"}, 501, "include"),
        ({"stream": "true", "response_format": "srt"}, 400, "stream"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, str], status: int, param: str) -> None:
    assert openai_error(hear(server, **fields), status)["param"] == param


def test_an_unknown_language_is_told_which_are_known(server: RunningServer) -> None:
    message = openai_error(hear(server, language="xx"), 400)["message"]
    assert "'xx'" in message
    assert "en, " in message


def test_files_that_are_none(server: RunningServer) -> None:
    assert openai_error(hear(server, b""), 400)["param"] == "file"
    answer = server.http.post("/v1/audio/transcriptions", data={"model": EARS})
    assert openai_error(answer, 400)["code"] == "invalid_request"
