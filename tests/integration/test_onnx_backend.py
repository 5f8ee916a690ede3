"""The ONNX backend on small random models exported here, against the torch modules they came from."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("onnxruntime", reason="exports a model: needs onnxruntime")
pytest.importorskip("onnx", reason="exports a model: needs onnx")
pytest.importorskip("onnxscript", reason="exports a model: needs onnxscript")
pytest.importorskip("transformers", reason="exports a model: needs transformers")
pytest.importorskip("torch", reason="exports a model: needs torch")

import onnxruntime
import torch
from safetensors.numpy import save_file

from tests.support.tiny_onnx import export, export_module, quantise, spec_of
from turbov2.backends.onnx import OnnxBackend
from turbov2.backends.onnx.graph import Graph
from turbov2.backends.registry import backend_factory
from turbov2.errors import InvalidRequest, LoadFailed
from turbov2.types import EmbedTask, LoadSpec, Outputs, TokenBatch

TEXTS = [
    "the quick brown fox",
    "a",
    "",
    "embeddings of short and of long texts " * 4,
    "où est la gare ?",
    "a b c d",
]
KINDS = ("dense", "sparse", "tokens")


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> dict[str, tuple[Path, Any]]:
    """Folder and torch module of each kind."""
    top = tmp_path_factory.mktemp("exports")
    return {
        kind: (top / kind, export(kind, top / kind)) for kind in ("encoder", "three-heads", "pair-scorer")
    }


@pytest.fixture(scope="module")
def quantised(
    exports: dict[str, tuple[Path, Any]], tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Path]:
    """The same with integer arithmetic, whose scales depend on everything in a run."""
    folders = {kind: tmp_path_factory.mktemp("int8") / kind for kind in exports}
    for kind, (folder, _) in exports.items():
        shutil.copytree(folder, folders[kind])
        quantise(folders[kind])
    return folders


@pytest.fixture
def folder(exports: dict[str, tuple[Path, Any]], tmp_path: Path) -> Path:
    """A copy of the encoder that a test may change."""
    return shutil.copytree(exports["encoder"][0], tmp_path / "model")


def rows_of(batch: TokenBatch) -> list[list[int]]:
    return [row.tolist() for row in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])]


def run_torch(module: Any, ids: Sequence[int], *more: Any) -> Any:
    row = torch.tensor([ids])
    with torch.no_grad():
        return module(row, torch.ones_like(row), *more)


def split(values: Any, lengths: Any) -> list[Any]:
    return np.split(values, np.cumsum(lengths)[:-1])


def assert_same(one: Outputs, other: Outputs, atol: float = 1e-5) -> None:
    np.testing.assert_allclose(one.dense, other.dense, atol=atol)
    for a, b in ((one.sparse, other.sparse), (one.tokens, other.tokens)):
        assert (a is None) == (b is None)
        if a is not None and b is not None:
            assert a.lengths.tolist() == b.lengths.tolist()
    if one.sparse and other.sparse:
        assert one.sparse.token_ids.tolist() == other.sparse.token_ids.tolist()
        np.testing.assert_allclose(one.sparse.weights, other.sparse.weights, atol=atol)
    if one.tokens and other.tokens:
        np.testing.assert_allclose(one.tokens.vectors, other.tokens.vectors, atol=atol)


def test_an_encoder_gives_the_mean_of_torchs_states(exports: dict[str, tuple[Path, Any]]) -> None:
    folder, module = exports["encoder"]
    model = backend_factory("onnx")(spec_of(folder))
    assert isinstance(model, OnnxBackend)
    assert (model.loaded.dimensions, model.loaded.max_tokens, model.loaded.dtype) == (32, 512, "float32")
    assert model.loaded.outputs == ("dense", "tokens")
    batch = model.tokenize(TEXTS)
    found = model.embed(batch, EmbedTask(("dense", "tokens")))
    assert found.dense is not None
    assert found.tokens is not None
    assert found.sparse is None
    per_text = split(found.tokens.vectors, found.tokens.lengths)
    for ids, vector, vectors in zip(rows_of(batch), found.dense, per_text, strict=True):
        states = run_torch(module, ids, torch.zeros((1, len(ids)), dtype=torch.int64))[0].numpy()
        np.testing.assert_allclose(vector, states.mean(0), atol=1e-4)
        np.testing.assert_allclose(vectors, states / np.linalg.norm(states, axis=1, keepdims=True), atol=1e-4)


def test_three_heads_give_what_torch_gives(exports: dict[str, tuple[Path, Any]]) -> None:
    folder, module = exports["three-heads"]
    model = OnnxBackend(spec_of(folder, pooling="cls"))
    assert model.loaded.outputs == KINDS
    assert model.loaded.max_tokens == 128  # 130 positions, of which XLM-R leaves two unused
    batch = model.tokenize(TEXTS)
    found = model.embed(batch, EmbedTask(KINDS))
    assert found.dense is not None
    assert found.sparse is not None
    assert found.tokens is not None
    ids_of = split(found.sparse.token_ids, found.sparse.lengths)
    weights_of = split(found.sparse.weights, found.sparse.lengths)
    vectors_of = split(found.tokens.vectors, found.tokens.lengths)
    for row, ids in enumerate(rows_of(batch)):
        dense, weights, colbert = (each[0].numpy() for each in run_torch(module, ids))
        np.testing.assert_allclose(found.dense[row], dense, atol=1e-4)
        expected: dict[int, float] = {}
        for token, weight in zip(ids, weights[:, 0].tolist(), strict=True):
            if token > 3 and weight > 0:  # <s>, <pad>, </s>, <unk> come first
                expected[token] = max(weight, expected.get(token, 0))
        assert ids_of[row].tolist() == sorted(expected)
        np.testing.assert_allclose(weights_of[row], [expected[i] for i in sorted(expected)], atol=1e-4)
        assert len(vectors_of[row]) == len(ids) - 1
        unit = colbert / np.linalg.norm(colbert, axis=1, keepdims=True)
        np.testing.assert_allclose(vectors_of[row], unit, atol=1e-4)


def test_a_pair_scorer_gives_torchs_logit(exports: dict[str, tuple[Path, Any]]) -> None:
    folder, module = exports["pair-scorer"]
    model = OnnxBackend(spec_of(folder))
    assert model.loaded.capabilities == ("rerank",)
    assert (model.loaded.dimensions, model.loaded.outputs) == (1, ("dense",))
    batch = model.tokenize([("the fox", text, "") for text in TEXTS])
    found = model.embed(batch).dense
    assert found is not None
    assert batch.second_starts is not None
    for score, ids, start in zip(found, rows_of(batch), batch.second_starts, strict=True):
        types = (torch.arange(len(ids)) >= int(start)).long()[None]
        np.testing.assert_allclose(score, run_torch(module, ids, types)[0], atol=1e-4)


@pytest.mark.parametrize("kind", ["encoder", "three-heads", "pair-scorer"])
@pytest.mark.parametrize("is_quantised", [False, True])
@pytest.mark.parametrize("threads", [1, 3])
def test_a_result_does_not_depend_on_what_else_is_in_the_batch(
    exports: dict[str, tuple[Path, Any]],
    quantised: dict[str, Path],
    kind: str,
    is_quantised: bool,
    threads: int,
) -> None:
    folder = quantised[kind] if is_quantised else exports[kind][0]
    model = OnnxBackend(spec_of(folder, options={"threads": threads}))
    outputs = model.loaded.outputs
    texts: list[Any] = [*TEXTS, *TEXTS[::-1]]
    if kind == "pair-scorer":
        texts = [("the fox", text, "") for text in texts]
    order = np.random.default_rng(3).permutation(len(texts))
    shuffled = model.embed(model.tokenize([texts[i] for i in order]), EmbedTask(outputs))
    alone = [model.embed(model.tokenize([texts[i]]), EmbedTask(outputs)) for i in order]
    together = Outputs(
        np.concatenate([each.dense for each in alone if each.dense is not None]),
        shuffled.sparse and _join_sparse(alone),
        shuffled.tokens and _join_tokens(alone),
    )
    assert_same(shuffled, together, atol=0 if is_quantised else 1e-5)
    assert model.loaded.dtype == ("int8" if is_quantised else "float32")
    assert model.loaded.is_padded is False


def _join_sparse(parts: list[Outputs]) -> Any:
    rows = [each.sparse for each in parts if each.sparse]
    names = ("token_ids", "weights", "lengths")
    return type(rows[0])(*(np.concatenate([getattr(row, name) for row in rows]) for name in names))


def _join_tokens(parts: list[Outputs]) -> Any:
    rows = [each.tokens for each in parts if each.tokens]
    return type(rows[0])(
        *(np.concatenate([getattr(row, name) for row in rows]) for name in ("vectors", "lengths"))
    )


def test_integer_arithmetic_would_let_rows_change_each_other(quantised: dict[str, Path]) -> None:
    """Why rows run alone there: the graph itself gives a row another vector beside others."""
    import onnxruntime

    session = onnxruntime.InferenceSession(quantised["encoder"] / "model.onnx")
    ids = np.random.default_rng(0).integers(5, 300, (4, 16))
    feed = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
    together = session.run(None, feed)[0][:1]
    alone = session.run(None, {name: value[:1] for name, value in feed.items()})[0]
    assert np.abs(together - alone).max() > 1e-3 * np.abs(alone).max()


def test_an_integer_graph_gives_its_own_vectors(quantised: dict[str, Path]) -> None:
    import onnxruntime

    session = onnxruntime.InferenceSession(quantised["three-heads"] / "model.onnx")
    model = OnnxBackend(spec_of(quantised["three-heads"], pooling="cls"))
    batch = model.tokenize(TEXTS)
    found = model.embed(batch).dense
    assert found is not None
    for ids, vector in zip(rows_of(batch), found, strict=True):
        row = np.array([ids])
        (expected,) = session.run(["dense_vecs"], {"input_ids": row, "attention_mask": np.ones_like(row)})
        np.testing.assert_array_equal(vector, expected[0])


def test_calls_mix_rows_and_come_from_many_threads(exports: dict[str, tuple[Path, Any]]) -> None:
    model = OnnxBackend(spec_of(exports["encoder"][0]))
    batch = model.tokenize(TEXTS)
    expected = model.embed(batch)
    with ThreadPoolExecutor(8) as threads:
        for found in threads.map(lambda _: model.embed(batch), range(40)):
            assert_same(found, expected)


def test_long_empty_and_no_texts(exports: dict[str, tuple[Path, Any]]) -> None:
    model = OnnxBackend(spec_of(exports["encoder"][0], max_tokens=16))
    batch = model.tokenize(["dog " * 25_000, "", "dog " * 14])
    assert batch.lengths.tolist() == [16, 2, 16]
    assert batch.full_lengths[0] == 25_002
    dense = model.embed(batch).dense
    assert dense is not None
    assert np.isfinite(dense).all()
    np.testing.assert_array_equal(
        dense[0], dense[2]
    )  # what stays is read the same, the last special token included
    empty = model.embed(model.tokenize([]), EmbedTask(("dense", "tokens")))
    assert empty.dense is not None
    assert empty.dense.shape == (0, 32)
    assert empty.tokens is not None
    assert empty.tokens.vectors.shape == (0, 32)


def test_memory_is_given_back_and_results_stay(exports: dict[str, tuple[Path, Any]]) -> None:
    model = OnnxBackend(spec_of(exports["encoder"][0]))
    batch = model.tokenize(TEXTS)
    before = model.embed(batch)
    model.free_caches()
    assert_same(model.embed(batch), before)
    model.close()


def test_dense_layers_and_normalisation_follow_the_pooling(folder: Path) -> None:
    plain = OnnxBackend(spec_of(folder))
    random = np.random.default_rng(5)
    weight, bias = random.normal(size=(8, 32)).astype(np.float32), random.normal(size=8).astype(np.float32)
    modules = [
        ("Transformer", ""),
        ("Pooling", "1_Pooling"),
        ("Dense", "2_Dense"),
        ("Normalize", "3_Normalize"),
    ]
    content = [{"type": f"sentence_transformers.models.{kind}", "path": path} for kind, path in modules]
    (folder / "modules.json").write_text(json.dumps(content))
    for name in ("1_Pooling", "2_Dense"):
        (folder / name).mkdir()
    (folder / "1_Pooling/config.json").write_text('{"pooling_mode_cls_token": true}')
    activation = {"activation_function": "torch.nn.modules.activation.Tanh"}
    (folder / "2_Dense/config.json").write_text(json.dumps(activation))
    save_file({"linear.weight": weight, "linear.bias": bias}, folder / "2_Dense/model.safetensors")
    model = OnnxBackend(spec_of(folder))
    assert (model.loaded.pooling, model.loaded.dimensions) == ("cls", 8)
    found = model.embed(model.tokenize(TEXTS)).dense
    cls = OnnxBackend(
        spec_of(shutil.copytree(folder, folder / "x", ignore=lambda *_: ["modules.json", "2_Dense"]))
    )
    states = cls.embed(cls.tokenize(TEXTS)).dense
    assert states is not None
    expected = np.tanh(states @ weight.T + bias)
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert plain.loaded.pooling == "mean"


def test_a_vector_that_the_graph_pools_itself_is_used_as_it_is(folder: Path) -> None:
    class Pooled(torch.nn.Module):
        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            states = torch.nn.functional.one_hot(input_ids % 8, 8).float() * attention_mask[..., None]
            return states, states.sum(1)

    export_module(Pooled(), ["token_embeddings", "sentence_embedding"], folder / "model.onnx")
    model = OnnxBackend(spec_of(folder))
    found = model.embed(model.tokenize(["the fox"]))
    ids = model.tokenize(["the fox"]).ids
    np.testing.assert_array_equal(found.dense, [np.bincount(ids % 8, minlength=8)])


def test_a_graph_exported_for_one_row_runs_row_by_row(
    exports: dict[str, tuple[Path, Any]], folder: Path
) -> None:
    import onnx

    graph = onnx.load(folder / "model.onnx")
    for value in graph.graph.input:
        value.type.tensor_type.shape.dim[0].dim_value = 1
    onnx.save(graph, folder / "model.onnx")
    usual, fixed = OnnxBackend(spec_of(exports["encoder"][0])), OnnxBackend(spec_of(folder))
    batch = usual.tokenize(TEXTS * 2)
    assert_same(fixed.embed(batch), usual.embed(batch))


def test_token_ids_outside_the_vocabulary_are_refused(exports: dict[str, tuple[Path, Any]]) -> None:
    model = OnnxBackend(spec_of(exports["encoder"][0]))
    with pytest.raises(InvalidRequest, match="token id 100000"):
        model.tokenize([[5, 100_000]])


def test_files_that_do_not_fit_do_not_load(folder: Path) -> None:
    spec = spec_of(folder)

    def fails(match: str, **changes: Any) -> None:
        fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
        with pytest.raises(LoadFailed, match=match) as failure:
            OnnxBackend(LoadSpec(**{**fields, **changes}))
        assert str(folder) not in failure.value.message

    (folder / "bad.onnx").write_bytes(b"no graph at all")
    bad = str(folder / "bad.onnx")
    fails("no .onnx file", files={"tokenizer.json": spec.files["tokenizer.json"]})
    fails("2 graphs", files={**spec.files, "onnx/model_O4.onnx": bad})
    fails("no graph that ONNX Runtime", files={**spec.files, "model.onnx": bad})
    fails("no graph that ONNX Runtime", files={**spec.files, "b.onnx": bad}, options={"graph": "b.onnx"})
    fails("no c.onnx", options={"graph": "c.onnx"})
    fails("no provider 'tpu', only .*cpu", device="tpu")
    fails("no provider 'openvino', only .*cpu", options={"provider": "openvino"})
    fails("pooling 'sum'", pooling="sum")


def test_a_provider_that_does_not_start_is_told(
    exports: dict[str, tuple[Path, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runtime goes on with the CPU where a provider's libraries are missing."""
    spec = spec_of(exports["encoder"][0])
    named = OnnxBackend(
        LoadSpec(
            **{name: getattr(spec, name) for name in spec.__struct_fields__}
            | {"options": {"provider": "cpu"}}
        )
    )
    named.close()
    session = onnxruntime.InferenceSession
    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: ["CUDAExecutionProvider"])
    monkeypatch.setattr(
        onnxruntime,
        "InferenceSession",
        lambda path, options, providers: session(path, options, providers=["CPUExecutionProvider"]),
    )
    with pytest.raises(LoadFailed, match="has the provider 'cuda' but cannot start it on 'cuda:0'"):
        Graph(Path(spec.files["model.onnx"]), "cuda:0", 1, 10)
