"""Rendering of what models give beside one vector a text. Pure."""

from __future__ import annotations

import json

import numpy as np

from turbov2.types import SparseRows, TokenVectors
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
