"""POST /api/transcribe and /api/audio/embed: every way to send and to answer, and the jobs they begin."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import DEADLY, EARS, POOR, ears_models, ears_server, recording, words
from tests.support.server import INLINE, MakeServer, RunningServer, loaded, metric, ollama_error, until

SOUND = recording(12, silent=(3, 4))
TEXT = words(12, silent=(3, 4))
FIELDS = {
    "model", "text", "language", "language_probability", "duration", "segments", "latency_ms", "task",
    "duration_after_vad", "audio", "timings",
}  # fmt: skip
SEGMENT_FIELDS = {
    "id", "start", "end", "text", "seek", "tokens", "temperature", "avg_logprob", "compression_ratio",
    "no_speech_prob", "doubts",
}  # fmt: skip


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with ears_server(tmp_path_factory.mktemp("ears")) as running:
        yield running


def hear(
    server: RunningServer, sound: bytes = SOUND, path: str = "/api/transcribe", **fields: str
) -> httpx.Response:
    return server.http.post(path, files={"file": ("talk.wav", sound, "audio/wav")}, data=fields)


def told(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def test_the_documented_answer_and_more(server: RunningServer) -> None:
    body = told(hear(server, language="en"))
    assert set(body) == FIELDS
    assert (body["model"], body["text"], body["language"]) == (EARS, TEXT, "en")
    assert (body["language_probability"], body["duration"], body["task"]) == (1.0, 12.0, "transcribe")
    assert body["audio"] == {"format": "WAV", "codec": "pcm_s16le", "sample_rate": 16000, "channels": 1}
    assert [set(segment) for segment in body["segments"]] == [SEGMENT_FIELDS] * 3
    assert [(s["id"], s["start"], s["end"], s["text"]) for s in body["segments"]] == [
        (0, 0.0, 2.9, "s0 s1 s2"),
        (1, 5.0, 9.9, "s5 s6 s7 s8 s9"),
        (2, 10.0, 11.9, "s10 s11"),
    ]
    assert body["latency_ms"] > 0


@pytest.mark.parametrize("path", ["/api/transcribe", "/api/transcribe/base64"])
@pytest.mark.parametrize("way", ["form", "data URI", "base64", "field of a form", "bare file"])
def test_every_way_to_send_a_file(server: RunningServer, path: str, way: str) -> None:
    text, fields = base64.b64encode(SOUND).decode(), {"language": "fr"}
    requests: dict[str, dict[str, Any]] = {
        "form": {"files": {"file": ("talk.wav", SOUND)}, "data": fields},
        "data URI": {"json": {"audio": f"data:audio/wav;base64,{text}", **fields}},
        "base64": {"json": {"file": text, **fields}},
        "field of a form": {"files": {"file": (None, text), "language": (None, "fr")}},
        "bare file": {"content": SOUND, "headers": {"content-type": "audio/wav"}, "params": fields},
    }
    body = told(server.http.post(path, **requests[way]))
    assert (body["text"], body["language"]) == (TEXT, "fr")


def test_the_language_is_detected(server: RunningServer) -> None:
    body = told(hear(server))
    assert (body["language"], body["language_probability"]) == ("en", 0.75)
    assert told(hear(server, language="auto"))["language"] == "en"
    assert told(hear(server, language="French"))["language"] == "fr"


def test_words(server: RunningServer) -> None:
    body = told(hear(server, recording(2), word_timestamps="true"))
    assert body["segments"][0]["words"] == [
        {"word": " s0", "start": 0.0, "end": 0.9, "probability": 0.9},
        {"word": " s1", "start": 1.0, "end": 1.9, "probability": 0.9},
    ]


def test_translation(server: RunningServer) -> None:
    for fields in ({"task": "translate"}, {"translate": "true"}):
        body = told(hear(server, recording(2), **fields))
        assert (body["text"], body["task"]) == ("t0 t1", "translate")


def test_silence_is_left_out_and_times_stay(server: RunningServer) -> None:
    silent = tuple(range(10, 40))
    body = told(hear(server, recording(50, silent), vad_filter="true"))
    assert body["duration"] == 50.0
    assert 20 <= body["duration_after_vad"] < 22
    assert body["segments"][0]["start"] == 0.0
    assert body["segments"][-1]["end"] == pytest.approx(50, abs=1)
    assert not [s for s in body["segments"] if 11 < s["start"] < 39]


def test_chunks_at_once_give_all_in_order(server: RunningServer) -> None:
    silent = tuple(n for n in range(100) if n % 10 >= 8)
    body = told(hear(server, recording(100, silent), batch_size="4", language="en"))
    starts = [segment["start"] for segment in body["segments"]]
    assert starts == sorted(starts)
    assert len(body["text"].split()) >= 80
    assert [segment["id"] for segment in body["segments"]] == list(range(len(starts)))


def test_chunks_need_voices(server: RunningServer) -> None:
    error = ollama_error(hear(server, recording(31), batch_size="4", vad_filter="false"), 400)
    assert "vad_filter" in error
    assert told(hear(server, recording(5), batch_size="4", vad_filter="false"))["text"] == words(5)


def test_a_part_of_the_file(server: RunningServer) -> None:
    body = told(hear(server, recording(40), start="10", end="15.5", language="en"))
    assert body["duration"] == 5.5
    assert [(s["start"], s["end"]) for s in body["segments"]] == [(10.0, 14.9), (15.0, 15.9)]
    assert "ends after 40 s" in ollama_error(hear(server, recording(40), start="41"), 400)
    assert "end" in ollama_error(hear(server, start="5", end="5"), 400)


@pytest.mark.parametrize(
    ("name", "kind", "start"),
    [
        ("text", "text/plain", "s0 s1 s2 s5 s6"),
        ("srt", "text/plain", "1\n00:00:00,000 --> 00:00:02,900\ns0 s1 s2\n\n2\n00:00:05,000 --> "),
        ("vtt", "text/vtt", "WEBVTT\n\n00:00:00.000 --> 00:00:02.900\ns0 s1 s2\n\n00:00:05.000 --> "),
    ],
)
def test_other_formats(server: RunningServer, name: str, kind: str, start: str) -> None:
    answer = hear(server, format=name)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == f"{kind}; charset=utf-8"
    assert answer.text.startswith(start)
    assert hear(server, response_format=name).text == answer.text


def test_a_word_a_cue(server: RunningServer) -> None:
    answer = hear(server, recording(3), format="srt", max_words_per_line="1")
    assert answer.text.count(" --> ") == 3


def stream(server: RunningServer, sound: bytes = SOUND, accept: str = "*/*", **fields: str) -> httpx.Response:
    answer = server.http.post(
        "/api/transcribe",
        files={"file": ("talk.wav", sound)},
        data={"stream": "true", **fields},
        headers={"accept": accept},
    )
    assert answer.status_code == 200, answer.text
    return answer


def test_a_stream_of_lines(server: RunningServer) -> None:
    sound = recording(70)
    answer = stream(server, sound)
    assert answer.headers["content-type"] == "application/x-ndjson"
    lines = [json.loads(line) for line in answer.text.splitlines()]
    kinds = [line["event"] for line in lines]
    assert (kinds[0], kinds[1], kinds[-1]) == ("started", "language", "done")
    assert (kinds.count("progress"), kinds.count("segment")) == (3, 14)
    whole = told(hear(server, sound))
    assert [line["segment"] for line in lines if line["event"] == "segment"] == whole["segments"]
    assert [line["done_s"] for line in lines if line["event"] == "progress"] == [30.0, 60.0, 70.0]
    assert {line["duration_s"] for line in lines if line["event"] == "progress"} == {70.0}
    assert lines[1] == {"event": "language", "language": "en", "language_probability": 0.75}
    for name in ("model", "text", "language", "duration"):
        assert lines[-1][name] == whole[name]


def test_a_stream_of_events(server: RunningServer) -> None:
    answer = stream(server, accept="text/event-stream", language="en")
    assert answer.headers["content-type"].startswith("text/event-stream")
    names = [line.removeprefix("event: ") for line in answer.text.splitlines() if line.startswith("event: ")]
    assert names == ["started", "segment", "segment", "segment", "progress", "done"]


def test_a_failure_within_a_stream_is_its_last_line(server: RunningServer) -> None:
    lines = [json.loads(line) for line in stream(server, recording(70), model=DEADLY).text.splitlines()]
    assert [line["event"] for line in lines].count("segment") == 6
    assert lines[-1]["event"] == "error"
    assert lines[-1]["code"] == "runner_crashed"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"language": "klingon"}, "klingon"),
        ({"language": "ja"}, "'ja'"),  # known, but not to this model
        ({"task": "sing"}, "task"),
        ({"temperature": "2"}, "temperature"),
        ({"temperature": "0,x"}, "temperature"),
        ({"beam_size": "0"}, "beam_size"),
        ({"vad_filter": "maybe"}, "vad_filter"),
        ({"vad_filter": "true", "vad_parameters": "[]"}, "vad_parameters"),
        ({"vad_filter": "true", "vad_parameters": "[" * 60_000}, "vad_parameters"),
        ({"vad_filter": "true", "vad_parameters": '{"loudness": 1}'}, "loudness"),
        ({"vad_filter": "true", "vad_parameters": '{"threshold": 2}'}, "threshold"),
        ({"format": "docx"}, "docx"),
        ({"format": "srt", "stream": "true"}, "stream"),
        ({"prompt": "x" * 10_001}, "prompt"),
        ({"max_line_width": "3"}, "max_line_width"),
        ({"model": INLINE}, "does not transcribe"),
        ({"model": POOR, "task": "translate"}, "does not translate"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, str], said: str) -> None:
    assert said in ollama_error(hear(server, **fields), 400)


@pytest.mark.parametrize("name", ["start", "end", "temperature", "beam_size", "batch_size"])
def test_numbers_without_measure_are_refused(server: RunningServer, name: str) -> None:
    body = f'{{"model": "{EARS}", "{name}": 1{"0" * 400}}}'
    assert name in ollama_error(server.http.post("/api/transcribe", content=body), 400)


def test_files_that_are_none(server: RunningServer) -> None:
    assert "required" in ollama_error(server.http.post("/api/transcribe", json={"model": EARS}), 400)
    assert "empty" in ollama_error(hear(server, b""), 400)
    assert "plain text" in ollama_error(hear(server, b"this is a text called talk.mp3 " * 40), 400)
    assert "cut short" in ollama_error(hear(server, SOUND[:200_000]), 400)
    ollama_error(hear(server, model="no-such-model"), 404)


def test_unknown_fields_are_ignored(server: RunningServer) -> None:
    assert told(hear(server, diarize="true", user="me"))["text"] == TEXT


def test_seconds_of_sound_are_counted(server: RunningServer) -> None:
    before = metric(server, "turbov2_audio_seconds_total", model=EARS)
    told(hear(server))
    assert metric(server, "turbov2_audio_seconds_total", model=EARS) - before == pytest.approx(12)


# --- vectors


def vectors(server: RunningServer, sound: bytes = SOUND, **fields: str) -> dict[str, Any]:
    fields = {"whisper_model": EARS, "embedding_model": INLINE, **fields}
    return told(hear(server, sound, "/api/audio/embed", **fields))


def embed(server: RunningServer, *texts: str) -> list[list[float]]:
    answer = server.http.post("/api/embed", json={"model": INLINE, "input": list(texts)})
    rows: list[list[float]] = answer.json()["embeddings"]
    return rows


def test_one_vector_of_all_that_is_said(server: RunningServer) -> None:
    body = vectors(server)
    assert {"model", "text", "language", "embedding_model", "embeddings", "latency_ms"} <= set(body)
    assert (body["model"], body["embedding_model"], body["text"]) == (EARS, INLINE, TEXT)
    assert body["embeddings"] == embed(server, TEXT)
    assert "chunks" not in body


def test_a_vector_of_each_segment(server: RunningServer) -> None:
    body = vectors(server, per="segment")
    texts = [chunk["text"] for chunk in body["chunks"]]
    assert texts == ["s0 s1 s2", "s5 s6 s7 s8 s9", "s10 s11"]
    assert [(chunk["start"], chunk["end"]) for chunk in body["chunks"]] == [(0, 2.9), (5, 9.9), (10, 11.9)]
    assert body["embeddings"] == embed(server, *texts)


def test_a_vector_of_so_many_seconds(server: RunningServer) -> None:
    body = vectors(server, per="10")
    assert [chunk["text"] for chunk in body["chunks"]] == ["s0 s1 s2 s5 s6 s7 s8 s9", "s10 s11"]
    assert len(body["embeddings"]) == 2


def test_vectors_of_silence_and_of_what_is_wrong(server: RunningServer) -> None:
    body = vectors(server, recording(2, silent=(0, 1)))
    assert (body["text"], body["embeddings"]) == ("", [])
    data = {"per": "word"}
    assert "per" in ollama_error(hear(server, SOUND, "/api/audio/embed", **data), 400)
    data = {"embedding_model": "no-such-model"}
    ollama_error(hear(server, SOUND, "/api/audio/embed", **data), 404)


# --- jobs


def ended(server: RunningServer, job_id: str) -> dict[str, Any]:
    def has_ended() -> bool:
        return server.http.get(f"/api/jobs/{job_id}").json()["state"] in ("done", "failed")

    until(has_ended)
    status: dict[str, Any] = server.http.get(f"/api/jobs/{job_id}").json()
    return status


def test_a_job(server: RunningServer) -> None:
    sound = recording(70)
    answer = hear(server, sound, job="true")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/api/jobs/{answer.json()['id']}"
    job = ended(server, answer.json()["id"])
    assert (job["kind"], job["state"], job["done"], job["total"]) == ("transcript", "done", 3, 3)
    assert [unit["done_s"] for unit in job["results"]] == [30.0, 60.0, 70.0]
    segments = [segment for unit in job["results"] for segment in unit["segments"]]
    assert segments == told(hear(server, sound))["segments"]


def test_the_transcript_of_a_job(server: RunningServer) -> None:
    sound = recording(70)
    job_id = hear(server, sound, job="true", word_timestamps="true").json()["id"]
    ended(server, job_id)
    path = f"/api/jobs/{job_id}/transcript"
    assert " ".join(server.http.get(path).text.split("\n")).strip() == words(70)
    for name in ("srt", "vtt"):
        answer = server.http.get(path, params={"format": name})
        assert answer.text == hear(server, sound, format=name, word_timestamps="true").text
    assert "docx" in ollama_error(server.http.get(path, params={"format": "docx"}), 400)
    ollama_error(server.http.get("/api/jobs/nope/transcript"), 404)


def test_a_job_that_fails(server: RunningServer) -> None:
    job = ended(server, hear(server, SOUND[:200_000], job="true").json()["id"])
    assert (job["state"], job["error"]["code"]) == ("failed", "bad_media")
    ollama_error(hear(server, model="no-such-model", job="true"), 404)
    ollama_error(hear(server, model=INLINE, job="true"), 400)
    ollama_error(hear(server, model=POOR, task="translate", job="true"), 400)


def test_the_model_stays_between_windows_whatever_keep_alive_says(
    make_server: MakeServer, tmp_path: Path
) -> None:
    server = make_server(models=ears_models(tmp_path), env={"TURBOV2_KEEP_ALIVE": "0"})
    assert told(hear(server, recording(100), batch_size="2"))["text"]
    until(lambda: EARS not in loaded(server))  # and goes with the request
    told(hear(server, recording(70), keep_alive="5m"))
    assert EARS in loaded(server)
    told(hear(server, recording(70), keep_alive="0"))
    until(lambda: EARS not in loaded(server))
    assert metric(server, "turbov2_loads_total", model=EARS) == 2
