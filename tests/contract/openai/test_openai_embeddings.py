"""POST /v1/embeddings, field by field, over real HTTP."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.support.server import FAKE, INLINE, REAL, Embed, RunningServer, openai_error

TEXTS = ["The cat sat on the mat.", "Ein ganz anderer Satz.", "naïve café ☕ 日本語"]
NINE_WORDS = "one two three four five six seven eight nine"


def embed(server: RunningServer, **body: Any) -> httpx.Response:
    return server.http.post("/v1/embeddings", json={"model": REAL, "input": "hello world", **body})


def floats_of(response: httpx.Response) -> NDArray[np.float32]:
    assert response.status_code == 200, response.text[:500]
    return np.array([item["embedding"] for item in response.json()["data"]], dtype=np.float32)


def unpacked(text: str) -> NDArray[np.float32]:
    return np.frombuffer(base64.b64decode(text, validate=True), dtype="<f4")


class TestAnswer:
    def test_body_and_headers(self, server: RunningServer) -> None:
        response = embed(server, input=TEXTS)
        body = response.json()
        assert response.headers["content-type"] == "application/json; charset=utf-8"
        assert set(body) == {"object", "data", "model", "usage"}
        assert (body["object"], body["model"]) == ("list", REAL)
        assert [(set(item), item["object"], item["index"]) for item in body["data"]] == [
            ({"object", "index", "embedding"}, "embedding", n) for n in range(3)
        ]
        assert set(body["usage"]) == {"prompt_tokens", "total_tokens"}
        assert body["usage"]["prompt_tokens"] == body["usage"]["total_tokens"] > 3

    def test_vectors_are_the_models_normalised(self, server: RunningServer, unit_vectors: Embed) -> None:
        vectors = floats_of(embed(server, input=TEXTS))
        np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
        np.testing.assert_allclose(vectors, unit_vectors(TEXTS), atol=1e-7)

    def test_are_those_of_the_ollama_api(self, server: RunningServer) -> None:
        ollama = server.http.post("/api/embed", json={"model": REAL, "input": TEXTS}).json()["embeddings"]
        np.testing.assert_array_equal(floats_of(embed(server, input=TEXTS)), np.array(ollama, np.float32))

    @pytest.mark.parametrize("n_texts", [1, 3, 700])
    def test_base64_is_the_same_bit_for_bit(self, server: RunningServer, n_texts: int) -> None:
        texts = [f"text number {n}" for n in range(n_texts)]
        packed = embed(server, input=texts, encoding_format="base64").json()["data"]
        plain = floats_of(embed(server, input=texts, encoding_format="float"))
        assert [item["index"] for item in packed] == list(range(n_texts))
        assert np.array([unpacked(item["embedding"]) for item in packed]).tobytes() == plain.tobytes()

    @pytest.mark.parametrize("name", [f"{REAL}:latest", "WORDLLAMA", None, ""])
    def test_model_is_echoed_as_spelled(self, server: RunningServer, name: str | None) -> None:
        response = embed(server, model=name)
        assert response.json()["model"] == (name or REAL)
        np.testing.assert_array_equal(floats_of(response), floats_of(embed(server)))

    def test_usage_counts_tokens_of_all_texts(self, server: RunningServer) -> None:
        usage = embed(server, model=FAKE, input=["a b c", "d"]).json()["usage"]
        assert usage == {"prompt_tokens": 4, "total_tokens": 4}


@pytest.fixture(scope="module")
def ids(tokenizer: Tokenizer) -> list[list[int]]:
    return [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS[:2]]


class TestTokenIds:
    def test_one_list_is_one_input(self, server: RunningServer, ids: list[list[int]]) -> None:
        np.testing.assert_array_equal(
            floats_of(embed(server, input=ids[0])), floats_of(embed(server, input=TEXTS[0]))
        )

    def test_lists_are_many_inputs(self, server: RunningServer, ids: list[list[int]]) -> None:
        response = embed(server, input=ids)
        np.testing.assert_array_equal(floats_of(response), floats_of(embed(server, input=TEXTS[:2])))
        assert response.json()["usage"]["prompt_tokens"] == sum(map(len, ids))

    @pytest.mark.parametrize("ids", [[-1], [32_000_000], [2**31], [2**63 - 1], [2**70], [[5], [-1]]])
    def test_outside_the_vocabulary(self, server: RunningServer, ids: list[Any]) -> None:
        error = openai_error(embed(server, input=ids), 400)
        assert error["type"] == "invalid_request_error"

    def test_too_many_for_the_model(self, server: RunningServer) -> None:
        error = openai_error(embed(server, model=FAKE, input=[1] * 9), 400)
        assert error["code"] == "context_length_exceeded"
        assert floats_of(embed(server, model=FAKE, input=[1] * 8)).shape == (1, 8)


class TestInput:
    @pytest.mark.parametrize("value", ["", [""], ["", "a"]])
    def test_empty_text_is_embedded(self, server: RunningServer, value: object) -> None:
        vectors = floats_of(embed(server, input=value))
        assert vectors.shape[1] == 256
        assert np.isfinite(vectors).all()

    @pytest.mark.parametrize("body", [{}, {"input": None}, {"input": []}])
    def test_none(self, server: RunningServer, body: dict[str, Any]) -> None:
        error = openai_error(server.http.post("/v1/embeddings", json={"model": REAL, **body}), 400)
        assert (error["type"], error["param"]) == ("invalid_request_error", "input")

    @pytest.mark.parametrize(
        "value",
        [
            *(5, 1.5, True, {}, {"text": "x"}),
            *([1.5], [True], [None], [{}], [[]], [[1], []], [["a"]], [[1.5]], [[[1]]]),
            *(["a", 1], [1, "a"], ["a", [1]], [[1], "a"], [1, [2]]),
        ],
    )
    def test_of_the_wrong_type_or_mixed(self, server: RunningServer, value: object) -> None:
        error = openai_error(embed(server, input=value), 400)
        assert (error["type"], error["param"]) == ("invalid_request_error", "input")
        assert "input" in error["message"]

    @pytest.mark.parametrize("value", [NINE_WORDS, ["fits", NINE_WORDS]])
    def test_too_long_is_never_cut(self, server: RunningServer, value: object) -> None:
        error = openai_error(embed(server, model=FAKE, input=value), 400)
        assert (error["type"], error["code"]) == ("invalid_request_error", "context_length_exceeded")
        assert "context length" in error["message"]


class TestDimensions:
    @pytest.mark.parametrize("wanted", [1, 64, 128, 256])
    def test_cuts_then_normalises(self, server: RunningServer, raw_vectors: Embed, wanted: int) -> None:
        vectors = floats_of(embed(server, input=TEXTS, dimensions=wanted))
        cut = raw_vectors(TEXTS)[:, :wanted].astype(np.float64)
        np.testing.assert_allclose(vectors, cut / np.linalg.norm(cut, axis=1, keepdims=True), atol=1e-6)

    def test_in_base64(self, server: RunningServer) -> None:
        item = embed(server, dimensions=64, encoding_format="base64").json()["data"][0]
        np.testing.assert_array_equal(unpacked(item["embedding"]), floats_of(embed(server, dimensions=64))[0])

    @pytest.mark.parametrize("wanted", [0, -1, 257, 100_000, 1.5, "64", [], True])
    def test_refused(self, server: RunningServer, wanted: object) -> None:
        error = openai_error(embed(server, dimensions=wanted), 400)
        assert (error["type"], error["param"]) == ("invalid_request_error", "dimensions")

    def test_only_of_models_trained_for_it(self, server: RunningServer) -> None:
        error = openai_error(embed(server, model=INLINE, dimensions=4), 400)
        assert error["param"] == "dimensions"
        assert floats_of(embed(server, model=INLINE, dimensions=8)).shape == (1, 8)


class TestOtherFields:
    @pytest.mark.parametrize(
        "fields",
        [
            {"encoding_format": None, "dimensions": None, "user": None},
            {"user": "someone", "no_such_field": {"deep": [1]}},
            {"input_type": None},
            {"input_type": "document"},
            {"input_type": "query"},
            {"output_dtype": None, "output_dimension": None, "truncation": True},  # voyageai
        ],
    )
    def test_that_change_nothing(self, server: RunningServer, fields: dict[str, Any]) -> None:
        np.testing.assert_array_equal(floats_of(embed(server, **fields)), floats_of(embed(server)))

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"encoding_format": "hex"}, "encoding_format"),
            ({"encoding_format": ""}, "encoding_format"),
            ({"encoding_format": 5}, "encoding_format"),
            ({"model": 5}, "model"),
            ({"input_type": "poem"}, "input_type"),
        ],
    )
    def test_refused(self, server: RunningServer, fields: dict[str, Any], param: str) -> None:
        error = openai_error(embed(server, **fields), 400)
        assert (error["type"], error["param"]) == ("invalid_request_error", param)


class TestErrors:
    @pytest.mark.parametrize(
        ("model", "status", "type_", "code"),
        [
            ("nope", 404, "invalid_request_error", "model_not_found"),
            ("x" * 300, 400, "invalid_request_error", "invalid_request"),
            ("mxbai-rerank-v2", 400, "invalid_request_error", "not_capable"),
            ("fake-unbuilt", 501, "server_error", "model_unavailable"),
            ("fake-broken", 500, "server_error", "load_failed"),
            ("fake-huge", 503, "service_unavailable", "out_of_memory"),
        ],
    )
    def test_of_the_model(
        self, server: RunningServer, model: str, status: int, type_: str, code: str
    ) -> None:
        response = embed(server, model=model)
        error = openai_error(response, status)
        assert (error["type"], error["code"]) == (type_, code)
        if status < 500:
            assert "x-should-retry" not in response.headers
        else:  # the SDKs repeat every 5xx: only waiting can help, and then it is said how long
            assert ("retry-after" in response.headers) != (response.headers.get("x-should-retry") == "false")

    @pytest.mark.parametrize(
        ("content", "says"),
        [
            (b"", "missing"),
            (b"{", "JSON"),
            (b"[]", "object"),
            (b'{"input":"\xff"}', "UTF-8"),
            (b"null", "object"),
        ],
    )
    def test_of_the_body(self, server: RunningServer, content: bytes, says: str) -> None:
        error = openai_error(server.http.post("/v1/embeddings", content=content), 400)
        assert error["type"] == "invalid_request_error"
        assert says in error["message"]

    @pytest.mark.parametrize(
        ("method", "path", "status"),
        [
            ("GET", "/v1/embeddings", 405),
            ("POST", "/v1/models", 405),
            ("POST", "/v1/nope", 404),
            ("GET", "/v1", 404),
        ],
    )
    def test_of_the_route(self, server: RunningServer, method: str, path: str, status: int) -> None:
        assert openai_error(server.http.request(method, path), status)["type"] == "invalid_request_error"

    @pytest.mark.parametrize("path", ["/v1/embeddings/", "/v1/embeddings?x=1"])
    def test_slash_and_query_are_none(self, server: RunningServer, path: str) -> None:
        body = {"model": REAL, "input": "x"}
        assert server.http.post(path, json=body, follow_redirects=False).status_code == 200

    @pytest.mark.parametrize("content_type", ["application/x-www-form-urlencoded", "text/plain", None])
    def test_content_type_is_none(self, server: RunningServer, content_type: str | None) -> None:
        headers = {"content-type": content_type} if content_type else {}
        content = b'{"model":"%b","input":"x"}' % REAL.encode()
        response = server.http.post("/v1/embeddings", content=content, headers=headers)
        assert floats_of(response).shape == (1, 256)
