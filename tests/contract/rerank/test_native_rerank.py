"""POST /api/rerank, field by field, over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import FAKE, INLINE, REAL, Embed, MakeServer, RunningServer, ollama_error

QUERY = "How do cats sleep?"
DOCUMENTS = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."]


def rerank(server: RunningServer, **fields: Any) -> httpx.Response:
    body = {"model": REAL, "query": QUERY, "documents": DOCUMENTS, **fields}
    return server.http.post("/api/rerank", json={k: v for k, v in body.items() if v is not ...})


def cosines(unit_vectors: Embed) -> np.ndarray[Any, Any]:
    vectors = unit_vectors([QUERY, *DOCUMENTS])
    return vectors[1:] @ vectors[0]


def scores_of(answer: httpx.Response) -> dict[int, float]:
    assert answer.status_code == 200, answer.text
    return {row["index"]: row["relevance_score"] for row in answer.json()["results"]}


def test_the_documented_shape(server: RunningServer, unit_vectors: Embed) -> None:
    answer = rerank(server)
    assert answer.status_code == 200
    body = answer.json()
    assert set(body) == {"model", "results", "total_duration", "load_duration", "prompt_eval_count"}
    assert body["model"] == REAL
    assert [set(row) for row in body["results"]] == [{"index", "document", "relevance_score"}] * 3
    assert [row["document"] for row in body["results"]] == [
        DOCUMENTS[row["index"]] for row in body["results"]
    ]
    wanted = cosines(unit_vectors)
    assert [row["index"] for row in body["results"]] == np.argsort(-wanted).tolist()
    assert body["results"][0]["index"] == 1
    for index, score in scores_of(answer).items():
        assert score == pytest.approx(wanted[index], abs=1e-6)


@pytest.mark.parametrize("fields", [{"normalize": True}, {"raw_scores": False}])
def test_scores_in_0_to_1(server: RunningServer, unit_vectors: Embed, fields: dict[str, bool]) -> None:
    wanted = (1 + cosines(unit_vectors)) / 2
    for index, score in scores_of(rerank(server, **fields)).items():
        assert score == pytest.approx(wanted[index], abs=1e-6)


@pytest.mark.parametrize("fields", [{"normalize": False}, {"raw_scores": True}, {"normalize": None}])
def test_raw_scores(server: RunningServer, fields: dict[str, bool]) -> None:
    assert scores_of(rerank(server, **fields)) == scores_of(rerank(server))


@pytest.mark.parametrize(
    ("fields", "n"),
    [
        ({"top_k": 1}, 1),
        ({"top_n": 2}, 2),
        ({"top_n": 2, "top_k": 1}, 2),
        ({"top_k": 99}, 3),
        ({"top_k": 0}, 3),
        ({"top_k": None}, 3),
    ],
)
def test_the_best_few(server: RunningServer, fields: dict[str, int | None], n: int) -> None:
    assert rerank(server, **fields).json()["results"] == rerank(server).json()["results"][:n]


def test_equal_scores_keep_the_order(server: RunningServer) -> None:
    answer = rerank(server, documents=["same text", *DOCUMENTS, "same text", "same text"])
    order = [row["index"] for row in answer.json()["results"] if row["document"] == "same text"]
    assert order == [0, 4, 5]


def test_documents_as_objects(server: RunningServer) -> None:
    mixed = [{"text": DOCUMENTS[0], "id": 7}, DOCUMENTS[1], {"text": DOCUMENTS[2], "text_type": None}]
    assert rerank(server, documents=mixed).json()["results"] == rerank(server).json()["results"]


def test_without_documents_in_the_answer(server: RunningServer) -> None:
    rows = rerank(server, return_documents=False).json()["results"]
    assert [set(row) for row in rows] == [{"index", "relevance_score"}] * 3


def test_texts_come_back_as_they_were(server: RunningServer) -> None:
    texts = ['"quoted" \\ back', "naïve ☕ 日本語 \U0001f600", "line\nbreak\ttab \x01", ""]
    rows = rerank(server, documents=texts).json()["results"]
    assert {row["index"]: row["document"] for row in rows} == dict(enumerate(texts))


def test_the_default_model(server: RunningServer) -> None:
    answer = rerank(server, model=...)
    assert answer.json()["model"] == REAL
    assert answer.json()["results"] == rerank(server).json()["results"]


def test_the_default_model_is_a_setting(make_server: MakeServer) -> None:
    server = make_server(env={"TURBOV2_DEFAULT_RERANK_MODEL": "nonesuch", "TURBOV2_PRELOAD": "none"})
    assert ollama_error(rerank(server, model=...), 404) == "model 'nonesuch' not found"


def test_no_documents_no_results(server: RunningServer) -> None:
    answer = rerank(server, documents=[])
    assert (answer.status_code, answer.json()) == (200, {"model": REAL, "results": []})
    assert ollama_error(rerank(server, documents=[], model="nope"), 404) == "model 'nope' not found"


def test_many_documents_in_pieces(server: RunningServer) -> None:
    documents = [f"document {n} about {'cats' if n == 1234 else 'money'}" for n in range(3000)]
    rows = rerank(server, query="cats", documents=documents).json()["results"]
    assert rows[0]["index"] == 1234
    assert sorted(row["index"] for row in rows) == list(range(3000))
    scores = [row["relevance_score"] for row in rows]
    assert scores == sorted(scores, reverse=True)


def test_what_was_cut_off_and_what_failed(server: RunningServer) -> None:
    answer = rerank(server, model=FAKE, query="a", documents=["b", "a b c d e f g h i"])
    assert answer.json()["truncated"] == [1]
    assert "query_truncated" not in answer.json()
    answer = rerank(server, model=FAKE, query="a b c d e f g h i", documents=["b", "c"])
    assert answer.json()["query_truncated"] is True
    assert "truncated" not in answer.json()
    answer = rerank(server, model=FAKE, query="a", documents=["b", "fail-now", "c"], partial_results=True)
    body = answer.json()
    assert sorted(row["index"] for row in body["results"]) == [0, 2]
    assert [(item["index"], item["code"]) for item in body["errors"]] == [(1, "inference_failed")]


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"query": ...}, 400, "query is required: the text that documents are ranked for"),
        ({"query": None}, 400, "query is required: the text that documents are ranked for"),
        ({"query": " \n"}, 400, "query is empty: send the text that documents are ranked for"),
        ({"query": 7}, 400, "query: Expected `str | null`, got `int`"),
        ({"documents": ...}, 400, "documents is required: a list of texts"),
        ({"documents": "one"}, 400, "documents: Expected `array | null`, got `str`"),
        ({"documents": ["a", 1]}, 400, "documents[1]: Expected `str | object`, got `int`"),
        ({"documents": ["a", None]}, 400, "documents[1]: Expected `str | object`, got `null`"),
        ({"documents": [{"title": "a"}]}, 400, "documents[0]: Object missing required field `text`"),
        ({"top_k": -1}, 400, "top_k is -1, expected at least 1, or 0 for all"),
        ({"top_n": 1.5}, 400, "top_n: Expected `int | null`, got `float`"),
        ({"keep_alive": "5"}, 400, "keep_alive: "),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": "whisper-base"}, 400, "model 'whisper-base' does not "),
        ({"instruction": "find cats"}, 400, "reads no instruction; leave it out"),
        ({"model": FAKE, "documents": ["fail-now"]}, 500, "told to fail on"),
        ({"model": FAKE, "documents": ["nan-now"]}, 400, "NaN"),
        ({"model": FAKE, "documents": ["a b c d e f g h i"], "truncate": False}, 400, "exceeds the context"),
        ({"query": "x" * 1_000_001}, 400, "query has 1000001 characters, the limit is 1000000"),
        ({"documents": ["a", "x" * 1_000_001]}, 400, "documents 1 has 1000001 characters, the limit is 1000"),
        ({"documents": ["a"] * 32_769}, 400, "documents has 32769 texts, the limit is 32768"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, Any], status: int, message: str) -> None:
    assert message in ollama_error(rerank(server, **fields), status)


def test_odd_bodies(server: RunningServer) -> None:
    for body in (b"", b"[1]", b"{", b"null"):
        ollama_error(server.http.post("/api/rerank", content=body), 400)
    assert ollama_error(server.http.get("/api/rerank"), 405)
    form = {"content-type": "application/x-www-form-urlencoded"}
    body = b'{"query":"a","documents":["b"],"unknown":{"x":1},"top_k":null}'
    assert server.http.post("/api/rerank", content=body, headers=form).status_code == 200


def test_a_model_that_gives_the_zero_vector(server: RunningServer) -> None:
    assert scores_of(rerank(server, documents=["", "a"], normalize=True))[0] == 0.5
    assert rerank(server, model=INLINE).status_code == 200
