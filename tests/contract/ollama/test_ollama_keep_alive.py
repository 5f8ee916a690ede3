"""keep_alive: when a model leaves memory, on every route that takes it."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.support.server import INLINE, RunningServer, ollama_error, until

FOR_EVER_S = 365 * 86_400.0


def ask(server: RunningServer, path: str = "/api/embed", **body: Any) -> dict[str, Any]:
    key = "prompt" if path == "/api/embeddings" else "input"
    response = server.http.post(path, json={"model": INLINE, key: "x", **body})
    assert response.status_code == 200, response.text
    return dict(response.json())


def expires_in_s(server: RunningServer) -> float | None:
    """Returns the seconds until the model goes; None when it is not loaded."""
    for model in server.http.get("/api/ps").json()["models"]:
        if model["name"] == f"{INLINE}:latest" and model["state"] == "ready":
            at = dt.datetime.fromisoformat(model["expires_at"])
            return (at - dt.datetime.now(dt.UTC)).total_seconds()
    return None


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
@pytest.mark.parametrize(
    ("value", "seconds"),
    [
        *(("5m", 300), ("1h30m", 5400), ("1.5h", 5400), ("90s", 90), ("120000ms", 120), ("+2m", 120)),
        *((600, 600), (600.5, 600.5), (1e3, 1000), (None, 300)),
    ],
)
def test_stays_as_long_as_asked(server: RunningServer, path: str, value: object, seconds: float) -> None:
    ask(server, keep_alive=0)
    ask(server, path, keep_alive=value)
    assert expires_in_s(server) == pytest.approx(seconds, abs=5)


@pytest.mark.parametrize("value", [-1, -0.5, "-1m", "-1s"])
def test_negative_is_for_ever(server: RunningServer, value: object) -> None:
    ask(server, keep_alive=value)
    assert (expires_in_s(server) or 0) > FOR_EVER_S


@pytest.mark.parametrize("value", [0, 0.0, "0", "0s", "0m", "1ms"])
def test_zero_unloads_once_answered(server: RunningServer, value: object) -> None:
    assert len(ask(server, keep_alive=value)["embeddings"]) == 1
    until(lambda: expires_in_s(server) is None)


@pytest.mark.parametrize("value", [0, "0"])
def test_zero_without_input_unloads(server: RunningServer, value: object) -> None:
    ask(server, keep_alive="5m")
    assert ask(server, input=[], keep_alive=value)["embeddings"] == []
    until(lambda: expires_in_s(server) is None)


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/api/generate", "/api/chat"])
@pytest.mark.parametrize(
    "value", ["5", "-5", "", "m", "5 m", "1d", "five", "5m!", "--5m", "NaN", [], {}, True, ["5m"]]
)
def test_refused(server: RunningServer, path: str, value: object) -> None:
    body = {"model": INLINE, "keep_alive": value} | ({"input": "x"} if path == "/api/embed" else {})
    body |= {"prompt": "x"} if path == "/api/embeddings" else {}
    assert "keep_alive" in ollama_error(server.http.post(path, json=body), 400)
