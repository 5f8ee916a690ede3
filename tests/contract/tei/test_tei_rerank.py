"""POST /rerank in the manner of text-embeddings-inference."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import FAKE, REAL, Embed, MakeServer, RunningServer, assert_clean, fake_model

QUERY = "How do cats sleep?"
TEXTS = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."]


def rerank(server: RunningServer, **fields: Any) -> httpx.Response:
    body = {"query": QUERY, "texts": TEXTS, **fields}
    return server.http.post("/rerank", json={k: v for k, v in body.items() if v is not ...})


def cosines(unit_vectors: Embed) -> np.ndarray[Any, Any]:
    vectors = unit_vectors([QUERY, *TEXTS])
    return vectors[1:] @ vectors[0]


def test_a_bare_array(server: RunningServer, unit_vectors: Embed) -> None:
    answer = rerank(server)
    assert answer.status_code == 200
    ranks = answer.json()
    wanted = (1 + cosines(unit_vectors)) / 2
    assert [rank["index"] for rank in ranks] == np.argsort(-wanted).tolist()
    assert all(set(rank) == {"index", "score"} for rank in ranks)
    assert [rank["score"] for rank in ranks] == pytest.approx(sorted(wanted, reverse=True), abs=1e-6)
    assert int(answer.headers["x-compute-characters"]) == 3 * len(QUERY) + sum(map(len, TEXTS))
    assert int(answer.headers["x-compute-tokens"]) > 10
    for name in ("x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"):
        assert answer.headers[name].isdigit()


def test_raw_scores_and_texts(server: RunningServer, unit_vectors: Embed) -> None:
    ranks = rerank(server, raw_scores=True, return_text=True, truncation_direction="Right").json()
    assert [rank["text"] for rank in ranks] == [TEXTS[rank["index"]] for rank in ranks]
    wanted = sorted(cosines(unit_vectors), reverse=True)
    assert [rank["score"] for rank in ranks] == pytest.approx(wanted, abs=1e-6)


def test_a_model_named_beside_texts_is_ignored(server: RunningServer) -> None:
    assert rerank(server, model="nope", documents=["x"]).json() == rerank(server).json()


@pytest.mark.parametrize(
    ("fields", "status", "kind", "message"),
    [
        ({"texts": []}, 400, "Empty", "`texts` cannot be empty"),
        ({"texts": ["a", 1]}, 422, "Validation", "texts[1]: Expected `str`, got `int`"),
        ({"texts": "a"}, 422, "Validation", "texts: Expected `array`, got `str`"),
        ({"query": ...}, 422, "Validation", "Object missing required field `query`"),
        ({"query": ""}, 400, "Empty", "query is empty"),
        ({"truncation_direction": "left"}, 422, "Validation", "truncation_direction is 'left'"),
        ({"texts": ["a"] * 32_769}, 413, "Validation", "batch size 32769 > maximum allowed batch size 32768"),
        ({"texts": ["x" * 1_000_001]}, 422, "Validation", "texts 0 has 1000001 characters"),
    ],
)
def test_what_is_refused(
    server: RunningServer, fields: dict[str, Any], status: int, kind: str, message: str
) -> None:
    answer = rerank(server, **fields)
    assert answer.status_code == status, answer.text
    assert_clean(answer)
    assert set(answer.json()) == {"error", "error_type"}
    assert answer.json()["error_type"] == kind
    assert message in answer.json()["error"]


def test_failures_of_the_model(make_server: MakeServer, tmp_path: Any) -> None:
    models = fake_model(FAKE, tmp_path, max_tokens=4, nan_on="nan-now", fail_on="fail-now")
    env = {"TURBOV2_DEFAULT_RERANK_MODEL": FAKE, "TURBOV2_PRELOAD": "none"}
    server = make_server(env=env, models=models)
    for text in ("fail-now", "nan-now"):
        answer = rerank(server, query="a", texts=[text])
        assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
    answer = rerank(server, query="a", texts=["a b c d e f"])
    assert (answer.status_code, answer.json()["error_type"]) == (422, "Validation")
    assert rerank(server, query="a", texts=["a b c d e f"], truncate=True).status_code == 200


def test_a_default_model_that_cannot_rank(make_server: MakeServer) -> None:
    env = {"TURBOV2_DEFAULT_RERANK_MODEL": "whisper-base", "TURBOV2_PRELOAD": REAL}
    answer = rerank(make_server(env=env))
    assert (answer.status_code, answer.json()["error_type"]) == (424, "Backend")
