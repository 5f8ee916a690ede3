"""Rendering of what models give beside one vector a text. Pure."""

from __future__ import annotations

import json

import numpy as np

from turbov2.types import EmbedResult, SparseRows, TokenVectors
from turbov2.wire._encoding import quantised
from turbov2.wire.ollama.adapt import render_embed
from turbov2.wire.tei.adapt import render_embed_all, render_embed_sparse

SPARSE = SparseRows(
    np.array([5, 250_001, 7], np.int32), np.array([0.25, 1.5, 0.1], np.float32), np.array([2, 0, 1], np.int32)
)
TOKENS = TokenVectors(np.arange(12, dtype=np.float32).reshape(4, 3) / 8, np.array([1, 3], np.int32))


def test_tei_sparse_rows():
    assert json.loads(b"".join(render_embed_sparse(SPARSE))) == [
        [{"index": 5, "value": 0.25}, {"index": 250_001, "value": 1.5}],
        [],
        [{"index": 7, "value": 0.1}],
    ]


def test_tei_token_vectors():
    assert json.loads(b"".join(render_embed_all(TOKENS))) == [
        [[0.0, 0.125, 0.25]],
        [[0.375, 0.5, 0.625], [0.75, 0.875, 1.0], [1.125, 1.25, 1.375]],
    ]


def test_all_outputs_of_the_native_answer():
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    tokens = TokenVectors(np.ones((3, 2), np.float32), np.array([1, 2], np.int32))
    sparse = SparseRows(np.array([5], np.int32), np.array([0.5], np.float32), np.array([1, 0], np.int32))
    result = EmbedResult("m", vectors, 3, (), 0, 0, sparse=sparse, tokens=tokens)
    body = json.loads(b"".join(render_embed("m", result, ("dense", "sparse", "tokens"))))
    assert body["embeddings"] == [[1, 0], [0, 1]]
    assert body["sparse_embeddings"] == [{"indices": [5], "values": [0.5]}, {"indices": [], "values": []}]
    assert body["token_embeddings"] == [[[1, 1]], [[1, 1], [1, 1]]]
    without = EmbedResult("m", np.empty((2, 0), np.float32), 3, (), 0, 0, tokens=tokens)
    assert "embeddings" not in json.loads(b"".join(render_embed("m", without, ("tokens",))))


def test_quantised_at_its_edges():
    vectors = np.array([[1.0000001, -1.0000001, 0.0, -0.0, 0.5, -0.5, 1 / 254, 1e-30, 1]], np.float32)
    assert quantised(vectors, "int8").tolist() == [[127, -127, 0, 0, 64, -64, 0, 0, 127]]
    assert quantised(vectors, "uint8").tolist() == [[255, 1, 128, 128, 192, 64, 128, 128, 255]]
    assert quantised(vectors, "ubinary").tolist() == [[0b10001011, 0b10000000]]
    assert quantised(vectors, "binary").tolist() == [[0b10001011 - 128, 0]]
    assert quantised(vectors, "float") is vectors
