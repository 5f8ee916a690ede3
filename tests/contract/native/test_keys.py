"""Who may call: keys in every header that clients use, and a refusal that each of them can read."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.support.server import (
    INLINE,
    MakeServer,
    RunningServer,
    fake_model,
    ollama_error,
    openai_error,
    send_raw,
    until,
)

KEYS = ("first-key", "second-key")
BODY = {"model": INLINE, "input": "x"}


@pytest.fixture(scope="module")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("locked")
    env = {"EMBEDDINGS_API_KEY": ",".join(KEYS), "TURBOV2_PRELOAD": INLINE}
    with RunningServer(folder, env=env, models=fake_model(INLINE, folder)) as running:
        yield running


def ask(server: RunningServer, *headers: tuple[str, str], path: str = "/v1/embeddings") -> httpx.Response:
    """Sends the headers as they are: httpx refuses blanks at a value's end, which real clients send."""
    body = json.dumps(BODY).encode()
    lines = [f"POST {path} HTTP/1.1", "Host: x", f"Content-Length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    return send_raw(server, "\r\n".join(lines).encode(), body)


@pytest.mark.parametrize("path", ["/v1/embeddings", "/api/embed"])
@pytest.mark.parametrize(
    "headers",
    [
        [("X-API-Key", KEYS[0])],
        [("x-api-key", KEYS[1])],
        [("Authorization", f"Bearer {KEYS[0]}")],
        [("authorization", f"bearer {KEYS[1]}")],
        [("Authorization", f"BEARER   {KEYS[1]} ")],
        [("X-API-Key", KEYS[0]), ("Authorization", "Bearer wrong")],  # Claude Code sends two
        [("X-API-Key", "wrong"), ("Authorization", f"Bearer {KEYS[0]}")],
        [("X-API-Key", KEYS[0]), ("Authorization", "Bearer ")],
        [("X-API-Key", KEYS[0]), ("Authorization", "Basic dXNlcjpwYXNz")],
        [("X-API-Key", "wrong"), ("X-API-Key", KEYS[1])],
    ],
)
def test_any_valid_key_lets_in(locked: RunningServer, path: str, headers: list[tuple[str, str]]) -> None:
    assert ask(locked, *headers, path=path).status_code == 200


@pytest.mark.parametrize(
    ("headers", "says"),
    [
        ([], "missing API key"),
        ([("Authorization", "Bearer")], "missing API key"),
        ([("Authorization", "Bearer ")], "missing API key"),
        ([("Authorization", "")], "missing API key"),
        ([("Authorization", "Basic Zmlyc3Qta2V5")], "missing API key"),
        ([("Authorization", KEYS[0])], "missing API key"),
        ([("X-API-Key", "")], "missing API key"),
        ([("X-API-Key", "wrong")], "invalid API key"),
        ([("X-API-Key", KEYS[0].upper())], "invalid API key"),
        ([("X-API-Key", ",".join(KEYS))], "invalid API key"),
        ([("X-API-Key", KEYS[0] + "x")], "invalid API key"),
        ([("X-API-Key", "x" * 8000)], "invalid API key"),
        ([("X-API-Key", "clé")], "invalid API key"),
        ([("Authorization", "Bearer wrong"), ("X-API-Key", "wrong too")], "invalid API key"),
    ],
)
def test_others_are_refused(locked: RunningServer, headers: list[tuple[str, str]], says: str) -> None:
    response = ask(locked, *headers)
    error = openai_error(response, 401)
    assert says in error["message"]
    assert (error["type"], error["code"]) == ("authentication_error", "invalid_api_key")
    assert response.headers["www-authenticate"] == "Bearer"
    assert response.headers["x-request-id"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/api/embed"),
        ("GET", "/api/tags"),
        ("GET", "/api/status"),
        ("DELETE", "/api/delete"),
        ("GET", "/api/nope"),
    ],
)
def test_ollamas_refusal(locked: RunningServer, method: str, path: str) -> None:
    assert "missing API key" in ollama_error(locked.http.request(method, path), 401)


@pytest.mark.parametrize("path", ["/v1/models", "/v1/models/x", "/v1/nope", "/v1/embeddings/"])
def test_openais_refusal(locked: RunningServer, path: str) -> None:
    assert openai_error(locked.http.get(path), 401)["code"] == "invalid_api_key"


@pytest.mark.parametrize("path", ["/metrics", "/nope", "/metrics/", "//metrics"])
def test_native_refusal(locked: RunningServer, path: str) -> None:
    assert "missing API key" in ollama_error(locked.http.get(f"{locked.base_url}{path}"), 401)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/health", "/livez", "/readyz", "/healthz"])
def test_probes_need_no_key(locked: RunningServer, method: str, path: str) -> None:
    assert locked.http.request(method, path).status_code == 200


@pytest.mark.parametrize(
    "path", ["/health/../api/tags", "/health%2f..%2fapi/tags", "/livez/api/tags", "/healthx"]
)
def test_an_open_path_opens_nothing_else(locked: RunningServer, path: str) -> None:
    assert send_raw(locked, f"GET {path} HTTP/1.1\r\nhost: x".encode()).status_code == 401


def test_the_log_names_the_keys_hash_only(locked: RunningServer) -> None:
    for number, key in enumerate(KEYS):
        ask(locked, ("X-API-Key", key), ("x-request-id", f"key-test-{number}"))
    access = re.compile(r"turbov2\.access .* key-test-\d ([0-9a-f]{8})$", re.MULTILINE)
    until(lambda: len(access.findall(locked.log())) == 2)
    assert len(set(access.findall(locked.log()))) == 2
    assert not any(key in locked.log() for key in KEYS)


def test_open_paths_are_a_setting(make_server: MakeServer) -> None:
    server = make_server(env={"EMBEDDINGS_API_KEY": "k", "TURBOV2_OPEN_PATHS": "/metrics,/readyz,/v1/*"})
    expected = {"/metrics": 200, "/v1/models": 200, "/health": 401, "/api/tags": 401}
    assert {path: server.http.get(path).status_code for path in expected} == expected


def test_keys_from_a_file(make_server: MakeServer, tmp_path: Path) -> None:
    keys = tmp_path / "keys.txt"
    keys.write_text("# ours\n\n  from-file  \nsecond-line\n")
    server = make_server(env={"EMBEDDINGS_API_KEY": f"@{keys},direct"})
    expected = {"from-file": 200, "second-line": 200, "direct": 200, "# ours": 401, f"@{keys}": 401}
    headers = {key: {"X-API-Key": key} for key in expected}
    found = {key: server.http.get("/api/tags", headers=headers[key]).status_code for key in expected}
    assert found == expected


@pytest.mark.parametrize("header", ["Bearer anything", "Bearer ", "Bearer", "Basic x", ""])
def test_without_configured_keys_all_may_call(server: RunningServer, header: str) -> None:
    assert ask(server, ("Authorization", header), ("X-API-Key", "x")).status_code == 200
