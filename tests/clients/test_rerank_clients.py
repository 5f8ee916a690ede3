"""Clients of rerank and embedding services, unchanged. Rows 26 to 28 and 31 of the compatibility matrix."""

from __future__ import annotations

import base64
import gc
from collections.abc import Iterator
from typing import Any

import cohere
import numpy as np
import pytest
import voyageai
from huggingface_hub import AsyncInferenceClient, InferenceClient
from huggingface_hub.errors import HfHubHTTPError
from numpy.typing import NDArray

from tests.support.server import REAL, Embed, RunningServer

QUERY = "How do cats sleep?"
DOCUMENTS = ["The stock market fell today.", "Cats sleep sixteen hours a day.", "A cat is an animal."]

# What they do with warnings and connections is their own.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.fixture(scope="module")
def scores(unit_vectors: Embed) -> NDArray[np.float32]:
    """What each document gets, in 0..1."""
    vectors = unit_vectors([QUERY, *DOCUMENTS])
    return (1 + vectors[1:] @ vectors[0]) / 2


def assert_ranked(found: list[tuple[int, float]], scores: NDArray[np.float32], n: int = 3) -> None:
    order = np.argsort(-scores)[:n].tolist()
    assert [index for index, _ in found] == order
    assert [score for _, score in found] == pytest.approx(scores[order], abs=1e-6)
    assert all(0 <= score <= 1 for _, score in found)


class TestCohere:
    @pytest.fixture
    def v2(self, server: RunningServer) -> cohere.ClientV2:
        return cohere.ClientV2(base_url=server.base_url, api_key="none")

    @pytest.fixture
    def v1(self, server: RunningServer) -> cohere.Client:
        return cohere.Client(base_url=server.base_url, api_key="none")

    def test_rerank(self, v2: cohere.ClientV2, scores: NDArray[np.float32]) -> None:
        answer = v2.rerank(model=REAL, query=QUERY, documents=DOCUMENTS, top_n=2, max_tokens_per_doc=4096)
        assert_ranked([(row.index, row.relevance_score) for row in answer.results], scores, 2)
        assert answer.id
        assert answer.meta is not None
        assert answer.meta.api_version is not None
        assert answer.meta.api_version.version == "2"

    def test_rerank_of_the_first_version(self, v1: cohere.Client, scores: NDArray[np.float32]) -> None:
        documents: list[Any] = [DOCUMENTS[0], {"text": DOCUMENTS[1]}, DOCUMENTS[2]]
        answer = v1.rerank(model=REAL, query=QUERY, documents=documents, return_documents=True)
        assert_ranked([(row.index, row.relevance_score) for row in answer.results], scores)
        assert [row.document.text for row in answer.results if row.document] == [
            DOCUMENTS[row.index] for row in answer.results
        ]

    def test_embed(self, v2: cohere.ClientV2, unit_vectors: Embed) -> None:
        answer = v2.embed(
            model=REAL,
            texts=DOCUMENTS,
            input_type="search_document",
            embedding_types=["float", "int8", "ubinary", "base64"],
        )
        wanted = unit_vectors(DOCUMENTS)
        assert answer.embeddings.float_ is not None
        floats = np.array(answer.embeddings.float_, np.float32)
        np.testing.assert_allclose(floats, wanted, atol=1e-7)
        np.testing.assert_array_equal(answer.embeddings.int8, np.rint(floats * 127))
        np.testing.assert_array_equal(answer.embeddings.ubinary, np.packbits(floats > 0, axis=1))
        assert answer.embeddings.base64 is not None
        unpacked = np.frombuffer(base64.b64decode(answer.embeddings.base64[0]), "<f4")
        np.testing.assert_array_equal(unpacked, floats[0])
        assert answer.texts == DOCUMENTS

    def test_errors_by_class(self, v2: cohere.ClientV2) -> None:
        with pytest.raises(cohere.NotFoundError) as unknown:
            v2.rerank(model="nope", query="a", documents=["b"])
        assert unknown.value.body == {"message": "model 'nope' not found", "detail": "model 'nope' not found"}
        with pytest.raises(cohere.BadRequestError):
            v2.rerank(model=REAL, query="a", documents=[])
        with pytest.raises(cohere.BadRequestError):
            v2.embed(model=REAL, texts=[], input_type="search_query", embedding_types=["float"])


class TestVoyage:
    @pytest.fixture
    def client(self, server: RunningServer) -> voyageai.Client:
        return voyageai.Client(api_key="none", base_url=f"{server.base_url}/v1", max_retries=0)

    def test_rerank(self, client: voyageai.Client, scores: NDArray[np.float32]) -> None:
        answer = client.rerank(QUERY, DOCUMENTS, model=REAL, top_k=2)
        assert_ranked([(row.index, row.relevance_score) for row in answer.results], scores, 2)
        assert [row.document for row in answer.results] == [DOCUMENTS[row.index] for row in answer.results]
        assert answer.total_tokens > 10

    def test_embed(self, client: voyageai.Client, unit_vectors: Embed) -> None:
        answer = client.embed(DOCUMENTS, model=REAL, input_type="query")
        np.testing.assert_allclose(answer.embeddings, unit_vectors(DOCUMENTS), atol=1e-7)
        assert answer.total_tokens > 10

    def test_embed_in_bytes_and_bits(self, client: voyageai.Client, unit_vectors: Embed) -> None:
        floats = unit_vectors(DOCUMENTS)
        steps = np.array(client.embed(DOCUMENTS, model=REAL, output_dtype="int8").embeddings)
        np.testing.assert_array_equal(steps, np.rint(floats * 127))
        bits = client.embed(DOCUMENTS, model=REAL, output_dtype="ubinary", output_dimension=64).embeddings
        np.testing.assert_array_equal(bits, np.packbits(floats[:, :64] > 0, axis=1))

    def test_errors_by_class(self, client: voyageai.Client) -> None:
        with pytest.raises(voyageai.error.InvalidRequestError, match="documents is empty"):
            client.rerank("a", [], model=REAL)
        with pytest.raises(voyageai.error.APIError, match="model 'nope' not found"):
            client.rerank("a", ["b"], model="nope")


class TestHuggingFace:
    @pytest.mark.parametrize("path", ["", "/embed"])
    def test_feature_extraction(self, server: RunningServer, unit_vectors: Embed, path: str) -> None:
        client = InferenceClient(model=server.base_url + path)
        found = client.feature_extraction(DOCUMENTS[0], normalize=True)
        np.testing.assert_allclose(found, unit_vectors(DOCUMENTS[:1]), atol=1e-7)
        many = client.feature_extraction(DOCUMENTS, truncate=True, prompt_name="query")  # type: ignore[arg-type]
        np.testing.assert_allclose(many, unit_vectors(DOCUMENTS), atol=1e-7)

    def test_sentence_similarity(self, server: RunningServer, scores: NDArray[np.float32]) -> None:
        client = InferenceClient(model=f"{server.base_url}/similarity")
        found = client.sentence_similarity(QUERY, DOCUMENTS)
        assert found == pytest.approx(2 * scores - 1, abs=1e-6)

    def test_what_is_refused(self, server: RunningServer) -> None:
        with pytest.raises(HfHubHTTPError) as refused:
            InferenceClient(model=server.base_url).feature_extraction("a", prompt_name="sts")
        assert refused.value.response.status_code == 422
        assert "prompt_name is 'sts'" in refused.value.response.json()["error"]

    async def test_in_a_loop(self, server: RunningServer, unit_vectors: Embed) -> None:
        async with AsyncInferenceClient(model=server.base_url) as client:
            found = await client.feature_extraction(DOCUMENTS[0])
        np.testing.assert_allclose(found, unit_vectors(DOCUMENTS[:1]), atol=1e-7)


class TestLiteLLM:
    @pytest.fixture(scope="class")
    def litellm(self) -> Iterator[Any]:
        with pytest.MonkeyPatch.context() as environment:
            environment.setenv("LITELLM_LOCAL_MODEL_COST_MAP", "True")  # importing it asks a server otherwise
            yield pytest.importorskip("litellm", reason="its own pins hold back other clients")

    @pytest.mark.parametrize(
        ("provider", "path"),
        [("cohere", ""), ("cohere", "/v1/rerank"), ("jina_ai", ""), ("infinity", ""), ("hosted_vllm", "")],
    )
    def test_rerank(
        self, litellm: Any, server: RunningServer, scores: NDArray[np.float32], provider: str, path: str
    ) -> None:
        answer = litellm.rerank(
            model=f"{provider}/{REAL}",
            query=QUERY,
            documents=DOCUMENTS,
            top_n=3,
            return_documents=provider != "infinity",  # it wants texts where vLLM, asked alike, gives objects
            api_base=server.base_url + path,
            api_key="none",
        )
        assert_ranked([(row["index"], row["relevance_score"]) for row in answer.results], scores)

    @pytest.mark.parametrize(
        ("provider", "path", "fields"),
        [
            ("ollama", "", {}),
            ("openai", "/v1", {"encoding_format": "float"}),
            ("hosted_vllm", "/v1", {"encoding_format": "float"}),
        ],
    )
    def test_embedding(
        self,
        litellm: Any,
        server: RunningServer,
        unit_vectors: Embed,
        provider: str,
        path: str,
        fields: dict[str, str],
    ) -> None:
        model, base = f"{provider}/{REAL}", server.base_url + path
        answer = litellm.embedding(model=model, input=DOCUMENTS, api_base=base, api_key="none", **fields)
        found = [row["embedding"] for row in answer.data]
        np.testing.assert_allclose(found, unit_vectors(DOCUMENTS), atol=1e-7)
