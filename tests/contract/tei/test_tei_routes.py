"""text-embeddings-inference's own routes, over real HTTP."""

from __future__ import annotations

from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import FAKE, REAL, Embed, MakeServer, RunningServer, assert_clean, fake_model

TEXTS = ["The cat sat on the mat.", "Ein ganz anderer Satz.", "naïve café ☕ 日本語"]
EMBED_PATHS = ["/embed", "/", "/invocations"]


def tei_error(answer: httpx.Response, status: int, kind: str) -> str:
    assert answer.status_code == status, answer.text
    assert_clean(answer)
    assert set(answer.json()) == {"error", "error_type"}
    assert answer.json()["error_type"] == kind
    return str(answer.json()["error"])


@pytest.mark.parametrize("path", EMBED_PATHS)
def test_embed_is_always_nested(server: RunningServer, unit_vectors: Embed, path: str) -> None:
    one = server.http.post(path, json={"inputs": TEXTS[0]})
    assert one.status_code == 200, one.text
    np.testing.assert_allclose(one.json(), unit_vectors(TEXTS[:1]), atol=1e-7)
    many = server.http.post(path, json={"inputs": TEXTS, "truncate": None, "prompt_name": "query"})
    np.testing.assert_allclose(many.json(), unit_vectors(TEXTS), atol=1e-7)
    assert int(many.headers["x-compute-characters"]) == sum(map(len, TEXTS))
    assert int(many.headers["x-compute-tokens"]) > 10
    for name in ("x-compute-time", "x-total-time", "x-tokenization-time", "x-queue-time", "x-inference-time"):
        assert many.headers[name].isdigit()


def test_not_normalised_and_shorter(server: RunningServer, raw_vectors: Embed, unit_vectors: Embed) -> None:
    raw = server.http.post("/embed", json={"inputs": TEXTS, "normalize": False}).json()
    np.testing.assert_array_equal(np.array(raw, np.float32), raw_vectors(TEXTS))
    short = np.array(server.http.post("/embed", json={"inputs": TEXTS, "dimensions": 64}).json())
    np.testing.assert_allclose(np.linalg.norm(short, axis=1), 1, atol=1e-6)
    full = unit_vectors(TEXTS)[:, :64]
    np.testing.assert_allclose(short, full / np.linalg.norm(full, axis=1, keepdims=True), atol=1e-6)


def test_token_ids(server: RunningServer, tokenizer: Any, unit_vectors: Embed) -> None:
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    for inputs, rows in ((ids, TEXTS), (ids[0], TEXTS[:1])):
        answer = server.http.post("/embed", json={"inputs": inputs})
        np.testing.assert_allclose(answer.json(), unit_vectors(rows), atol=1e-7)


def test_many_texts_in_pieces(server: RunningServer, unit_vectors: Embed) -> None:
    texts = [f"text number {n}" for n in range(500)]
    answer = server.http.post("/embed", json={"inputs": texts})
    np.testing.assert_allclose(answer.json(), unit_vectors(texts), atol=1e-7)


@pytest.mark.parametrize(("path", "kind"), [("/embed_all", "tokens"), ("/embed_sparse", "sparse")])
def test_what_the_model_does_not_give(server: RunningServer, path: str, kind: str) -> None:
    told = tei_error(server.http.post(path, json={"inputs": "a"}), 422, "Validation")
    assert told == f"model '{REAL}' gives no {kind} output, only: dense"


def test_predict_scores_pairs(server: RunningServer, unit_vectors: Embed) -> None:
    pairs = [["cats", "A cat sleeps."], ["money", "The market fell."], ["cats", "Banks lend money."]]
    cosines = np.einsum("ij,ij->i", unit_vectors([a for a, _ in pairs]), unit_vectors([b for _, b in pairs]))
    answer = server.http.post("/predict", json={"inputs": pairs})
    assert answer.status_code == 200, answer.text
    assert [[set(label) for label in row] for row in answer.json()] == [[{"label", "score"}]] * 3
    assert [row[0]["score"] for row in answer.json()] == pytest.approx((1 + cosines) / 2, abs=1e-6)
    assert int(answer.headers["x-compute-characters"]) == sum(len(a) + len(b) for a, b in pairs)
    raw = server.http.post("/predict", json={"inputs": pairs, "raw_scores": True}).json()
    assert [row[0]["score"] for row in raw] == pytest.approx(cosines, abs=1e-6)
    single = server.http.post("/predict", json={"inputs": pairs[0]}).json()
    assert single == [{"label": "LABEL_0", "score": pytest.approx(answer.json()[0][0]["score"], abs=1e-6)}]


def test_similarity(server: RunningServer, unit_vectors: Embed) -> None:
    body = {"inputs": {"source_sentence": TEXTS[0], "sentences": [*TEXTS[1:], TEXTS[0]]}}
    answer = server.http.post("/similarity", json=body)
    vectors = unit_vectors([TEXTS[0], *TEXTS[1:], TEXTS[0]])
    assert answer.json() == pytest.approx(vectors[1:] @ vectors[0], abs=1e-6)
    assert max(answer.json()) <= 1
    assert server.http.post("/similarity", json={**body, "parameters": {"truncate": True}}).status_code == 200


def test_info(server: RunningServer) -> None:
    info = server.http.get("/info").json()
    assert info["model_id"] == info["served_model_name"] == REAL
    assert info["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info["max_client_batch_size"] == 32768
    for name in ("max_concurrent_requests", "max_input_length", "max_batch_tokens", "tokenization_workers"):
        assert isinstance(info[name], int)
    assert info["auto_truncate"] is False


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "message"),
    [
        ("/embed", {}, 422, "Validation", "Object missing required field `inputs`"),
        ("/embed", {"inputs": None}, 422, "Validation", "inputs: Expected"),
        ("/embed", {"inputs": []}, 400, "Empty", "inputs is empty"),
        ("/embed", {"inputs": ""}, 400, "Empty", "`inputs` cannot be empty: input 0 is"),
        ("/embed", {"inputs": ["a", ""]}, 400, "Empty", "`inputs` cannot be empty: input 1 is"),
        ("/embed", {"inputs": [[1], []]}, 400, "Empty", "empty list of token ids"),
        ("/embed", {"inputs": ["a", 1]}, 422, "Validation", "mixes texts and token ids"),
        ("/embed", {"inputs": "a", "dimensions": 0}, 422, "Validation", "dimensions is 0"),
        ("/embed", {"inputs": "a", "dimensions": 999}, 422, "Validation", "dimensions is 999"),
        ("/embed", {"inputs": "a", "prompt_name": "sts"}, 422, "Validation", "prompt_name is 'sts'"),
        (
            "/embed",
            {"inputs": "a", "truncation_direction": "Left"},
            422,
            "Validation",
            "truncation_direction",
        ),
        ("/embed", {"inputs": ["a"] * 32_769}, 413, "Validation", "batch size 32769 > maximum allowed"),
        ("/", {"inputs": []}, 400, "Empty", "inputs is empty"),
        ("/predict", {"inputs": "a text"}, 424, "Backend", "scores pairs: send [query, text]"),
        ("/predict", {"inputs": [["a"], ["b"]]}, 424, "Backend", "input 0 has 1 texts"),
        ("/predict", {"inputs": ["a", "b", "c"]}, 424, "Backend", "input 0 has 3 texts"),
        ("/predict", {"inputs": [["a", "b"], "c"]}, 422, "Validation", "inputs mixes texts and lists"),
        ("/predict", {"inputs": []}, 400, "Empty", "`inputs` cannot be empty"),
        ("/predict", {"inputs": [["", ""]]}, 400, "Empty", "`inputs` cannot be empty: input 0 is"),
        ("/predict", {"inputs": [[1, 2]]}, 422, "Validation", "inputs[0][0]: Expected `str`, got `int`"),
        ("/predict", {"inputs": ["a", ["b"]]}, 422, "Validation", "inputs mixes texts and lists"),
        ("/similarity", {"inputs": {"source_sentence": "a"}}, 422, "Validation", "sentences"),
        ("/similarity", {"inputs": {"source_sentence": "a", "sentences": []}}, 400, "Empty", "sentences"),
    ],
)
def test_what_is_refused(
    server: RunningServer, path: str, body: dict[str, Any], status: int, kind: str, message: str
) -> None:
    assert message in tei_error(server.http.post(path, json=body), status, kind)


@pytest.mark.parametrize("path", ["/embed", "/predict", "/similarity", "/"])
def test_odd_bodies(server: RunningServer, path: str) -> None:
    for body in (b"", b"[1]", b"{", b"null"):
        tei_error(server.http.post(path, content=body), 422, "Validation")


def test_wrong_methods(server: RunningServer) -> None:
    tei_error(server.http.get("/embed"), 405, "Validation")
    assert server.http.get("/").text == "Ollama is running"


def test_other_default_models(make_server: MakeServer, tmp_path: Any) -> None:
    models = fake_model(FAKE, tmp_path, max_tokens=4, nan_on="nan-now", fail_on="fail-now")
    env = {
        "TURBOV2_DEFAULT_EMBED_MODEL": FAKE,
        "TURBOV2_DEFAULT_RERANK_MODEL": "nope",
        "TURBOV2_PRELOAD": FAKE,
    }
    server = make_server(env=env, models=models)
    assert len(server.http.post("/embed", json={"inputs": "a"}).json()[0]) == 8
    assert server.http.get("/info").json()["max_input_length"] == 4
    for text in ("fail-now", "nan-now"):
        tei_error(server.http.post("/embed", json={"inputs": text}), 424, "Backend")
    long = {"inputs": "a b c d e f"}
    tei_error(server.http.post("/embed", json=long), 422, "Validation")
    assert server.http.post("/embed", json={**long, "truncate": True}).status_code == 200
    tei_error(server.http.post("/predict", json={"inputs": ["a", "b"]}), 404, "Validation")


def test_keys_and_queues_as_tei_says_them(make_server: MakeServer, tmp_path: Any) -> None:
    models = fake_model("tiny", tmp_path, runner="thread")
    env = {"EMBEDDINGS_API_KEY": "k", "TURBOV2_MAX_QUEUE": "2", "TURBOV2_PRELOAD": "none"}
    server = make_server(env={**env, "TURBOV2_DEFAULT_EMBED_MODEL": "tiny"}, models=models)
    tei_error(server.http.post("/embed", json={"inputs": "a"}), 401, "Validation")
    bearer = {"Authorization": "Bearer k"}
    assert server.http.post("/embed", json={"inputs": "a"}, headers=bearer).status_code == 200
    answer = server.http.post("/embed", json={"inputs": ["a", "b", "c"]}, headers=bearer)
    assert "at most 2 may wait" in tei_error(answer, 422, "Validation")
