"""Callers without a library: curl, n8n's requests replayed, a probe. Rows 1, 2, 11, 32 and 33."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.server import FAKE, REAL, RunningServer, send_raw

needs_curl = pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")


def curl(*arguments: str) -> str:
    done = subprocess.run(
        ["curl", "-sS", "-w", "\n%{http_code}", *arguments],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout


def body_of(answer: str, status: int = 200) -> Any:
    body, _, code = answer.rpartition("\n")
    assert int(code) == status, answer
    return json.loads(body)


@needs_curl
class TestCurl:
    def test_embed_without_a_content_type(self, server: RunningServer) -> None:
        body = json.dumps({"model": REAL, "input": "x"})
        assert len(body_of(curl(f"{server.base_url}/api/embed", "-d", body))["embeddings"][0]) == 256

    def test_the_banners_example(self, server: RunningServer) -> None:
        answer = body_of(curl(f"{server.base_url}/api/embed", "-d", '{"input":"hello"}'))
        assert len(answer["embeddings"]) == 1

    def test_root(self, server: RunningServer) -> None:
        assert curl(f"{server.base_url}/") == "Ollama is running\n200"

    def test_head_of_root(self, server: RunningServer) -> None:
        answer = curl("-I", f"{server.base_url}/")
        assert answer.startswith("HTTP/1.1 200 OK")
        assert answer.endswith("\n200")

    def test_large_body(self, server: RunningServer, tmp_path: Any) -> None:
        """curl asks for a 100 Continue first, and sends files with a form's content type."""
        body = tmp_path / "body.json"
        body.write_text(json.dumps({"model": REAL, "input": ["a text " * 50] * 4000}))
        answer = body_of(curl(f"{server.base_url}/api/embed", "-d", f"@{body}"))
        assert len(answer["embeddings"]) == 4000

    def test_100_mb(self, server: RunningServer, tmp_path: Any) -> None:
        body = tmp_path / "body.json"
        body.write_bytes(b"x" * 100_000_000)
        answer = body_of(curl(f"{server.base_url}/api/embed", "--data-binary", f"@{body}"), 413)
        assert "TURBOV2_MAX_BODY" in answer["error"]

    def test_error(self, server: RunningServer) -> None:
        answer = curl(f"{server.base_url}/v1/embeddings", "-d", '{"model":"nope","input":"x"}')
        assert body_of(answer, 404)["error"]["code"] == "model_not_found"


class TestN8n:
    """Requests as n8n's nodes send them (axios)."""

    HEADERS = {"accept": "application/json, text/plain, */*", "user-agent": "axios/1.12.0"}

    @pytest.mark.parametrize("authorization", ["Bearer ", "Bearer", "Bearer some-key"])
    def test_credential_test(self, server: RunningServer, authorization: str) -> None:
        lines = ["GET /api/tags HTTP/1.1", "host: localhost:11435", f"authorization: {authorization}"]
        lines += [f"{name}: {value}" for name, value in self.HEADERS.items()]
        response = send_raw(server, "\r\n".join(lines).encode())
        assert response.status_code == 200
        assert sorted(model["name"] for model in response.json()["models"])

    def test_drop_down_then_embeddings(self, server: RunningServer) -> None:
        names = [
            model["name"] for model in server.http.get("/api/tags", headers=self.HEADERS).json()["models"]
        ]
        name = next(name for name in sorted(names) if name.startswith(REAL))
        body = {"model": name, "input": ["a chunk", "another"], "truncate": False, "options": {}}
        response = server.http.post("/api/embed", json=body, headers=self.HEADERS)
        assert [len(vector) for vector in response.json()["embeddings"]] == [256, 256]

    def test_a_chunk_too_long_is_refused(self, server: RunningServer) -> None:
        body = {"model": FAKE, "input": ["fits", "a b c d e f g h i"], "truncate": False}
        response = server.http.post("/api/embed", json=body, headers=self.HEADERS)
        assert response.status_code == 400
        assert "exceeds the context length" in response.json()["error"]

    def test_openai_nodes_list_models(self, server: RunningServer) -> None:
        response = server.http.get("/v1/models", headers=self.HEADERS | {"authorization": "Bearer sk-none"})
        assert REAL in [model["id"] for model in response.json()["data"]]

    def test_reranker_node_looks_around(self, server: RunningServer) -> None:
        status = server.http.get("/api/status", headers=self.HEADERS).json()
        assert status["status"] == "healthy"
        assert isinstance(status["models"], list)
        assert isinstance(status["has_reranker"], bool)


def test_prometheus_parser(server: RunningServer) -> None:
    families = list(text_string_to_metric_families(server.http.get("/metrics").text))
    series = [(s.name, tuple(sorted(s.labels.items()))) for family in families for s in family.samples]
    assert len(series) == len(set(series)) > 20


@pytest.mark.parametrize("path", ["/livez", "/readyz"])
def test_a_kubelets_probe(server: RunningServer, path: str) -> None:
    headers = {"user-agent": "kube-probe/1.34", "accept": "*/*", "connection": "close"}
    assert httpx.get(f"{server.base_url}{path}", headers=headers, timeout=1).status_code == 200
