"""POST /rerank, /v1/rerank and /v2/rerank in the manner of Cohere, Jina, Voyage, vLLM and Infinity."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import FAKE, REAL, Embed, RunningServer, assert_clean

QUERY = "How do cats sleep?"
DOCUMENTS = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."]
PATHS = ["/rerank", "/v1/rerank", "/v2/rerank"]


def rerank(server: RunningServer, path: str = "/v1/rerank", **fields: Any) -> httpx.Response:
    body = {"model": REAL, "query": QUERY, "documents": DOCUMENTS, **fields}
    return server.http.post(path, json={k: v for k, v in body.items() if v is not ...})


def documents_of(answer: httpx.Response) -> list[Any]:
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert body["data"] == body["results"]
    return [row.get("document") for row in body["results"]]


def cosines(unit_vectors: Embed) -> np.ndarray[Any, Any]:
    vectors = unit_vectors([QUERY, *DOCUMENTS])
    return vectors[1:] @ vectors[0]


@pytest.mark.parametrize("path", [*PATHS, "/v1/rerank/"])
def test_one_body_for_all(server: RunningServer, path: str, unit_vectors: Embed) -> None:
    answer = server.http.post(
        path,
        json={"model": "wordllama", "query": QUERY, "documents": DOCUMENTS},
        headers={"X-Request-ID": "r7"},
    )
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"id", "object", "created", "model", "results", "data", "usage", "meta"}
    assert (body["id"], body["object"], body["model"]) == ("r7", "list", "wordllama")
    version = "2" if path == "/v2/rerank" else "1"
    assert body["meta"] == {"api_version": {"version": version}, "billed_units": {"search_units": 1}}
    assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 10
    wanted = (1 + cosines(unit_vectors)) / 2
    assert [row["index"] for row in body["results"]] == np.argsort(-wanted).tolist()
    for row in body["results"]:
        assert row["relevance_score"] == pytest.approx(wanted[row["index"]], abs=1e-6)


@pytest.mark.parametrize("fields", [{"raw_scores": True}, {"use_activation": False}])
def test_raw_scores(server: RunningServer, unit_vectors: Embed, fields: dict[str, bool]) -> None:
    wanted = cosines(unit_vectors)
    for row in rerank(server, **fields).json()["results"]:
        assert row["relevance_score"] == pytest.approx(wanted[row["index"]], abs=1e-6)


@pytest.mark.parametrize(
    ("path", "fields", "form"),
    [
        ("/v2/rerank", {}, "none"),  # Cohere's second version
        ("/v1/rerank", {}, "none"),  # Cohere's first version
        ("/v1/rerank", {"return_documents": True}, "object"),  # Cohere's first version, Jina
        ("/v1/rerank", {"truncation": True}, "none"),  # Voyage
        ("/v1/rerank", {"truncation": True, "return_documents": True}, "text"),
        ("/v1/rerank", {"top_k": 3, "return_documents": True}, "text"),
        ("/rerank", {}, "object"),  # vLLM
        ("/v1/rerank", {"truncate_prompt_tokens": -1}, "object"),
        ("/v2/rerank", {"use_activation": True}, "object"),
        ("/rerank", {"return_documents": False, "raw_scores": False}, "none"),  # Infinity
        ("/rerank", {"return_documents": True, "raw_scores": False}, "text"),
        ("/rerank", {"return_documents": True}, "object"),  # Jina, or vLLM by way of LiteLLM
        ("/rerank", {"raw_scores": True}, "none"),
        ("/rerank", {"return_documents": False}, "none"),
        ("/rerank", {"return_documents": None, "truncation": None, "texts": None}, "object"),
    ],
)
def test_documents_in_the_form_of_the_dialect(
    server: RunningServer, path: str, fields: dict[str, Any], form: str
) -> None:
    found = documents_of(rerank(server, path, **fields))
    order = [row["index"] for row in rerank(server, path, **fields).json()["results"]]
    texts = [DOCUMENTS[index] for index in order]
    wanted = {"none": [None] * 3, "text": texts, "object": [{"text": text} for text in texts]}
    assert found == wanted[form]


@pytest.mark.parametrize(
    ("fields", "n"),
    [({"top_n": 1}, 1), ({"top_k": 2}, 2), ({"top_n": 0}, 3), ({"top_n": 99}, 3), ({"top_k": None}, 3)],
)
def test_the_best_few(server: RunningServer, fields: dict[str, Any], n: int) -> None:
    whole = rerank(server, return_documents=False).json()["results"]
    assert rerank(server, return_documents=False, **fields).json()["results"] == whole[:n]


def test_documents_as_objects(server: RunningServer) -> None:
    objects = [{"text": text, "title": "x"} for text in DOCUMENTS]
    assert rerank(server, documents=objects).json()["results"] == rerank(server).json()["results"]


def test_the_default_model(server: RunningServer) -> None:
    assert rerank(server, model=...).json()["model"] == REAL


def test_many_documents_in_pieces(server: RunningServer) -> None:
    documents = [f"document {n} about {'cats' if n == 1234 else 'money'}" for n in range(2000)]
    body = rerank(server, query="cats", documents=documents, top_n=500).json()
    assert body["results"][0]["index"] == 1234
    assert body["data"] == body["results"]
    assert len(body["results"]) == 500


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"query": ...}, 400, "query is required"),
        ({"query": ""}, 400, "query is empty"),
        ({"documents": ...}, 400, "documents is required: a list of texts"),
        ({"documents": []}, 400, "documents is empty: send at least one text"),
        ({"documents": [1]}, 400, "documents[0]: Expected `str | object`, got `int`"),
        ({"documents": [{"txt": "a"}]}, 400, "documents[0]: Object missing required field `text`"),
        ({"top_n": -2}, 400, "top_n is -2, expected at least 1, or 0 for all"),
        ({"top_k": -2}, 400, "top_k is -2, expected at least 1, or 0 for all"),
        ({"rank_fields": ["title"]}, 501, "rank_fields is not supported"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": "whisper-base"}, 400, "model 'whisper-base' does not "),
        ({"model": "fake-unbuilt"}, 501, "cannot run here"),
        ({"model": FAKE, "documents": ["fail-now"]}, 500, "told to fail on"),
        ({"model": FAKE, "documents": ["nan-now"]}, 500, "NaN"),
        ({"model": FAKE, "documents": ["a b c d e f g h i"], "truncation": False}, 400, "exceeds"),
        ({"documents": ["a"] * 32_769}, 400, "documents has 32769 texts, the limit is 32768"),
    ],
)
def test_what_is_refused(
    server: RunningServer, path: str, fields: dict[str, Any], status: int, message: str
) -> None:
    answer = rerank(server, path, **fields)
    assert answer.status_code == status, answer.text
    assert_clean(answer)
    body = answer.json()
    assert set(body) == {"message", "detail"}
    assert body["message"] == body["detail"]
    assert message in body["message"]
    assert answer.headers["x-request-id"]


@pytest.mark.parametrize("path", PATHS)
def test_odd_bodies(server: RunningServer, path: str) -> None:
    for body in (b"", b"[1]", b"{", b"null", b'{"query":"a","documents":["b"],"texts":'):
        answer = server.http.post(path, content=body)
        assert (answer.status_code, set(answer.json())) == (400, {"message", "detail"})
    answer = server.http.get(path)
    assert (answer.status_code, set(answer.json())) == (405, {"message", "detail"})
