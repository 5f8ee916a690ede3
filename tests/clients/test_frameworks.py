"""LangChain and LlamaIndex, unchanged. Rows 8, 10 and 24 of the compatibility matrix."""

from __future__ import annotations

import gc
from collections.abc import Iterator

import numpy as np
import pytest
from pydantic import SecretStr

from tests.support.server import FAKE, REAL, Embed, RunningServer

TEXTS = ["a first text", "a second one", "and a third"]

# Both leave their connections to the garbage collector.
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


@pytest.mark.parametrize("name", [REAL, f"{REAL}:latest"])
class TestLangChain:
    def test_documents_and_queries(self, server: RunningServer, unit_vectors: Embed, name: str) -> None:
        from langchain_ollama import OllamaEmbeddings

        model = OllamaEmbeddings(model=name, base_url=server.base_url, validate_model_on_init=True)
        np.testing.assert_allclose(model.embed_documents(TEXTS), unit_vectors(TEXTS), atol=1e-7)
        np.testing.assert_allclose(model.embed_query(TEXTS[0]), unit_vectors(TEXTS[:1])[0], atol=1e-7)

    async def test_in_a_loop(self, server: RunningServer, unit_vectors: Embed, name: str) -> None:
        from langchain_ollama import OllamaEmbeddings

        model = OllamaEmbeddings(model=name, base_url=server.base_url, keep_alive=300, num_ctx=512)
        np.testing.assert_allclose(await model.aembed_documents(TEXTS), unit_vectors(TEXTS), atol=1e-7)


@pytest.mark.parametrize("fields", [{}, {"encoding_format": "float"}, {"dimensions": 256}])
def test_langchains_openai_embeddings(
    server: RunningServer, unit_vectors: Embed, fields: dict[str, object]
) -> None:
    from langchain_openai import OpenAIEmbeddings

    dimensions = fields.pop("dimensions", None)
    model = OpenAIEmbeddings(
        model=REAL,
        base_url=f"{server.base_url}/v1",
        api_key=SecretStr("none"),
        check_embedding_ctx_length=False,  # otherwise it sends ids of a tokenizer of OpenAI's
        dimensions=dimensions,
        model_kwargs=fields,
    )
    np.testing.assert_allclose(model.embed_documents(TEXTS), unit_vectors(TEXTS), atol=1e-7)
    np.testing.assert_allclose(model.embed_query(TEXTS[0]), unit_vectors(TEXTS[:1])[0], atol=1e-7)


def test_langchain_says_that_a_model_is_unknown(server: RunningServer) -> None:
    from langchain_ollama import OllamaEmbeddings

    with pytest.raises(ValueError, match="nope"):
        OllamaEmbeddings(model="nope", base_url=server.base_url, validate_model_on_init=True)


def test_langchain_cuts_long_texts_by_default(server: RunningServer) -> None:
    from langchain_ollama import OllamaEmbeddings

    model = OllamaEmbeddings(model=FAKE, base_url=server.base_url)
    assert len(model.embed_query("one two three four five six seven eight nine ten")) == 8


@pytest.mark.parametrize("name", [REAL, f"{REAL}:latest"])
class TestLlamaIndex:
    def test_batches_and_queries(self, server: RunningServer, unit_vectors: Embed, name: str) -> None:
        from llama_index.embeddings.ollama import OllamaEmbedding

        model = OllamaEmbedding(model_name=name, base_url=server.base_url, embed_batch_size=2)
        np.testing.assert_allclose(model.get_text_embedding_batch(TEXTS), unit_vectors(TEXTS), atol=1e-7)
        np.testing.assert_allclose(model.get_text_embedding(TEXTS[0]), unit_vectors(TEXTS)[0], atol=1e-7)
        np.testing.assert_allclose(model.get_query_embedding(TEXTS[0]), unit_vectors(TEXTS)[0], atol=1e-7)

    async def test_in_a_loop(self, server: RunningServer, unit_vectors: Embed, name: str) -> None:
        from llama_index.embeddings.ollama import OllamaEmbedding

        model = OllamaEmbedding(model_name=name, base_url=server.base_url)
        vectors = await model.aget_text_embedding_batch(TEXTS)
        np.testing.assert_allclose(vectors, unit_vectors(TEXTS), atol=1e-7)
