"""What the ONNX backend does around a graph: which rows share a run, and what becomes of its outputs."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

from turbov2.backends.onnx import OnnxBackend
from turbov2.backends.onnx.heads import find_heads, split_tokens, to_sparse_rows
from turbov2.backends.onnx.modules import read_modules
from turbov2.backends.onnx.rows import Rows, group_rows, take_rows
from turbov2.errors import LoadFailed
from turbov2.types import LoadSpec, TokenBatch

LENGTHS = st.lists(st.integers(0, 40), max_size=30)


def batch_of(rows: list[list[int]], starts: list[int] | None = None) -> TokenBatch:
    lengths = np.array([len(row) for row in rows], np.int32)
    ids = np.array([each for row in rows for each in row], np.int32)
    return TokenBatch(ids, lengths, lengths, None if starts is None else np.array(starts, np.int32))


@given(LENGTHS, st.integers(0, 200), st.booleans())
def test_every_row_with_tokens_is_in_one_run_of_the_allowed_size(
    lengths: list[int], max_tokens: int, is_padded: bool
) -> None:
    groups = group_rows(np.array(lengths, np.int32), max_tokens, is_padded=is_padded)
    taken = [index for group in groups for index in group.tolist()]
    assert sorted(taken) == [i for i, length in enumerate(lengths) if length]
    for group in groups:
        sizes = [lengths[index] for index in group]
        assert len(sizes) == 1 or max(sizes) * len(sizes) <= max_tokens
        assert is_padded or len(set(sizes)) == 1


def test_rows_stand_side_by_side_with_their_types() -> None:
    rows = take_rows(batch_of([[7, 8, 9], [], [4], [5, 6]], [2, 0, 1, 1]), np.array([0, 3]), pad_id=1)
    assert rows.ids.tolist() == [[7, 8, 9], [5, 6, 1]]
    assert rows.mask.tolist() == [[True, True, True], [True, True, False]]
    assert rows.types is not None
    assert rows.types.tolist() == [[False, False, True], [False, True, False]]


@given(st.lists(st.lists(st.tuples(st.integers(0, 9), st.floats(-1, 2, width=32)), max_size=12), max_size=6))
def test_lexical_weights_are_the_largest_of_each_token(rows: list[list[tuple[int, float]]]) -> None:
    tokens = batch_of([[token for token, _ in row] for row in rows])
    weights = np.array([weight for row in rows for _, weight in row], np.float32)
    sparse = to_sparse_rows(tokens, weights, dropped=[0, 3])
    found = np.split(np.stack([sparse.token_ids, sparse.weights], axis=1), np.cumsum(sparse.lengths)[:-1])
    for row, pairs in zip(rows, found if rows else [], strict=True):
        expected: dict[int, float] = {}
        for token, weight in row:
            if weight > 0 and token not in (0, 3):
                expected[token] = max(weight, expected.get(token, 0.0))
        assert {int(token): weight for token, weight in pairs} == expected
        assert pairs[:, 0].tolist() == sorted(expected)


@pytest.mark.parametrize("n_missing", [0, 1])
def test_a_colbert_head_has_no_vector_for_the_first_token(n_missing: int) -> None:
    states = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
    rows = split_tokens(states[:, n_missing:], np.array([4, 2]), 4, is_colbert=True)
    expected = states / np.linalg.norm(states, axis=-1, keepdims=True)
    np.testing.assert_allclose(rows[0], expected[0, 1:], atol=1e-6)
    np.testing.assert_allclose(rows[1], expected[1, 1:2], atol=1e-6)


def test_a_plain_encoder_has_a_vector_for_every_token() -> None:
    states = np.ones((1, 3, 4), np.float32)
    assert [each.shape for each in split_tokens(states, np.array([2]), 3, is_colbert=False)] == [(2, 4)]


def test_outputs_are_found_by_name() -> None:
    heads = find_heads(["colbert_vecs", "dense_vecs", "sparse_vecs"])
    assert heads.kinds == ("dense", "sparse", "tokens")
    assert heads.needed(("dense", "tokens")) == ["colbert_vecs", "dense_vecs"]
    assert find_heads(["token_embeddings", "sentence_embedding"]).dense == "sentence_embedding"
    assert find_heads(["logits"]).kinds == ("dense",)
    with pytest.raises(LoadFailed, match="gives boxes"):
        find_heads(["boxes"])


@pytest.mark.parametrize(
    ("pooling", "expected"),
    [
        ("mean", [[2, 3], [1, 9]]),
        ("cls", [[1, 2], [1, 9]]),
        ("last", [[3, 4], [1, 9]]),
        ("max", [[3, 4], [1, 9]]),
    ],
)
def test_padding_takes_no_part_in_pooling(pooling: str, expected: list[list[float]]) -> None:
    states = np.array([[[1, 2], [3, 4]], [[1, 9], [99, 99]]], np.float32)
    rows = Rows(np.zeros((2, 2), np.int32), np.array([2, 1], np.int32))
    assert read_modules({}, pooling).apply(states, rows).tolist() == expected


@pytest.mark.parametrize(
    ("config", "pooling"),
    [
        ('{"pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}', "cls"),
        ('{"pooling_mode": "lasttoken", "embedding_dimension": 8}', "last"),
        ('{"word_embedding_dimension": 8}', "mean"),
    ],
)
def test_the_pooling_of_the_folder_wins(tmp_path: Path, config: str, pooling: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(config)
    assert read_modules({"1_Pooling/config.json": str(path)}, "mean").pooling == pooling


@pytest.mark.parametrize(
    ("name", "content", "match"),
    [
        ("1_Pooling/config.json", '{"pooling_mode": ["cls", "mean"]}', "cls\\+mean"),
        ("1_Pooling/config.json", '{"pooling_mode_weightedmean_tokens": true}', "weightedmean"),
        ("1_Pooling/config.json", "{", "not JSON"),
        ("modules.json", '[{"type": "sentence_transformers.models.LSTM", "path": "1_LSTM"}]', "LSTM"),
        ("modules.json", '[{"type": "sentence_transformers.models.Dense", "path": "2_Dense"}]', "2_Dense"),
    ],
)
def test_modules_that_are_not_built_are_named(tmp_path: Path, name: str, content: str, match: str) -> None:
    path = tmp_path / "file.json"
    path.write_text(content)
    with pytest.raises(LoadFailed, match=match):
        read_modules({name: str(path)}, "mean")


@pytest.mark.parametrize(
    ("files", "options", "match"),
    [
        ({}, {}, "tokenizer.json"),
        ({}, {"threds": 2}, "no option 'threds'"),
        ({}, {"threads": 0}, "option 'threads'"),
    ],
)
def test_what_is_missing_or_unknown_is_named(
    files: dict[str, str], options: dict[str, int], match: str
) -> None:
    spec = LoadSpec(model="m", backend="onnx", files=files, revision="", options=options)
    with pytest.raises(LoadFailed, match=match):
        OnnxBackend(spec)
