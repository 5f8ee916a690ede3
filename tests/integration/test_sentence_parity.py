"""The sentence backend gives what the sentence-transformers library gives, for every kind of folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'sentence'")
sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra 'sentence'")

import torch  # noqa: E402

from tests.support.tiny_sentence import ARCHITECTURES, save_sentence, save_transformer, spec_of  # noqa: E402
from turbov2.backends.sentence import SentenceBackend  # noqa: E402
from turbov2.catalog import Catalog  # noqa: E402
from turbov2.catalog.weights import WeightsStore  # noqa: E402
from turbov2.settings import load_settings  # noqa: E402
from turbov2.types import EmbedTask, LoadSpec  # noqa: E402

TEXTS = [
    "The quick brown fox jumps over the lazy dog.",
    "",
    "a",
    "Où est la gare ? 機械学習は面白い。 🎉",
    "def f(x):\n\treturn {'a': x ** 2}  # 100%",
    "a dog " * 40,
    "The quick brown fox jumps over the lazy dog.",
    "x" * 100_000,
    " \n ",
]
PACKED = ("bert", "electra", "roberta", "xlm-roberta", "camembert", "qwen2", "qwen3")
LAST = {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}
POOLINGS: dict[str, dict[str, Any]] = {
    "mean": {"pooling_mode_mean_tokens": True},
    "cls": {"pooling_mode_cls_token": True},
    "max": {"pooling_mode_max_tokens": True},
    "last": LAST,
    "mean_sqrt_len": {"pooling_mode_mean_sqrt_len_tokens": True},
    "weightedmean": {"pooling_mode_weightedmean_tokens": True},
    "cls+mean": {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": True},
    "max+last": {"pooling_mode": ["max", "lasttoken"]},
}


def reference(folder: Path, texts: list[str], **kwargs: Any) -> np.ndarray:
    return sentence_transformers.SentenceTransformer(str(folder), device="cpu").encode(texts, **kwargs)


def dense(backend: SentenceBackend, texts: list[str], **kwargs: Any) -> np.ndarray:
    vectors = backend.embed(backend.tokenize(texts), **kwargs).dense
    assert vectors is not None
    assert vectors.dtype == np.float32
    assert vectors.shape == (len(texts), backend.loaded.dimensions)
    return vectors


def assert_near(got: np.ndarray, expected: np.ndarray, limit: float = 1e-5) -> None:
    """Compares as a share of the largest value: not every folder normalises."""
    assert np.abs(got - expected).max() <= limit * max(np.abs(expected).max(), 1)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_architecture_equals_the_library(tmp_path: Path, architecture: str) -> None:
    pooling = LAST if architecture.startswith("qwen") else None
    folder = save_sentence(tmp_path, architecture, pooling, is_normalized=True)
    backend = SentenceBackend(spec_of(folder))
    assert backend.loaded.is_padded == (architecture not in PACKED)
    expected = reference(folder, TEXTS)
    assert np.linalg.matrix_rank(expected, tol=1e-3) >= 5  # the texts do differ
    assert_near(dense(backend, TEXTS), expected)


@pytest.mark.parametrize("pooling", POOLINGS)
def test_every_pooling_equals_the_library(tmp_path: Path, pooling: str) -> None:
    folder = save_sentence(tmp_path, "bert", POOLINGS[pooling], pad_token_id=0, eos_token_id=3)
    backend = SentenceBackend(spec_of(folder))
    assert backend.loaded.pooling == pooling
    assert_near(dense(backend, TEXTS), reference(folder, TEXTS))


def test_a_dense_layer_behind_the_pooling_equals_the_library(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "bert", dense=(32, 20), is_normalized=True)
    backend = SentenceBackend(spec_of(folder))
    assert backend.loaded.dimensions == 20
    assert_near(dense(backend, TEXTS), reference(folder, TEXTS))


def test_a_bare_transformer_is_pooled_as_the_catalogue_says(tmp_path: Path) -> None:
    folder = save_transformer(tmp_path, "bert")
    for pooling in ("mean", "cls"):
        modules = [
            sentence_transformers.sentence_transformer.modules.Transformer(str(folder)),
            sentence_transformers.sentence_transformer.modules.Pooling(32, pooling),
        ]
        expected = sentence_transformers.SentenceTransformer(modules=modules, device="cpu").encode(TEXTS)
        assert_near(dense(SentenceBackend(spec_of(folder, pooling=pooling)), TEXTS), expected)


def test_texts_are_cut_as_the_library_cuts_them(tmp_path: Path) -> None:
    folder = save_sentence(tmp_path, "qwen3", LAST, max_seq_length=None, max_position_embeddings=50)
    library = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
    for max_tokens in (2, 7, 50):
        library.max_seq_length = max_tokens
        backend = SentenceBackend(spec_of(folder, max_tokens=max_tokens))
        tokens = backend.tokenize(TEXTS)
        assert tokens.lengths.max() == backend.loaded.max_tokens == max_tokens
        assert tokens.full_lengths.max() > max_tokens
        assert (tokens.ids[np.cumsum(tokens.lengths) - 1] == 0).all()  # <|endoftext|> stays
        assert_near(dense(backend, TEXTS), library.encode(TEXTS))


@pytest.mark.parametrize(
    ("architecture", "asked", "limit"),
    [("bert", None, 64), ("bert", 99, 64), ("bert", 9, 9), ("xlm-roberta", None, 64)],
)
def test_the_smallest_limit_holds(tmp_path: Path, architecture: str, asked: int | None, limit: int) -> None:
    # 66 learned positions are 64 tokens for RoBERTa's family; BERT's 66 are cut by the folder's own 64.
    folder = save_sentence(tmp_path, architecture, max_seq_length=None if architecture != "bert" else 64)
    backend = SentenceBackend(spec_of(folder, max_tokens=asked))
    assert backend.loaded.max_tokens == limit
    assert np.isfinite(dense(backend, TEXTS)).all()


def test_first_layers_equal_a_model_cut_by_hand(tmp_path: Path) -> None:
    shape = {"num_hidden_layers": 24, "initializer_range": 0.1}
    folder = save_sentence(tmp_path, "bert", POOLINGS["cls"], **shape)
    whole = SentenceBackend(spec_of(folder))
    for n_layers in (24, 12, 6):
        library = sentence_transformers.SentenceTransformer(str(folder), device="cpu")
        encoder = library[0].auto_model.encoder
        encoder.layer = encoder.layer[:n_layers]
        got = dense(whole, TEXTS, task=EmbedTask(layers=n_layers))
        assert_near(got, library.encode(TEXTS))
    assert np.array_equal(dense(whole, TEXTS), dense(whole, TEXTS, task=EmbedTask(layers=24)))


@pytest.mark.parametrize(("dtype", "cosine"), [("bfloat16", 0.999), ("float16", 0.9999)])
def test_16_bit_weights_stay_near_and_are_precise_on_demand(
    tmp_path: Path, dtype: str, cosine: float
) -> None:
    folder = save_sentence(tmp_path, "qwen3", LAST, is_normalized=True)
    backend = SentenceBackend(spec_of(folder, options={"dtype": dtype}))
    assert backend.loaded.dtype == dtype
    expected, before = reference(folder, TEXTS), dense(backend, TEXTS)
    assert (before * expected).sum(axis=1).min() >= cosine
    rounded = sentence_transformers.SentenceTransformer(
        str(folder), device="cpu", model_kwargs={"dtype": getattr(torch, dtype)}
    ).to(torch.float32)
    assert_near(dense(backend, TEXTS, is_precise=True), rounded.encode(TEXTS))
    assert np.array_equal(dense(backend, TEXTS), before)  # and the weights are what they were


@pytest.fixture(scope="module")
def minilm() -> LoadSpec:
    spec = Catalog.load(None, {}).resolve("all-minilm-l6-v2")
    found = WeightsStore(load_settings().home_path).locate(spec)
    if found is None:
        pytest.skip("needs `turbov2 pull all-minilm-l6-v2`")
    return LoadSpec(spec.name, "sentence", found.files, found.revision, spec.max_tokens)


def test_real_weights_equal_the_library(minilm: LoadSpec) -> None:
    backend = SentenceBackend(minilm)
    assert backend.loaded.max_tokens == 256
    expected = reference(Path(minilm.files["modules.json"]).parent, TEXTS)
    assert_near(dense(backend, TEXTS), expected)
    pairs = dense(backend, ["How do I bake bread?", "A recipe for a loaf", "The train is late"])
    assert pairs[0] @ pairs[1] > 0.4 > 0.2 > pairs[0] @ pairs[2]
