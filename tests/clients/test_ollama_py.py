"""The official Python client of Ollama, unchanged. Rows 3 to 6 of the compatibility matrix."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator

import numpy as np
import ollama
import pytest

from tests.support.server import FAKE, INLINE, REAL, Embed, RunningServer, fake_model

AskWith = Callable[..., ollama.EmbedResponse]


@pytest.fixture(scope="module")
def client(server: RunningServer) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.base_url)
    yield client
    client._client.close()  # it has no close of its own


def test_embed_one_text(client: ollama.Client, unit_vectors: Embed) -> None:
    answer = client.embed(REAL, "a first text")
    assert isinstance(answer, ollama.EmbedResponse)
    assert answer.model == REAL
    assert answer.prompt_eval_count == 3
    assert (answer.total_duration or 0) > 0
    np.testing.assert_allclose(answer.embeddings, unit_vectors(["a first text"]), atol=1e-7)


def test_embed_with_every_field(client: ollama.Client, unit_vectors: Embed) -> None:
    answer = client.embed(
        REAL, ["a", "b"], dimensions=256, truncate=False, keep_alive="5m", options={"num_ctx": 512}
    )
    np.testing.assert_allclose(np.linalg.norm(answer.embeddings, axis=1), 1, atol=1e-6)
    np.testing.assert_allclose(answer.embeddings, unit_vectors(["a", "b"]), atol=1e-7)


@pytest.mark.parametrize("keep_alive", [0, 0.0, 300, "5m", "-1m", -1])
def test_keep_alive_in_every_form(client: ollama.Client, keep_alive: float | str) -> None:
    assert len(client.embed(INLINE, "x", keep_alive=keep_alive).embeddings[0]) == 8


def test_embeddings_is_the_older_form(client: ollama.Client, raw_vectors: Embed) -> None:
    answer = client.embeddings(REAL, "a first text")
    np.testing.assert_array_equal(np.array(answer.embedding, np.float32), raw_vectors(["a first text"])[0])


def test_list(client: ollama.Client) -> None:
    models = {model.model: model for model in client.list().models}
    listed = models[f"{REAL}:latest"]
    assert listed.details is not None
    assert listed.modified_at is not None
    assert listed.digest
    assert (listed.size or 0) > 1_000_000


def test_ps(client: ollama.Client) -> None:
    client.embed(FAKE, "x", keep_alive="10m")
    loaded = {model.model: model for model in client.ps().models}[f"{FAKE}:latest"]
    assert loaded.expires_at is not None
    assert (loaded.size_vram, loaded.context_length) == (0, 8)


@pytest.mark.parametrize("name", [REAL, f"{REAL}:latest", "bge-m3-onnx"])
def test_show(client: ollama.Client, name: str) -> None:
    answer = client.show(name)
    assert answer.modelinfo is not None
    assert answer.modelinfo["general.architecture"]
    assert answer.capabilities == ["embedding"]
    assert answer.details is not None


def test_pull(client: ollama.Client) -> None:
    assert client.pull(REAL).status == "success"
    steps = [step.status for step in client.pull(REAL, stream=True)]
    assert (steps[0], steps[-1]) == ("pulling manifest", "success")


def test_pull_that_fails(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="network|offline"):
        list(client.pull("bge-m3-onnx", stream=True))
    with pytest.raises(ollama.ResponseError):
        client.pull("bge-m3-onnx")


@pytest.mark.parametrize(
    ("name", "status", "says"),
    [(REAL, 400, "cannot be removed"), ("nope", 404, "not found"), ("bge-m3-onnx", 404, "not found")],
)
def test_delete_refused(client: ollama.Client, name: str, status: int, says: str) -> None:
    with pytest.raises(ollama.ResponseError, match=says) as caught:
        client.delete(name)
    assert caught.value.status_code == status
    assert client.embed(REAL, "x").embeddings


def test_delete(client: ollama.Client, server: RunningServer) -> None:
    manifest = server.folder / "home" / "models" / "minilm-384d.json"  # stands for a pulled model
    manifest.parent.mkdir(parents=True, exist_ok=True)
    manifest.write_text("{}")
    assert client.delete("minilm-384d").status == "success"
    assert not manifest.exists()


def test_generate_loads_and_unloads(client: ollama.Client) -> None:
    assert client.generate(INLINE).done_reason == "load"
    assert f"{INLINE}:latest" in [model.model for model in client.ps().models]
    assert client.generate(INLINE, keep_alive=0).done_reason == "unload"
    assert f"{INLINE}:latest" not in [model.model for model in client.ps().models]


def test_chat_loads_and_says_what_it_cannot(client: ollama.Client) -> None:
    assert client.chat(INLINE).done_reason == "load"
    for is_stream in (False, True):
        with pytest.raises(ollama.ResponseError, match="does not support chat") as caught:
            list(client.chat(INLINE, [{"role": "user", "content": "hi"}], stream=is_stream))
        assert caught.value.status_code == 400


def test_unknown_model(client: ollama.Client) -> None:
    for call in (client.embed, client.embeddings, client.generate, client.chat, client.show, client.pull):
        with pytest.raises(ollama.ResponseError) as caught:
            call("nope")
        assert caught.value.status_code == 404
        assert caught.value.error == "model 'nope' not found"


def test_too_long_a_text(client: ollama.Client) -> None:
    with pytest.raises(ollama.ResponseError, match="exceeds the context length") as caught:
        client.embed(FAKE, "one two three four five six seven eight nine", truncate=False)
    assert caught.value.status_code == 400


async def test_async_client(server: RunningServer) -> None:
    client = ollama.AsyncClient(host=server.base_url)
    answer = await client.embed(REAL, ["a", "b"])
    assert np.shape(answer.embeddings) == (2, 256)
    assert [step.status async for step in await client.pull(REAL, stream=True)][-1] == "success"
    await client._client.aclose()


class TestKeys:
    @pytest.fixture(scope="class")
    @classmethod
    def locked(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        folder = tmp_path_factory.mktemp("keyed")
        env = {"EMBEDDINGS_API_KEY": "right", "TURBOV2_PRELOAD": INLINE}
        with RunningServer(folder, env=env, models=fake_model(INLINE, folder)) as running:
            yield running

    @pytest.fixture
    def asking(self, locked: RunningServer, monkeypatch: pytest.MonkeyPatch) -> Iterator[AskWith]:
        """Returns what embeds with this OLLAMA_API_KEY and these headers."""
        with contextlib.ExitStack() as clients:

            def embed(key: str, **headers: str) -> ollama.EmbedResponse:
                monkeypatch.setenv("OLLAMA_API_KEY", key)
                client = ollama.Client(host=locked.base_url, headers=headers)
                clients.callback(client._client.close)
                return client.embed(INLINE, "x")

            yield embed

    def test_from_the_environment_or_a_header(self, asking: AskWith) -> None:
        assert asking("right").embeddings
        assert asking("", **{"X-API-Key": "right"}).embeddings

    @pytest.mark.parametrize(("key", "says"), [("wrong", "invalid API key"), ("", "missing API key")])
    def test_refused(self, asking: AskWith, key: str, says: str) -> None:
        with pytest.raises(ollama.ResponseError, match=says) as caught:
            asking(key)
        assert caught.value.status_code == 401
