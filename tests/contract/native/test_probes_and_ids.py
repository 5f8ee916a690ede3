"""Health, probes, status and request ids."""

from __future__ import annotations

import json
import re
import threading
from pathlib import Path

import httpx
import pytest

from tests.support.server import (
    INLINE,
    REAL,
    MakeServer,
    RunningServer,
    assert_clean,
    fake_model,
    ollama_error,
    until,
)

OURS = re.compile(r"req_[0-9a-f]{24}")


@pytest.mark.parametrize("path", ["/livez", "/readyz", "/healthz", "/livez/", "/readyz?verbose"])
@pytest.mark.parametrize("method", ["GET", "HEAD"])
def test_probes(server: RunningServer, method: str, path: str) -> None:
    response = server.http.request(method, path)
    assert (response.status_code, response.text) == (200, "ok" if method == "GET" else "")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_health(server: RunningServer) -> None:
    server.embed(REAL)
    body = server.http.get("/health").json()
    assert body["status"] == "healthy"
    assert re.fullmatch(r"\d+\.\d+.*", body["version"])
    assert body["uptime_seconds"] > 0
    assert body["devices"][0]["budget_bytes"] > body["devices"][0]["model_bytes"] > 0
    assert {model["name"]: model["state"] for model in body["models"]}[REAL] == "ready"


def test_status_serves_n8n_and_ollama_clients(server: RunningServer) -> None:
    response = server.http.get("/api/status")
    body = response.json()
    assert body["status"] == "healthy"
    assert isinstance(body["models"], list)
    assert body["cloud"] == {"disabled": True, "source": "none"}
    assert type(body["has_classifier"]) is type(body["has_reranker"]) is bool
    assert {"version", "vram_usage"} <= set(body)
    assert REAL in [model["name"] for model in body["models"]]
    assert_clean(response)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [("POST", "/health", 405), ("GET", "/nope", 404), ("GET", "/%ff", 404), ("OPTIONS", "/", 405)],
)
def test_errors_of_native_paths(server: RunningServer, method: str, path: str, status: int) -> None:
    ollama_error(server.http.request(method, path), status)


def test_probes_answer_within_a_second_under_load(make_server: MakeServer, tmp_path: Path) -> None:
    models = "\n".join(
        fake_model(f"slow-{kind}", tmp_path, runner=kind, delay_s=0.5) for kind in ("thread", "process")
    )
    server = make_server(models=models)
    load = [
        threading.Thread(target=server.embed, args=(model, f"text {n}"))
        for n in range(4)
        for model in ("slow-thread", "slow-process")
    ]
    for thread in load:
        thread.start()
    statuses, probes = [], ("/livez", "/readyz", "/health", "/metrics")
    with httpx.Client(base_url=server.base_url, timeout=1) as kubelet:
        while any(thread.is_alive() for thread in load):
            statuses += [kubelet.get(path).status_code for path in probes]
    assert len(statuses) >= 40
    assert set(statuses) == {200}
    for thread in load:
        thread.join()


class TestRequestIds:
    @pytest.mark.parametrize("path", ["/api/version", "/v1/models", "/health", "/nope", "/api/embed"])
    def test_every_answer_has_one(self, server: RunningServer, path: str) -> None:
        ids = [server.http.get(path).headers for _ in range(2)]
        assert all(headers["x-request-id"] == headers["request-id"] for headers in ids)
        assert all(OURS.fullmatch(headers["x-request-id"]) for headers in ids)
        assert ids[0]["x-request-id"] != ids[1]["x-request-id"]

    @pytest.mark.parametrize("value", ["abc-123", "0af7651916cd43dd8448eb211c80", "a/b:c.d_e+f=", "x" * 128])
    def test_the_clients_own_comes_back(self, server: RunningServer, value: str) -> None:
        headers = server.http.get("/api/version", headers={"X-Request-Id": value}).headers
        assert headers["x-request-id"] == headers["request-id"] == value

    @pytest.mark.parametrize("value", [b"", b"a b", b"x" * 129, b'"><script>', b"caf\xc3\xa9", b"a;b"])
    def test_an_odd_one_is_replaced(self, server: RunningServer, value: bytes) -> None:
        headers = server.http.get("/api/version", headers=[(b"x-request-id", value)]).headers
        assert OURS.fullmatch(headers["x-request-id"])

    def test_it_is_in_the_log_line(self, server: RunningServer) -> None:
        body = {"model": INLINE, "input": "secret text"}
        server.http.post("/api/embed", json=body, headers={"x-request-id": "find-me"})
        until(lambda: "find-me" in server.log())
        line = next(line for line in server.log().splitlines() if "find-me" in line)
        assert "POST '/api/embed' 200 " in line
        assert "secret text" not in server.log()

    def test_log_lines_for_machines_are_json(self, make_server: MakeServer) -> None:
        server = make_server(env={"TURBOV2_LOG_FORMAT": "json"})
        server.http.get("/api/version", headers={"x-request-id": "find-me"})
        until(lambda: "find-me" in server.log())
        lines = [json.loads(line) for line in server.log().splitlines()]
        line = next(line for line in lines if line.get("request_id") == "find-me")
        assert (line["method"], line["path"], line["status"]) == ("GET", "/api/version", 200)
        assert line["bytes"] > 0
