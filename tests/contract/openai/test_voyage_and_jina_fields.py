"""POST /v1/embeddings with the fields that Voyage and Jina add to OpenAI's."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest

from tests.support.server import FAKE, REAL, RunningServer, openai_error

TEXTS = ["The cat sat on the mat.", "Ein ganz anderer Satz.", "naïve café ☕ 日本語"]


def rows(server: RunningServer, **fields: Any) -> list[Any]:
    answer = server.http.post("/v1/embeddings", json={"model": REAL, "input": TEXTS, **fields})
    assert answer.status_code == 200, answer.text
    return [row["embedding"] for row in answer.json()["data"]]


@pytest.mark.parametrize("n", [1, 300])
@pytest.mark.parametrize(
    ("dtype", "numpy_dtype"),
    [("float", "<f4"), ("int8", "i1"), ("uint8", "u1"), ("binary", "i1"), ("ubinary", "u1"), (None, "<f4")],
)
def test_output_dtypes(server: RunningServer, dtype: str | None, numpy_dtype: str, n: int) -> None:
    texts = [f"{TEXTS[i % 3]} {i}" for i in range(n)]
    numbers = np.array(rows(server, input=texts, output_dtype=dtype))
    packed = rows(server, input=texts, output_dtype=dtype, encoding_format="base64")
    unpacked = np.array([np.frombuffer(base64.b64decode(row), numpy_dtype) for row in packed])
    np.testing.assert_array_equal(unpacked, numbers.astype(numpy_dtype))
    floats = np.array(rows(server, input=texts), np.float32)
    steps, bits = np.rint(floats * 127).astype(int), np.packbits(floats > 0, axis=1).astype(int)
    wanted = {"int8": steps, "uint8": steps + 128, "ubinary": bits, "binary": bits - 128}
    np.testing.assert_array_equal(numbers.astype(np.float32), wanted.get(dtype or "", floats))


def test_output_dimension(server: RunningServer) -> None:
    assert rows(server, output_dimension=64) == rows(server, dimensions=64)
    assert rows(server, output_dimension=None) == rows(server)
    assert np.shape(rows(server, output_dimension=64, output_dtype="binary")) == (3, 8)


def test_truncation(server: RunningServer) -> None:
    long = {"model": FAKE, "input": "a b c d e f g h i"}
    assert len(rows(server, **long, truncation=True)) == 1
    for truncation in (False, None):
        answer = server.http.post("/v1/embeddings", json={**long, "truncation": truncation})
        assert openai_error(answer, 400)["code"] == "context_length_exceeded"


@pytest.mark.parametrize("task", ["retrieval.query", "retrieval.passage", "text-matching", "nl2code.query"])
def test_jina_tasks(server: RunningServer, task: str) -> None:
    assert rows(server, task=task, late_chunking=False) == rows(server)


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"late_chunking": True}, 501, "late_chunking is not supported"),
        ({"output_dtype": "int4"}, 400, "output_dtype: Invalid enum value 'int4'"),
        ({"output_dimension": 257}, 400, "dimensions is 257"),
        ({"input_type": "image"}, 400, "input_type: Invalid enum value 'image'"),
    ],
)
def test_what_is_refused(server: RunningServer, fields: dict[str, Any], status: int, message: str) -> None:
    answer = server.http.post("/v1/embeddings", json={"model": REAL, "input": "a", **fields})
    assert message in openai_error(answer, status)["message"]
