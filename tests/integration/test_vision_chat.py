"""Conversations with a small random checkpoint on each chat API: the backend's own text comes back.

The whole way: an image on its head, as its EXIF says, over HTTP, through the decoder, into a process.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest

pytest.importorskip("torch", reason="runs a model: needs torch")
pytest.importorskip("transformers", reason="runs a model: needs transformers")
pytest.importorskip("pypdfium2", reason="decodes images: needs the extra documents")

from PIL import Image

from tests.support.chats import b64, uri
from tests.support.pictures import packed
from tests.support.server import RunningServer, anthropic_error, ollama_error, openai_error
from tests.support.tiny_rerank import load_spec
from tests.support.tiny_vision import picture, save_vision_model
from tests.support.words import Words
from turbov2.backends.vision_language import VisionLanguageBackend
from turbov2.types import Finish, GenerateTask, ImagePart, PromptMessage, Sampling, TextPart

MODEL = "tiny-eyes"
FIRST, SECOND = picture(150, 200), picture(90, 60)
QUESTION = "What is near the station? 機械学習は面白い。"
N_TOKENS = 32


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_vision_model("lfm2_vl", tmp_path_factory.mktemp("checkpoint"))


@pytest.fixture(scope="module")
def server(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    table = (
        f'[models."{MODEL}"]\ncapability = "vision"\nbackend = "vlm"\nrunner = "process"\n'
        f'weights = {{ kind = "path", path = "{folder}" }}\n'
    )
    with RunningServer(tmp_path_factory.mktemp("server"), models=table) as running:
        yield running


class Expected:
    """What the backend writes by itself."""

    def __init__(self, folder: Path) -> None:
        self._backend = VisionLanguageBackend(load_spec(folder, "vlm"))

    def answer(self, *turns: PromptMessage) -> tuple[str, Finish]:
        """Returns the likeliest text and how it ended."""
        pieces = Words()
        task = GenerateTask(turns, Sampling(max_tokens=N_TOKENS, temperature=0.0))
        finish = self._backend.generate(task, [FIRST, SECOND], pieces.take, lambda: False)
        return "".join(pieces), finish


@pytest.fixture(scope="module")
def expected(folder: Path) -> Expected:
    return Expected(folder)


SHOWN = PromptMessage("user", (ImagePart(0), ImagePart(1), TextPart(QUESTION)))


def on_its_head() -> bytes:
    """Returns FIRST, stored the other way up, and what turns it back."""
    exif = Image.Exif()
    exif[0x0112] = 3
    return packed(Image.fromarray(FIRST).rotate(180), "PNG", exif=exif)


def files() -> list[bytes]:
    return [on_its_head(), packed(Image.fromarray(SECOND), "PNG")]


def anthropic_body(**fields: Any) -> dict[str, Any]:
    images = [
        {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(file)}}
        for file in files()
    ]
    turns = [{"role": "user", "content": [*images, {"type": "text", "text": QUESTION}]}]
    return {"model": MODEL, "max_tokens": N_TOKENS, "messages": turns, **fields}


def test_openai(server: RunningServer, expected: Expected) -> None:
    text, finish = expected.answer(SHOWN)
    images = [{"type": "image_url", "image_url": {"url": uri(file)}} for file in files()]
    messages: Any = [{"role": "user", "content": [*images, {"type": "text", "text": QUESTION}]}]
    asked: Any = {"model": MODEL, "messages": messages, "max_tokens": N_TOKENS, "temperature": 0}
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        answer = client.chat.completions.create(**asked)
        chunks = list(client.chat.completions.create(**asked, stream=True))
    assert answer.choices[0].message.content == text
    assert answer.usage is not None
    assert (answer.usage.prompt_tokens, answer.usage.completion_tokens) == (
        finish.n_prompt_tokens,
        finish.n_output_tokens,
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == text


@pytest.mark.parametrize("is_streamed", [False, True])
def test_ollama(server: RunningServer, expected: Expected, is_streamed: bool) -> None:
    text, finish = expected.answer(SHOWN)
    options = {"temperature": 0, "num_predict": N_TOKENS}
    message = {"role": "user", "content": QUESTION, "images": [b64(file) for file in files()]}
    client = ollama.Client(host=server.base_url)
    chat: Any = client.chat(MODEL, [message], options=options, stream=is_streamed)
    generate: Any = client.generate(
        MODEL, QUESTION, images=[b64(file) for file in files()], options=options, stream=is_streamed
    )
    chats, generates = (list(each) if is_streamed else [each] for each in (chat, generate))
    client._client.close()  # it has no close of its own
    assert "".join(part.message.content or "" for part in chats) == text
    assert "".join(part.response for part in generates) == text
    for last in (chats[-1], generates[-1]):
        assert (last.prompt_eval_count, last.eval_count) == (finish.n_prompt_tokens, finish.n_output_tokens)
        assert last.prompt_eval_duration > 0
        assert last.eval_duration > 0


def test_anthropic(server: RunningServer, expected: Expected) -> None:
    anthropic = pytest.importorskip("anthropic", reason="runs the official client: needs anthropic")
    text, finish = expected.answer(SHOWN)
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as client:
        asked = anthropic_body(extra_body={"temperature": 0})  # newer clients have no argument for it
        answer = client.messages.create(**asked)
        with client.messages.stream(**asked) as stream:
            streamed = stream.get_final_message()
    for each in (answer, streamed):
        assert each.content[0].text == text
        assert (each.usage.input_tokens, each.usage.output_tokens) == (
            finish.n_prompt_tokens,
            finish.n_output_tokens,
        )


def test_an_answers_beginning_and_a_stop_text(server: RunningServer, expected: Expected) -> None:
    begun = PromptMessage("assistant", (TextPart("It is"),))
    text, _ = expected.answer(SHOWN, begun)
    body = anthropic_body(temperature=0)
    body["messages"].append({"role": "assistant", "content": "It is"})
    answer = server.http.post("/v1/messages", json=body, timeout=60).json()
    assert answer["content"][0]["text"] == text
    pairs = (text[at : at + 2] for at in range(4, len(text)))
    stop = next(pair for pair in pairs if "\ufffd" not in pair and pair.strip())
    ended = server.http.post("/v1/messages", json={**body, "stop_sequences": ["§§", stop]}).json()
    assert (ended["stop_reason"], ended["stop_sequence"]) == ("stop_sequence", stop)
    assert ended["content"][0]["text"] == text[: text.index(stop)]


def test_a_prompt_that_is_too_long_in_each_familys_words(server: RunningServer) -> None:
    turns = [{"role": "user", "content": "long " * 600}]
    body = {"model": MODEL, "messages": turns, "max_tokens": 9}
    says = "prompt is too long: "
    assert anthropic_error(server.http.post("/v1/messages", json=body), 400)["message"].startswith(says)
    told = openai_error(server.http.post("/v1/chat/completions", json=body), 400)
    assert (told["message"].startswith(says), told["code"]) == (True, "context_length_exceeded")
    assert ollama_error(server.http.post("/api/chat", json=body), 400).startswith(says)
