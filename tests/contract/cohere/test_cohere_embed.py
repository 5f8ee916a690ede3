"""POST /v2/embed, field by field, over real HTTP."""

from __future__ import annotations

import base64
from typing import Any

import httpx
import numpy as np
import pytest

from tests.support.server import FAKE, REAL, Embed, RunningServer, assert_clean

TEXTS = ["The cat sat on the mat.", "Ein ganz anderer Satz.", "naïve café ☕ 日本語"]


def embed(server: RunningServer, **fields: Any) -> httpx.Response:
    body = {"model": REAL, "texts": TEXTS, "input_type": "search_document", **fields}
    return server.http.post("/v2/embed", json={k: v for k, v in body.items() if v is not ...})


def test_the_documented_shape(server: RunningServer, unit_vectors: Embed) -> None:
    answer = embed(server)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert set(body) == {"response_type", "id", "embeddings", "texts", "meta"}
    assert body["id"] == answer.headers["x-request-id"]
    assert body["texts"] == TEXTS
    assert body["meta"]["api_version"] == {"version": "2"}
    assert body["meta"]["billed_units"]["input_tokens"] > 10
    assert set(body["embeddings"]) == {"float"}
    np.testing.assert_allclose(body["embeddings"]["float"], unit_vectors(TEXTS), atol=1e-7)


@pytest.mark.parametrize("n", [1, 3, 300])
def test_all_types_at_once(server: RunningServer, unit_vectors: Embed, n: int) -> None:
    texts = [f"{TEXTS[i % 3]} {i}" for i in range(n)]
    types = ["float", "int8", "uint8", "binary", "ubinary", "base64"]
    found = embed(server, texts=texts, embedding_types=[*types, "int8"]).json()["embeddings"]
    assert list(found) == types
    vectors = np.array(found["float"], np.float32)
    np.testing.assert_allclose(vectors, unit_vectors(texts), atol=1e-7)
    steps = np.rint(vectors * 127).astype(int)
    np.testing.assert_array_equal(found["int8"], steps)
    np.testing.assert_array_equal(found["uint8"], steps + 128)
    bits = np.packbits(vectors > 0, axis=1).astype(int)
    np.testing.assert_array_equal(found["ubinary"], bits)
    np.testing.assert_array_equal(found["binary"], bits - 128)
    unpacked = [np.frombuffer(base64.b64decode(row), "<f4") for row in found["base64"]]
    np.testing.assert_array_equal(unpacked, vectors)


def test_fewer_dimensions_and_the_default_model(server: RunningServer) -> None:
    rows = embed(server, model=..., output_dimension=64, input_type=None).json()["embeddings"]["float"]
    assert np.shape(rows) == (3, 64)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-6)


def test_truncation(server: RunningServer) -> None:
    long = {"model": FAKE, "texts": ["a b c d e f g h i"]}
    assert embed(server, **long).status_code == 200
    assert embed(server, **long, truncate="END").status_code == 200
    assert embed(server, **long, truncate="NONE").status_code == 400


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"texts": ...}, 400, "texts is required: a list of texts"),
        ({"texts": []}, 400, "texts is empty: send at least one text"),
        ({"texts": "a"}, 400, "texts: Expected `array | null`, got `str`"),
        ({"texts": ["a", 1]}, 400, "texts[1]: Expected `str`, got `int`"),
        ({"texts": ["a"] * 32_769}, 400, "texts has 32769 texts, the limit is 32768"),
        ({"input_type": "image"}, 400, "input_type: Invalid enum value 'image'"),
        ({"embedding_types": ["int4"]}, 400, "embedding_types[0]: Invalid enum value 'int4'"),
        ({"output_dimension": 257}, 400, "dimensions is 257"),
        ({"truncate": "START"}, 501, "truncate is 'START'"),
        ({"model": "nope"}, 404, "model 'nope' not found"),
        ({"model": FAKE, "texts": ["nan-now"]}, 500, "NaN"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, Any], status: int, message: str) -> None:
    answer = embed(server, **fields)
    assert answer.status_code == status, answer.text
    assert_clean(answer)
    assert set(answer.json()) == {"message", "detail"}
    assert message in answer.json()["message"]
