"""The official Python client of OpenAI, unchanged. Rows 20, 21 and 23 of the compatibility matrix."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import openai
import pytest
from tokenizers import Tokenizer

from tests.support.server import FAKE, INLINE, REAL, Embed, RunningServer, fake_model

TEXTS = ["a first text", "a second one"]


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


def test_default_asks_for_base64(client: openai.OpenAI, unit_vectors: Embed) -> None:
    answer = client.embeddings.create(model=REAL, input=TEXTS)
    assert (answer.object, answer.model) == ("list", REAL)
    assert [item.index for item in answer.data] == [0, 1]
    assert answer.usage.prompt_tokens == answer.usage.total_tokens == 6
    np.testing.assert_allclose([item.embedding for item in answer.data], unit_vectors(TEXTS), atol=1e-7)
    assert answer._request_id


def test_float_is_the_same(client: openai.OpenAI) -> None:
    for text in TEXTS:
        packed = client.embeddings.create(model=REAL, input=text).data[0].embedding
        plain = client.embeddings.create(model=REAL, input=text, encoding_format="float").data[0].embedding
        np.testing.assert_array_equal(np.array(packed, np.float32), np.array(plain, np.float32))


def test_base64_stays_text(client: openai.OpenAI) -> None:
    answer = client.embeddings.create(model=REAL, input="x", encoding_format="base64")
    assert isinstance(answer.data[0].embedding, str)


def test_dimensions(client: openai.OpenAI, raw_vectors: Embed) -> None:
    answer = client.embeddings.create(model=REAL, input=TEXTS, dimensions=64, user="someone")
    cut = raw_vectors(TEXTS)[:, :64]
    expected = cut / np.linalg.norm(cut, axis=1, keepdims=True)
    np.testing.assert_allclose([item.embedding for item in answer.data], expected, atol=1e-6)


def test_token_ids(client: openai.OpenAI, tokenizer: Tokenizer, unit_vectors: Embed) -> None:
    ids = [tokenizer.encode(text, add_special_tokens=False).ids for text in TEXTS]
    many = client.embeddings.create(model=REAL, input=ids)
    one = client.embeddings.create(model=REAL, input=ids[1])
    np.testing.assert_allclose([item.embedding for item in many.data], unit_vectors(TEXTS), atol=1e-7)
    assert one.data[0].embedding == many.data[1].embedding


def test_models(client: openai.OpenAI) -> None:
    listed = [model.id for model in client.models.list()]
    assert {REAL, FAKE, "bge-m3-onnx"} <= set(listed)
    for name in (REAL, f"{REAL}:latest"):
        model = client.models.retrieve(name)
        assert (model.id, model.object) == (REAL, "model")
        assert model.created > 1_700_000_000
    with pytest.raises(openai.NotFoundError) as caught:
        client.models.retrieve("nope")
    assert caught.value.code == "model_not_found"


@pytest.mark.parametrize(
    ("fields", "kind", "code", "param"),
    [
        ({"model": "nope"}, openai.NotFoundError, "model_not_found", "model"),
        ({"input": []}, openai.BadRequestError, "invalid_request", "input"),
        ({"input": ["a", 5]}, openai.BadRequestError, "invalid_request", "input"),
        ({"dimensions": 0}, openai.BadRequestError, "invalid_request", "dimensions"),
        ({"dimensions": -1}, openai.BadRequestError, "invalid_request", "dimensions"),
        ({"dimensions": 257}, openai.BadRequestError, "invalid_request", "dimensions"),
        ({"encoding_format": "hex"}, openai.BadRequestError, "invalid_request", "encoding_format"),
        (
            {"model": FAKE, "input": "a b c d e f g h i"},
            openai.BadRequestError,
            "context_length_exceeded",
            None,
        ),
        ({"model": FAKE, "input": "fail-now"}, openai.InternalServerError, "inference_failed", None),
        ({"model": "fake-unbuilt"}, openai.InternalServerError, "model_unavailable", "model"),
        ({"model": "fake-huge"}, openai.InternalServerError, "out_of_memory", None),
    ],
)
def test_errors_by_class_code_and_param(
    client: openai.OpenAI,
    fields: dict[str, object],
    kind: type[openai.APIStatusError],
    code: str,
    param: str | None,
) -> None:
    with pytest.raises(kind) as caught:
        client.embeddings.create(**{"model": REAL, "input": "x", **fields})  # type: ignore[arg-type]
    error = caught.value
    assert error.code == code
    assert param is None or error.param == param
    assert error.request_id
    assert error.type
    assert isinstance(error.body, dict)
    assert error.body["message"] in str(error)


def test_what_cannot_help_is_not_repeated(server: RunningServer) -> None:
    """The client repeats 5xx answers, unless it is told not to."""
    counter = 'turbov2_http_requests_total{route="/v1/embeddings",status="500"} '

    def n_failed() -> float:
        lines = server.http.get("/metrics").text.splitlines()
        return sum(float(line.removeprefix(counter)) for line in lines if line.startswith(counter))

    before = n_failed()
    with (
        openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=2) as client,
        pytest.raises(openai.InternalServerError),
    ):
        client.embeddings.create(model=FAKE, input="fail-now")
    assert n_failed() == before + 1


def test_keys(tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("keyed")
    env = {"EMBEDDINGS_API_KEY": "right", "TURBOV2_PRELOAD": INLINE}
    with RunningServer(folder, env=env, models=fake_model(INLINE, folder)) as locked:
        with openai.OpenAI(base_url=f"{locked.base_url}/v1", api_key="right") as client:
            assert len(client.embeddings.create(model=INLINE, input="x").data[0].embedding) == 8
        with (
            openai.OpenAI(base_url=f"{locked.base_url}/v1", api_key="wrong") as client,
            pytest.raises(openai.AuthenticationError) as caught,
        ):
            client.embeddings.create(model=INLINE, input="x")
    assert (caught.value.code, caught.value.type) == ("invalid_api_key", "authentication_error")


async def test_async_client(server: RunningServer) -> None:
    async with openai.AsyncOpenAI(base_url=f"{server.base_url}/v1", api_key="none") as client:
        answer = await client.embeddings.create(model=REAL, input=TEXTS)
        assert [len(item.embedding) for item in answer.data] == [256, 256]
        assert REAL in [model.id async for model in client.models.list()]
