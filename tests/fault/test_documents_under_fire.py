"""Documents while servers die and clients leave: jobs go on where they were, nothing runs on unasked."""

from __future__ import annotations

import json
import os
import signal
import time
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytest.importorskip("pypdfium2", reason="reads documents: needs pypdfium2")

from tests.support.pdfs import pdf
from tests.support.server import MakeServer, RunningServer, fake_model, metric, until

N_PAGES = 16
SLOW = "fake-slow"  # embeds a page in a tenth of a second
BOOK = pdf(
    *(f"BT /F 12 Tf 50 700 Td (This is page {number} of a book) Tj ET" for number in range(1, N_PAGES + 1))
)
FIELDS = {"classify": "false", "embed": SLOW}


@pytest.fixture
def models(tmp_path: Path) -> str:
    return fake_model(SLOW, tmp_path, runner="process", delay_s=0.1)


def begin(server: RunningServer, **fields: str) -> str:
    answer = server.http.post(
        "/api/documents", files={"file": BOOK}, data={**FIELDS, "job": "true", **fields}
    )
    assert answer.status_code == 202, answer.text
    return str(answer.json()["id"])


def status(server: RunningServer, job_id: str) -> dict[str, Any]:
    answer = server.http.get(f"/api/jobs/{job_id}?limit=500")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def assert_whole(job: dict[str, Any]) -> None:
    assert (job["state"], job["done"], job["total"]) == ("done", N_PAGES, N_PAGES)
    assert [page["page"] for page in job["results"]] == list(range(1, N_PAGES + 1))
    for page in job["results"]:
        assert page["error"] is None
        assert page["text"] == f"This is page {page['page']} of a book"
        assert len(page["chunks"][0]["embedding"]) == 8


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_job_goes_on_in_the_next_server(make_server: MakeServer, models: str, how: signal.Signals) -> None:
    first = make_server(models=models)
    job_id, waits = begin(first), begin(first, pages="1")
    until(lambda: status(first, job_id)["done"] >= 4)
    began_s = time.monotonic()
    os.kill(first.pid, how)
    first.wait()
    assert time.monotonic() - began_s < 5  # jobs do not hold up the stop
    second = make_server(models=models, env={"TURBOV2_HOME": str(first.folder / "home")})
    resumed = status(second, job_id)
    assert 4 <= resumed["done"] < N_PAGES
    kept = resumed["results"]
    until(lambda: status(second, waits)["state"] == "done")
    job = status(second, job_id)
    assert_whole(job)
    assert job["results"][: len(kept)] == kept  # what was done was not done again
    n_embedded = metric(second, "turbov2_requests_accepted_total", model=SLOW)
    assert n_embedded <= N_PAGES - 4 + 1  # the other job's page


def test_a_job_outlives_the_process_that_runs_its_model(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    job_id = begin(server)
    until(lambda: status(server, job_id)["done"] >= 4)
    for child in psutil.Process(server.pid).children(recursive=True):
        child.kill()  # the model's and the decoder's
    until(lambda: status(server, job_id)["state"] in ("done", "failed"))
    job = status(server, job_id)
    assert (job["state"], job["done"]) == ("done", N_PAGES)
    assert sum(page["error"] is not None for page in job["results"]) <= 2  # the pages in their hands


def test_a_client_that_leaves_a_stream_stops_it_within_a_page(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    form = {"files": {"file": BOOK}, "data": {**FIELDS, "stream": "true"}}
    with httpx.stream("POST", f"{server.base_url}/api/documents", timeout=30, **form) as answer:  # type: ignore[arg-type]
        lines = answer.iter_lines()
        assert [json.loads(next(lines))["page"] for _ in range(2)] == [1, 2]
    assert_stopped(server)


def test_a_removed_job_stops_within_a_page(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    job_id = begin(server)
    until(lambda: status(server, job_id)["done"] >= 2)
    assert server.http.delete(f"/api/jobs/{job_id}").status_code == 200
    assert_stopped(server)
    folder = server.folder / "home" / "jobs"
    assert list(folder.iterdir()) == []


def assert_stopped(server: RunningServer) -> None:
    """Raises: AssertionError if more pages are embedded than were in work."""
    n_asked = metric(server, "turbov2_requests_accepted_total", model=SLOW)
    assert n_asked < N_PAGES / 2
    time.sleep(0.5)  # five pages' time
    assert metric(server, "turbov2_requests_accepted_total", model=SLOW) <= n_asked + 1


def test_events_end_when_the_server_stops(make_server: MakeServer, models: str) -> None:
    server = make_server(models=models)
    job_id = begin(server)
    with httpx.stream("GET", f"{server.base_url}/api/jobs/{job_id}/events", timeout=30) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "event: progress"
        server.terminate()
        list(lines)
    assert server.wait(10) == 0
