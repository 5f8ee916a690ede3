"""LocalEngine with fake models: several outputs of one input, first layers, and reranking in each way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.engine.test_local_engine import CONTEXT, KINDS, embed, model, raw, serving, unit
from turbov2.catalog import Golden
from turbov2.engine import LocalEngine
from turbov2.engine.scores import max_sim, probabilities
from turbov2.errors import InferenceFailed, InvalidRequest, LoadFailed, NotCapable, NotFinite
from turbov2.types import RerankRequest, RerankResult, TokenVectors

pytestmark = pytest.mark.timeout(60)
QUERY = "what is it"
DOCUMENTS = ["it is this", "", "that", "it is this", "über 模型"]


async def rank(engine: LocalEngine, documents: list[str] = DOCUMENTS, **fields: Any) -> RerankResult:
    return await engine.rerank(RerankRequest("fake", QUERY, documents, **fields), CONTEXT)


# --- outputs


@pytest.mark.parametrize("kind", KINDS)
async def test_one_request_gets_all_outputs_in_order(tmp_path: Path, kind: str) -> None:
    texts = ["a b a", "", "c"]
    async with serving(tmp_path, model(tmp_path, runner=kind)) as engine:
        result = await embed(engine, *texts, outputs=("dense", "sparse", "tokens"))
        np.testing.assert_allclose(result.vectors[[0, 2]], unit(raw("a b a", "c")), atol=1e-6)
        assert result.sparse is not None
        assert result.sparse.lengths.tolist() == [2, 0, 1]
        assert sorted(result.sparse.weights[:2].tolist()) == [1, 2]
        assert result.tokens is not None
        assert result.tokens.lengths.tolist() == [3, 0, 1]
        np.testing.assert_allclose(result.tokens.vectors, unit(raw("a", "b", "a", "c")), atol=1e-6)
        only = await embed(engine, *texts, outputs=("sparse",))
        assert only.vectors.shape == (3, 0)
        assert only.tokens is None


@pytest.mark.parametrize("kind", KINDS)
async def test_tasks_beside_each_other_get_their_own_rows(tmp_path: Path, kind: str) -> None:
    texts = [f"text {i}" for i in range(40)]
    async with serving(tmp_path, model(tmp_path, runner=kind, delay_s=0.01)) as engine:
        asked = [("dense",), ("tokens",), ("dense", "sparse"), ("dense",)] * 3
        found = await asyncio.gather(*(embed(engine, *texts, outputs=outputs) for outputs in asked))
        for outputs, result in zip(asked, found, strict=True):
            if "dense" in outputs:
                np.testing.assert_allclose(result.vectors, unit(raw(*texts)), atol=1e-6)
            assert (result.tokens is not None) == ("tokens" in outputs)
            assert (result.sparse is not None) == ("sparse" in outputs)


async def test_what_a_model_does_not_give_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, is_reranker=True, capability="rerank")) as engine:
        with pytest.raises(NotCapable):
            await embed(engine, "a")


async def test_names_that_differ_in_layers_and_dimensions_share_weights(tmp_path: Path) -> None:
    whole = model(tmp_path, matryoshka=True)
    first = model(tmp_path, "first", weights=whole.weights, layers=3, dimensions=4, matryoshka=True)
    async with serving(tmp_path, whole, first) as engine:
        for normalize in (False, True):
            full = await embed(engine, "a b", normalize=normalize)
            cut = await embed(engine, "a b", name="first", normalize=normalize)
            expected = raw("a b")[:, :4] * 3
            assert full.vectors.shape == (1, 8)
            np.testing.assert_allclose(cut.vectors, unit(expected) if normalize else expected, atol=1e-6)
        (resident,) = engine.residents()
        assert {resident.model.name, *resident.shared_by} == {"fake", "first"}
        assert engine.model("first").dimensions == 4
        assert (await embed(engine, "a", name="first", dimensions=100)).vectors.shape == (1, 4)
        with pytest.raises(InvalidRequest, match="has 4"):
            await embed(engine, "a", name="first", dimensions=8, must_be_matryoshka=True)


# --- reranking


@pytest.mark.parametrize("kind", KINDS)
async def test_pairs_are_scored_raw_or_between_0_and_1(tmp_path: Path, kind: str) -> None:
    spec = model(tmp_path, runner=kind, capability="rerank", is_reranker=True, score_shift=0.5)
    async with serving(tmp_path, spec) as engine:
        result = await rank(engine)
        pairs = [f"{QUERY} {document} " for document in DOCUMENTS]
        np.testing.assert_array_equal(result.scores, raw(*pairs, dimensions=1)[:, 0])
        assert result.scores[0] == result.scores[3]
        squashed = await rank(engine, is_normalized=True)
        np.testing.assert_allclose(squashed.scores, probabilities(result.scores, 0.5))
        told = await rank(engine, instruction="be strict")
        assert not np.array_equal(told.scores, result.scores)
        alone = [await rank(engine, [document]) for document in reversed(DOCUMENTS)]
        assert [each.scores[0] for each in alone] == result.scores[::-1].tolist()
        assert (await rank(engine, [])).scores.shape == (0,)


async def test_embedders_rank_by_cosine(tmp_path: Path) -> None:
    spec = model(tmp_path, query_prompt="query: ")
    async with serving(tmp_path, spec) as engine:
        result = await rank(engine)
        vectors = unit(raw("query: " + QUERY, *DOCUMENTS))
        np.testing.assert_allclose(result.scores, vectors[1:] @ vectors[0], atol=1e-6)
        np.testing.assert_allclose((await rank(engine, is_normalized=True)).scores, (1 + result.scores) / 2)
        with pytest.raises(InvalidRequest, match="no instruction"):
            await rank(engine, instruction="be strict")


async def test_late_interaction(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, capability="rerank", scoring="maxsim")) as engine:
        result = await rank(engine)
        words = [word for document in DOCUMENTS for word in document.split()]
        lengths = np.array([len(document.split()) for document in DOCUMENTS], np.int32)
        documents = TokenVectors(unit(raw(*words)).astype(np.float32), lengths)
        expected = max_sim(unit(raw(*QUERY.split())).astype(np.float32), documents)
        np.testing.assert_allclose(result.scores, expected, atol=1e-6)
        assert result.scores[1] == 0


async def test_one_bad_document_fails_alone_if_that_is_allowed(tmp_path: Path) -> None:
    options: dict[str, Any] = {"capability": "rerank", "is_reranker": True, "fail_on": "BAD", "nan_on": "NAN"}
    async with serving(tmp_path, model(tmp_path, runner="thread", **options)) as engine:
        documents = ["good", "BAD", "fine", "NAN"]
        with pytest.raises((InferenceFailed, NotFinite), match="input [13]"):
            await rank(engine, documents)
        result = await rank(engine, documents, is_partial_ok=True)
        assert [error.index for error in result.failed] == [1, 3]
        whole = await rank(engine, ["good", "fine"])
        assert result.scores[[0, 2]].tolist() == whole.scores.tolist()


async def test_a_bad_query_fails_all(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, runner="thread", fail_on="what is")) as engine:
        with pytest.raises(InferenceFailed):
            await rank(engine, is_partial_ok=True)


async def test_cut_documents_are_told(tmp_path: Path) -> None:
    async with serving(tmp_path, model(tmp_path, max_tokens=3)) as engine:
        result = await rank(engine, ["one two three", "one two three four"])
        assert result.truncated == (1,)


# --- a look at the numbers at load


@pytest.mark.parametrize("kind", KINDS)
async def test_a_model_whose_numbers_are_off_is_not_served(tmp_path: Path, kind: str) -> None:
    values = unit(raw("a b"))[0, :3].tolist()
    right, wrong = (Golden("a b", tuple(v + change for v in values)) for change in (0.00005, 0.001))
    specs = [
        model(tmp_path, "right", kind, golden=(right,)),
        model(tmp_path, "wrong", kind, golden=(right, wrong)),
        model(tmp_path, "nan", kind, golden=(right,), nan_on="a b"),
    ]
    async with serving(tmp_path, *specs) as engine:
        assert (await embed(engine, "x", name="right")).vectors.shape == (1, 8)
        with pytest.raises(LoadFailed, match="its numbers are off: the vector of 'a b' begins"):
            await embed(engine, "x", name="wrong")
        with pytest.raises((LoadFailed, NotFinite)):
            await embed(engine, "x", name="nan")
