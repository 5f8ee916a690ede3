"""`python -m bench.parity`: every kind of model beside the library its makers publish; writes docs/parity.md.

Real weights where packages carry them; else small random checkpoints of the same architecture, which prove
the code and say nothing of quality.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import numpy as np
import onnxruntime
import sentence_transformers
import torch
import transformers
from model2vec import StaticModel
from numpy.typing import NDArray
from safetensors.numpy import load_file
from scipy.stats import kendalltau
from tokenizers import Tokenizer

from bench import precision_memory, texts
from tests.integration.test_causal_rerank_parity import Reference
from tests.support import tiny_onnx, tiny_rerank, tiny_sentence
from turbov2.backends.causal_rerank import CausalRerankBackend
from turbov2.backends.cross_encoder import CrossEncoderBackend
from turbov2.backends.onnx import OnnxBackend
from turbov2.backends.sentence import SentenceBackend
from turbov2.backends.static import StaticBackend
from turbov2.engine.shelf import load_catalog, open_shelf
from turbov2.settings import load_settings
from turbov2.types import EmbedTask, LoadSpec

PAGE = Path(__file__).parents[1] / "docs" / "parity.md"
LIBRARIES = ("model2vec", "sentence-transformers", "transformers", "torch", "onnxruntime", "bitsandbytes")
CLS = {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}
LAST = {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}
N_VOCABULARY = 400  # of the small checkpoints
NF4 = {
    "quantization_config": transformers.BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    ),
    "dtype": torch.bfloat16,
}  # fmt: skip
PAIRS = [
    (query, document, "") for query, _, _ in tiny_rerank.PAIRS[:1] for document in tiny_rerank.DOCUMENTS * 4
]
Matrix = NDArray[np.float32]


class Row(NamedTuple):
    """One comparison: `got` and `due` are `[n, d]` vectors, or `[n, 1]` scores of one ranking."""

    model: str
    weights: str  # "real" or "structural"
    against: str
    same_ids: bool | None  # None: the library does not tell its ids
    got: Matrix
    due: Matrix
    limit: (
        float  # of the largest difference, relative to the largest value; for rounded weights of 1 - cosine
    )
    is_rounded: bool = False


def main() -> None:
    """Writes the page. Exits 1 when a gate fails."""
    with tempfile.TemporaryDirectory() as folder:
        rows = [
            row for make in (_static, _minilm, _sentence, _three_heads, _pairs) for row in make(Path(folder))
        ]
        minilm = Path(_real("all-minilm-l6-v2").files["modules.json"]).parent
        memory = list(precision_memory.lines(minilm, Path(folder)))
    lines = [_line(row) for row in rows]
    PAGE.write_text(_page(lines, memory))
    print("\n".join(lines + memory))
    sys.exit(any("FAIL" in line for line in lines))


def _real(name: str) -> LoadSpec:
    settings = load_settings(os.environ)
    catalog = load_catalog(settings)
    return open_shelf(settings, catalog).load_spec(catalog.resolve(name))


def _dense(backend: Any, inputs: Any, **task: Any) -> Matrix:
    found: Matrix = backend.embed(backend.tokenize(inputs), EmbedTask(**task)).dense
    return found


def _unit(vectors: Any) -> Matrix:
    wide = np.asarray(vectors, np.float64)
    found: Matrix = wide / np.maximum(np.linalg.norm(wide, axis=1, keepdims=True), 1e-32)
    return found


def _same_ids(backend: Any, inputs: list[str], tokenizer: Any, limit: int | None) -> bool:
    tokens = backend.tokenize(inputs)
    due = tokenizer(inputs, truncation=limit is not None, max_length=limit)["input_ids"]
    return bool(tokens.ids.tolist() == [each for row in due for each in row])


def _texts() -> list[str]:
    return [*texts.real(32, 4, is_raw=False).batches[0], "", "機械学習 🙂", "word " * 2000]


def _static(folder: Path) -> Iterator[Row]:
    spec = _real("wordllama-256d")
    (table,) = load_file(spec.files["model.safetensors"]).values()
    tokenizer = Tokenizer.from_file(spec.files["tokenizer.json"])
    library = StaticModel(table.astype(np.float32), tokenizer, normalize=True)
    due = library.encode(_texts(), max_length=None)
    got = _unit(_dense(StaticBackend(spec), _texts()))
    yield Row("wordllama-256d, float16 table", "real", "model2vec", None, got, due, 1e-5)


def _minilm(folder: Path) -> Iterator[Row]:
    spec = _real("all-minilm-l6-v2")
    library = sentence_transformers.SentenceTransformer(
        str(Path(spec.files["modules.json"]).parent), device="cpu"
    )
    due = library.encode(_texts())
    for how, limit, is_rounded in (("float32", 1e-5, False), ("bfloat16", 1e-3, True), ("nf4", 0.03, True)):
        options = {"quantization": "nf4"} if how == "nf4" else {"dtype": how}
        backend = SentenceBackend(msgspec.structs.replace(spec, options=options))
        same = _same_ids(backend, _texts(), library.tokenizer, 256)
        yield Row(f"all-minilm-l6-v2, {how}", "real", "sentence-transformers, float32", same,
                  _unit(_dense(backend, _texts())), due, limit, is_rounded)  # fmt: skip
    rounded = sentence_transformers.SentenceTransformer(
        str(Path(spec.files["modules.json"]).parent), device="cpu", model_kwargs=NF4
    )
    got = _unit(
        _dense(SentenceBackend(msgspec.structs.replace(spec, options={"quantization": "nf4"})), _texts())
    )
    yield Row("all-minilm-l6-v2, nf4", "real", "sentence-transformers, nf4", None, got,
              rounded.encode(_texts()), 1e-3, True)  # fmt: skip
    onnx = _real("minilm-384d")
    backend = OnnxBackend(onnx)
    got = _unit(_dense(backend, _texts()))
    direct = _unit([_run_alone(onnx, ids) for ids in _rows(backend.tokenize(_texts()))])
    same = _same_ids(backend, _texts(), library.tokenizer, 256)
    yield Row("minilm-384d, INT8 weights", "real", "onnxruntime, text by text", same, got, direct, 1e-5)
    yield Row(
        "minilm-384d, INT8 weights", "real", "sentence-transformers, float32", same, got, due, 0.03, True
    )


def _rows(tokens: Any) -> list[Any]:
    return np.split(tokens.ids, np.cumsum(tokens.lengths)[:-1])


def _run_alone(spec: LoadSpec, ids: Any) -> Any:
    session = onnxruntime.InferenceSession(spec.files["model.onnx"], providers=["CPUExecutionProvider"])
    row = ids[None].astype(np.int64)
    values = {"input_ids": row, "attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
    (states, *_) = session.run(None, {i.name: values[i.name] for i in session.get_inputs()})
    return states[0].mean(axis=0)


def _sentence(folder: Path) -> Iterator[Row]:
    inputs = [text.lower()[:200] for text in _texts()]
    shape = {"num_hidden_layers": 24, "initializer_range": 0.1}
    bert = tiny_sentence.save_sentence(folder / "bert", "bert", CLS, **shape)
    backend = SentenceBackend(tiny_sentence.spec_of(bert))
    for n_layers in (24, 12, 6):
        library = sentence_transformers.SentenceTransformer(str(bert), device="cpu")
        library[0].auto_model.encoder.layer = library[0].auto_model.encoder.layer[:n_layers]
        got = _dense(backend, inputs, layers=n_layers)
        same = _same_ids(backend, inputs, library.tokenizer, 64)
        name = f"BERT of 24 layers, first {n_layers} (mxbai-embed-2d)"
        yield Row(name, "structural", "sentence-transformers",
                  same, got, library.encode(inputs), 1e-5)  # fmt: skip
    qwen = tiny_sentence.save_sentence(folder / "qwen3", "qwen3", LAST, is_normalized=True)
    library = sentence_transformers.SentenceTransformer(str(qwen), device="cpu")
    backend = SentenceBackend(tiny_sentence.spec_of(qwen))
    yield Row("Qwen3 (qwen3-embed)", "structural", "sentence-transformers", None, _dense(backend, inputs),
              library.encode(inputs), 1e-5)  # fmt: skip


def _three_heads(folder: Path) -> Iterator[Row]:
    module = tiny_onnx.export("three-heads", folder / "m3")
    tokenizer = Tokenizer.from_file(str(folder / "m3" / "tokenizer.json"))
    special = [tokenizer.token_to_id(token) for token in ("<s>", "</s>", "<pad>", "<unk>")]
    inputs = [text[:100] for text in _texts()]
    for how, limit in (("float32", 1e-4), ("dynamic INT8", 0.03)):
        if how != "float32":
            tiny_onnx.quantise(folder / "m3")
        backend = OnnxBackend(tiny_onnx.spec_of(folder / "m3", pooling="cls"))
        tokens = backend.tokenize(inputs)
        found = backend.embed(tokens, EmbedTask(("dense", "sparse", "tokens")))
        with torch.no_grad():
            due = [
                module(torch.tensor(ids[None]), torch.ones(1, len(ids), dtype=torch.int64))
                for ids in _rows(tokens)
            ]
        name = f"XLM-R with bge-m3's heads, {how} ONNX"
        dense = np.concatenate([each[0].numpy() for each in due])
        yield Row(f"{name}: dense", "structural", "torch", None, found.dense, dense, limit, how != "float32")
        heads = zip(_rows(tokens), due, strict=True)
        sparse = np.stack([_sparse(ids, each[1][0, :, 0].numpy(), special) for ids, each in heads])
        yield Row(f"{name}: sparse", "structural", "torch and FlagEmbedding's rule", None,
                  _as_matrix(found.sparse), sparse, limit, how != "float32")  # fmt: skip
        colbert = np.concatenate([_unit(each[2][0].numpy()) for each in due])
        if len(colbert) == len(found.tokens.vectors):
            yield Row(f"{name}: tokens", "structural", "torch", None, found.tokens.vectors, colbert, limit,
                      how != "float32")  # fmt: skip


def _sparse(ids: NDArray[np.int32], weights: Matrix, special: list[int]) -> Matrix:
    """Returns `[vocabulary]`: the largest weight of each token, special ones left out (BGEM3FlagModel)."""
    row = np.zeros(N_VOCABULARY, np.float32)
    np.maximum.at(row, ids, weights)
    row[special] = 0
    return row


def _as_matrix(sparse: Any) -> Matrix:
    rows = np.zeros((len(sparse.lengths), N_VOCABULARY), np.float32)
    rows[np.repeat(np.arange(len(rows)), sparse.lengths), sparse.token_ids] = sparse.weights
    return rows


def _pairs(folder: Path) -> Iterator[Row]:
    deberta = tiny_rerank.save_cross_encoder("deberta-v2", folder / "deberta")
    backend: Any = CrossEncoderBackend(tiny_rerank.load_spec(deberta, "cross_encoder"))
    library = sentence_transformers.CrossEncoder(str(deberta), device="cpu", local_files_only=True)
    due = library.predict([pair[:2] for pair in PAIRS], activation_fn=torch.nn.Identity())
    yield Row("DeBERTa-v2 (mxbai-rerank-xsmall)", "structural", "sentence-transformers CrossEncoder", None,
              _dense(backend, PAIRS), due[:, None], 1e-5)  # fmt: skip
    for recipe, family in (("mxbai-v2", "qwen2"), ("qwen3", "qwen3")):
        causal = tiny_rerank.save_causal(family, folder / family)
        backend = CausalRerankBackend(
            tiny_rerank.load_spec(causal, "causal_rerank", options={"recipe": recipe})
        )
        reference = Reference(causal, recipe)
        rows = [reference.row(pair) for pair in PAIRS]
        same = backend.tokenize(PAIRS).ids.tolist() == [each for row in rows for each in row]
        name = {"mxbai-v2": "Qwen2 (mxbai-rerank-v2)", "qwen3": "Qwen3 (qwen3-reranker)"}[recipe]
        yield Row(name, "structural", "the published recipe in transformers", same, _dense(backend, PAIRS),
                  reference.scores(rows)[:, None], 1e-5)  # fmt: skip


def _line(row: Row) -> str:
    got, due = np.asarray(row.got, np.float64), np.asarray(row.due, np.float64)
    difference = np.abs(got - due).max()
    is_score = got.shape[1] == 1
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(due, axis=1)
    cosine = 1.0 if is_score else float(((got * due).sum(axis=1)[norms > 0] / norms[norms > 0]).min())
    is_kept = (
        1 - cosine <= row.limit if row.is_rounded else difference <= row.limit * max(np.abs(due).max(), 1)
    )
    agreement = f"{kendalltau(got[:, 0], due[:, 0]).statistic:.4f}" if is_score else f"{cosine:.6f}"
    ids = {True: "equal", False: "DIFFER", None: ""}[row.same_ids]
    gate = f"1 - cosine <= {row.limit:g}" if row.is_rounded else f"difference <= {row.limit:g}"
    verdict = "pass" if is_kept and row.same_ids is not False else "FAIL"
    cells = (
        row.model,
        row.weights,
        row.against,
        str(len(got)),
        ids,
        f"{difference:.1e}",
        agreement,
        gate,
        verdict,
    )
    return f"| {' | '.join(cells)} |"


def _page(lines: list[str], memory: list[str]) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in LIBRARIES)
    return f"""# Equal to the reference

Written by `python -m bench.parity` with {versions}; on a CPU. No row has run on a GPU.

**real**: the published weights, from a Python package. **structural**: a small random checkpoint of the
same architecture; it proves tokens, layers, pooling and scores, and says nothing of quality. Agreement is
the least cosine of a vector with the library's; of scores, Kendall's tau. Differences are relative to the
largest value where that is above 1. Four-bit weights lose more on MiniLM than their gate allows, here as in
the library: its layers are narrow, 384 wide. So do lexical weights of the small INT8
checkpoint, 32 wide.

| Model | Weights | Compared with | Inputs | Ids | Largest difference | Agreement | Gate | |
|---|---|---|---|---|---|---|---|---|
{chr(10).join(lines)}

## Memory by precision

What a fresh process grows by (USS) from before a load to after its first forward, libraries not counted; NF4
packs linear layers only, embeddings stay bfloat16. A forward is of 8 short texts.

| Model | Weights | Precision | Parameters | MB | Load, s | Forward, ms |
|---|---|---|---|---|---|---|
{chr(10).join(memory)}
"""


if __name__ == "__main__":
    main()
