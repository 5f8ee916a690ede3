"""The cross-encoder backend beside Sentence Transformers' CrossEncoder, on small random models."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra 'sentence'")
sentence_transformers = pytest.importorskip("sentence_transformers", reason="needs the extra 'sentence'")

import torch  # noqa: E402

from tests.support.tiny_rerank import (  # noqa: E402
    DOCUMENTS,
    PAIRS,
    QUERY,
    Encoder,
    load_spec,
    save_causal,
    save_cross_encoder,
)
from turbov2.backends.cross_encoder import CrossEncoderBackend  # noqa: E402
from turbov2.errors import InvalidRequest, LoadFailed  # noqa: E402
from turbov2.types import Pair, TokenBatch  # noqa: E402

FAMILIES: tuple[Encoder, ...] = ("deberta-v2", "bert", "xlm-roberta")
Scores = np.ndarray[Any, np.dtype[np.float32]]


@pytest.fixture(scope="module", params=FAMILIES)
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_cross_encoder(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def backend(folder: Path) -> CrossEncoderBackend:
    return CrossEncoderBackend(load_spec(folder, "cross_encoder"))


def score(backend: CrossEncoderBackend, pairs: list[Pair]) -> Scores:
    scores = backend.embed(backend.tokenize(pairs)).dense
    assert scores is not None
    assert scores.shape == (len(pairs), 1)
    assert scores.dtype == np.float32
    return scores[:, 0]


def reference(folder: Path, pairs: list[Pair], **options: Any) -> Scores:
    model = sentence_transformers.CrossEncoder(
        str(folder), max_length=options.pop("max_length", None), device="cpu", local_files_only=True
    )
    return model.predict([pair[:2] for pair in pairs], show_progress_bar=False, **options)


def test_scores_are_the_raw_logits_of_the_library(folder, backend):
    expected = reference(
        folder, PAIRS, activation_fn=torch.nn.Identity(), max_length=backend.loaded.max_tokens
    )
    assert np.ptp(expected) > 0.1
    np.testing.assert_allclose(score(backend, PAIRS), expected, atol=1e-5)


def test_the_librarys_default_is_the_sigmoid_of_them(folder, backend):
    expected = reference(folder, PAIRS, max_length=backend.loaded.max_tokens)
    np.testing.assert_allclose(1 / (1 + np.exp(-score(backend, PAIRS))), expected, atol=1e-5)


@pytest.mark.parametrize("max_tokens", [5, 12, 40])
def test_truncation_is_the_librarys(folder, max_tokens):
    backend = CrossEncoderBackend(load_spec(folder, "cross_encoder", max_tokens=max_tokens))
    tokens = backend.tokenize(PAIRS)
    assert tokens.lengths.max() == max_tokens
    assert (tokens.full_lengths >= tokens.lengths).all()
    expected = reference(folder, PAIRS, activation_fn=torch.nn.Identity(), max_length=max_tokens)
    np.testing.assert_allclose(score(backend, PAIRS), expected, atol=1e-5)


def test_a_score_depends_on_its_pair_alone(backend):
    together = score(backend, PAIRS)
    alone = np.concatenate([score(backend, [pair]) for pair in PAIRS])
    np.testing.assert_allclose(together, alone, atol=1e-5)
    np.testing.assert_allclose(score(backend, PAIRS[::-1])[::-1], together, atol=1e-5)
    np.testing.assert_allclose(score(backend, PAIRS + PAIRS)[len(PAIRS) :], together, atol=1e-5)


def test_query_and_document_are_told_apart(backend):
    turned = [(document, query, instruction) for query, document, instruction in PAIRS]
    # Of all pairs: one alone may score the same both ways by chance, since a trained tokenizer varies.
    assert np.abs(score(backend, turned) - score(backend, PAIRS)).max() > 1e-3


def test_long_and_many_documents(backend):
    long = "what is near the station is a fox " * 3000
    tokens = backend.tokenize([(QUERY, long, "")])
    assert tokens.lengths[0] == backend.loaded.max_tokens < tokens.full_lengths[0]
    documents = [DOCUMENTS[i % len(DOCUMENTS)] for i in range(200)]
    scores = score(backend, [(QUERY, document, "") for document in documents])
    np.testing.assert_allclose(scores, np.resize(score(backend, PAIRS), 200), atol=1e-5)


def test_rows_of_several_calls_may_be_mixed(backend):
    parts = [backend.tokenize(PAIRS[:3]), backend.tokenize(PAIRS[3:])]
    starts = None
    if parts[0].second_starts is not None:
        starts = np.concatenate([part.second_starts for part in parts])
    mixed = TokenBatch(
        np.concatenate([part.ids for part in parts]),
        np.concatenate([part.lengths for part in parts]),
        np.concatenate([part.full_lengths for part in parts]),
        starts,
    )
    np.testing.assert_allclose(backend.embed(mixed).dense[:, 0], score(backend, PAIRS), atol=1e-5)


def test_what_is_loaded_is_told(backend):
    loaded = backend.loaded
    assert (loaded.capabilities, loaded.dimensions, loaded.dtype) == (("rerank",), 1, "float32")
    assert loaded.is_padded
    # 98 positions of XLM-R, the first two of which no token ever has
    assert loaded.max_tokens in (512, 96)


@pytest.mark.parametrize("inputs", [["a text"], [[1, 2]], [[]]])
def test_only_pairs_are_read(backend, inputs):
    with pytest.raises(InvalidRequest, match="pairs"):
        backend.tokenize(inputs)


def test_an_instruction_is_refused(backend):
    with pytest.raises(InvalidRequest, match="instruction"):
        backend.tokenize([("q", "d", "prefer short texts")])


def test_several_labels_are_refused(tmp_path):
    save_cross_encoder("bert", tmp_path, n_labels=3)
    with pytest.raises(LoadFailed, match="3 labels"):
        CrossEncoderBackend(load_spec(tmp_path, "cross_encoder"))


def test_a_model_without_a_classifier_is_refused(tmp_path):
    save_causal("qwen2", tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps(config | {"num_labels": 1}))
    with pytest.raises(LoadFailed, match="lack"):
        CrossEncoderBackend(load_spec(tmp_path, "cross_encoder"))


def test_half_precision_stays_near_and_can_be_asked_to_be_precise(folder, backend):
    half = CrossEncoderBackend(load_spec(folder, "cross_encoder", options={"dtype": "bfloat16"}))
    assert half.loaded.dtype == "bfloat16"
    tokens = half.tokenize(PAIRS)
    precise = half.embed(tokens, is_precise=True).dense
    assert np.abs(half.embed(tokens).dense - precise).max() > 0
    assert (
        np.corrcoef(precise[:, 0], score(backend, PAIRS))[0, 1] > 0.98
    )  # the weights themselves are rounded
