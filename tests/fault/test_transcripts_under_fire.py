"""Transcripts while servers and models die and clients leave: jobs lose nothing, nothing runs on unasked."""

from __future__ import annotations

import json
import os
import signal
import threading
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("av", reason="decodes audio: needs the extra audio")

from tests.support.ears import DEADLY, EARS, SLOW, WINDOW_S, ears_models, recording, words
from tests.support.server import MakeServer, RunningServer, leases, metric, until
from tests.support.sounds import silent_opus

N_WINDOWS = 12
N_SECONDS = 30 * N_WINDOWS
SOUND = recording(N_SECONDS)


@pytest.fixture
def models(tmp_path: Path) -> str:
    return ears_models(tmp_path)


def begin(server: RunningServer, sound: bytes = SOUND, **fields: str) -> str:
    data = {"model": SLOW, "language": "en", "job": "true", **fields}
    answer = server.http.post("/api/transcribe", files={"file": ("talk.wav", sound)}, data=data)
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def status(server: RunningServer, job_id: str) -> dict[str, Any]:
    answer = server.http.get(f"/api/jobs/{job_id}?limit=500")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_whole(job: dict[str, Any]) -> None:
    assert (job["state"], job["done"], job["total"]) == ("done", N_WINDOWS, N_WINDOWS), job["error"]
    segments = [segment for unit in job["results"] for segment in unit["segments"]]
    assert " ".join(segment["text"] for segment in segments) == words(N_SECONDS)
    assert [segment["id"] for segment in segments] == list(range(len(segments)))
    assert job["results"][-1]["done_s"] == N_SECONDS


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_goes_on_in_the_next_server(make_server: MakeServer, models: str, how: signal.Signals) -> None:
    first = make_server(models=models)
    job_id = begin(first)
    until(lambda: status(first, job_id)["done"] >= N_WINDOWS // 2)
    os.kill(first.pid, how)
    first.wait()
    second = make_server(models=models, env={"TURBOV2_HOME": str(first.folder / "home")})
    resumed = status(second, job_id)
    assert N_WINDOWS // 2 <= resumed["done"] < N_WINDOWS
    until(lambda: status(second, job_id)["state"] in ("done", "failed"))
    job = status(second, job_id)
    assert_whole(job)
    assert job["results"][: resumed["done"]] == resumed["results"]
    heard_s = metric(second, "turbov2_audio_seconds_total", model=SLOW)
    assert heard_s <= N_SECONDS / 2  # what was done was not done again
    assert list((first.folder / "home" / "jobs").iterdir()) == []


def test_a_job_outlives_its_model(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    job_id = begin(server)
    until(lambda: status(server, job_id)["done"] >= N_WINDOWS // 2)
    for child in psutil.Process(server.pid).children(recursive=True):
        child.kill()
    until(lambda: status(server, job_id)["state"] in ("done", "failed"))
    assert_whole(status(server, job_id))


def test_a_stream_outlives_its_model(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    lines = []
    with stream(server) as answer:
        for line in map(json.loads, answer.iter_lines()):
            lines.append(line)
            if len(lines) == 20:
                for child in psutil.Process(server.pid).children(recursive=True):
                    child.kill()
    assert lines[-1]["text"] == words(N_SECONDS)


def test_a_model_that_dies_at_the_same_window_each_time_fails_the_job(
    make_server: MakeServer, models: str
) -> None:
    server = make_server(models=models)
    job_id = begin(server, model=DEADLY)
    until(lambda: status(server, job_id)["state"] in ("done", "failed"))
    job = status(server, job_id)
    assert (job["state"], job["done"], job["error"]["code"]) == ("failed", 1, "runner_crashed")
    assert job["results"][0]["segments"]  # what was heard before is kept


def stream(server: RunningServer, **fields: str) -> Any:
    data = {"model": SLOW, "language": "en", "stream": "true", **fields}
    url = f"{server.base_url}/api/transcribe"
    return httpx.stream("POST", url, files={"file": ("talk.wav", SOUND)}, data=data, timeout=30)


def test_a_client_that_leaves_stops_the_work_at_once(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    with stream(server) as answer:
        lines = answer.iter_lines()
        while json.loads(next(lines))["event"] != "progress":
            pass
        until(lambda: leases(server, SLOW) == 1)  # it has none between two windows
    until(lambda: leases(server, SLOW) == 0)
    assert_stopped(server)
    assert metric(server, "turbov2_requests_ended_total", model=SLOW, outcome="cancelled") == 1


def test_chunks_wait_on_disk_and_not_before_others(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    job_id = begin(server, batch_size="64")
    until(lambda: status(server, job_id)["done"] >= 2)
    assert status(server, job_id)["total"] > 5
    assert metric(server, "turbov2_queue_items", model=SLOW) <= 1


def test_a_removed_job_stops_at_once(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    job_id = begin(server)
    until(lambda: status(server, job_id)["done"] >= 2)
    assert server.http.delete(f"/api/jobs/{job_id}").status_code == 200
    assert_stopped(server)
    assert list((server.folder / "home" / "jobs").iterdir()) == []


def assert_stopped(server: RunningServer) -> None:
    """Raises: AssertionError if more is heard than was."""
    heard_s = metric(server, "turbov2_audio_seconds_total", model=SLOW)
    assert 0 < heard_s < N_SECONDS / 2
    time.sleep(3 * WINDOW_S)
    assert metric(server, "turbov2_audio_seconds_total", model=SLOW) == heard_s


def test_memory_does_not_grow_with_the_file(make_server: MakeServer, models: str) -> None:
    """An hour is 115 MB of samples; what grows are the allocators of a few threads."""
    server = make_server(models=models)
    process, most, has_ended = psutil.Process(server.pid), [0], threading.Event()

    def hear(sound: bytes, seconds: int) -> None:
        form = {"files": {"file": ("talk.ogg", sound)}, "data": {"model": EARS}}
        answer = server.http.post("/api/transcribe", timeout=100, **form)  # type: ignore[arg-type]
        assert round(answer.json()["duration"]) == seconds

    def watch() -> None:
        while not has_ended.wait(0.01):
            most[0] = max(most[0], process.memory_info().rss)

    hear(silent_opus(60), 60)
    before = process.memory_info().rss
    watching = threading.Thread(target=watch)
    watching.start()
    hear(silent_opus(3600), 3600)
    has_ended.set()
    watching.join()
    assert most[0] - before < 60_000_000
