"""Conversations with images through the official Python clients, unchanged, and through LangChain."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import ollama
import openai
import pytest
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import DEADLY, EYES, LONG, ODD, b64, on_its_side, png, uri
from tests.support.pdfs import pdf
from tests.support.server import RunningServer

TEXT = " ".join(ODD.split())
ANSWER = f"40x30 30x40 {TEXT}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("clients")) as running:
        yield running


@pytest.fixture(scope="module")
def openai_client(server: RunningServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(base_url=f"{server.base_url}/v1", api_key="none", max_retries=0) as client:
        yield client


@pytest.fixture(scope="module")
def ollama_client(server: RunningServer) -> Iterator[ollama.Client]:
    client = ollama.Client(host=server.base_url)
    yield client
    client._client.close()  # it has no close of its own


@pytest.fixture(scope="module")
def anthropic_client(server: RunningServer) -> Iterator[Any]:
    anthropic = pytest.importorskip("anthropic", reason="runs the official client: needs anthropic")
    with anthropic.Anthropic(base_url=server.base_url, api_key="none", max_retries=0) as client:
        yield client


class TestOpenAI:
    def messages(self, text: str = TEXT) -> Any:
        images = [uri(png()), uri(on_its_side(), "image/jpeg")]
        parts = [{"type": "image_url", "image_url": {"url": image, "detail": "auto"}} for image in images]
        return [{"role": "user", "content": [*parts, {"type": "text", "text": text}]}]

    def test_whole(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.chat.completions.create(
            model=EYES, messages=self.messages(), temperature=0, seed=1
        )
        assert answer.choices[0].message.content == ANSWER
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens
        assert answer._request_id

    def test_streamed(self, openai_client: openai.OpenAI) -> None:
        options: Any = {"include_usage": True}
        chunks = list(
            openai_client.chat.completions.create(
                model=EYES, messages=self.messages(LONG), stream=True, stream_options=options
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == f"40x30 30x40 {LONG}"
        assert chunks[-2].choices[0].finish_reason == "stop"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.completion_tokens == 402

    def test_the_stream_helper(self, openai_client: openai.OpenAI) -> None:
        with openai_client.chat.completions.stream(model=EYES, messages=self.messages()) as stream:
            assert stream.get_final_completion().choices[0].message.content == ANSWER

    def test_errors(self, openai_client: openai.OpenAI) -> None:
        bad: Any = [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": uri(b"text")}}]}]
        with pytest.raises(openai.BadRequestError, match="is not read here"):
            openai_client.chat.completions.create(model=EYES, messages=bad)
        with pytest.raises(openai.BadRequestError, match="tools is empty"):
            openai_client.chat.completions.create(
                model=EYES, messages=self.messages(), tool_choice="required"
            )
        midway: Any = [{"role": "user", "content": "a " * 50 + "CRASH"}]
        with pytest.raises(openai.APIError, match="ended"):
            list(openai_client.chat.completions.create(model=DEADLY, messages=midway, stream=True))

    def test_langchain(self, server: RunningServer) -> None:
        model = ChatOpenAI(model=EYES, base_url=f"{server.base_url}/v1", api_key="none")  # type: ignore[arg-type]
        assert model.invoke(self.messages()).content == ANSWER
        assert "".join(str(chunk.content) for chunk in model.stream(self.messages())) == ANSWER


class TestOllama:
    @property
    def message(self) -> ollama.Message:
        images = [ollama.Image(value=png()), ollama.Image(value=on_its_side())]
        return ollama.Message(role="user", content=TEXT, images=images)

    def test_chat(self, ollama_client: ollama.Client) -> None:
        answer = ollama_client.chat(EYES, [self.message], options={"temperature": 0, "num_predict": -1})
        assert answer.message.content == ANSWER
        assert (answer.done, answer.done_reason) == (True, "stop")
        assert (answer.total_duration or 0) > 0

    def test_chat_streamed(self, ollama_client: ollama.Client) -> None:
        parts = list(ollama_client.chat(EYES, [self.message], stream=True))
        assert "".join(part.message.content or "" for part in parts) == ANSWER
        assert [part.done for part in parts[-2:]] == [False, True]

    def test_generate(self, ollama_client: ollama.Client, tmp_path: Path) -> None:
        path = tmp_path / "page.png"
        path.write_bytes(png())
        images = [str(path), on_its_side()]
        answer = ollama_client.generate(EYES, TEXT, images=images, system="be brief")
        assert answer.response == f"be brief {ANSWER}"
        parts = list(ollama_client.generate(EYES, TEXT, images=images, stream=True))
        assert "".join(part.response for part in parts) == ANSWER

    def test_loading(self, ollama_client: ollama.Client) -> None:
        assert ollama_client.generate(EYES).done_reason == "load"
        assert ollama_client.chat(EYES, keep_alive=0).done_reason == "unload"

    def test_errors(self, ollama_client: ollama.Client) -> None:
        with pytest.raises(ollama.ResponseError, match="is not read here"):
            ollama_client.generate(EYES, "a", images=[base64.b64encode(b"text").decode()])
        with pytest.raises(ollama.ResponseError, match="ended"):
            list(ollama_client.generate(DEADLY, "a " * 50 + "CRASH", stream=True))

    def test_langchain(self, server: RunningServer) -> None:
        model = ChatOllama(model=EYES, base_url=server.base_url)
        parts: Any = [{"type": "text", "text": "it"}, {"type": "image_url", "image_url": uri(png())}]
        answer = model.invoke([{"role": "user", "content": parts}])
        model._client._client.close()  # it has no close of its own
        assert str(answer.content).split() == ["40x30", "it"]


class TestAnthropic:
    def asked(self, text: str = TEXT, **fields: Any) -> dict[str, Any]:
        files = [(png(), "image/png"), (on_its_side(), "image/jpeg")]
        images = [
            {"type": "image", "source": {"type": "base64", "media_type": kind, "data": b64(file)}}
            for file, kind in files
        ]
        messages = [{"role": "user", "content": [*images, {"type": "text", "text": text}]}]
        return {"model": EYES, "max_tokens": 1000, "messages": messages, **fields}

    def test_whole(self, anthropic_client: Any) -> None:
        answer = anthropic_client.messages.create(**self.asked(system="be brief", stop_sequences=["END"]))
        assert answer.content[0].text == f"be brief {ANSWER}"
        assert (answer.role, answer.stop_reason, answer.stop_sequence) == ("assistant", "end_turn", None)
        assert answer.usage.input_tokens == answer.usage.output_tokens > 10
        assert answer._request_id

    def test_streamed(self, anthropic_client: Any) -> None:
        with anthropic_client.messages.stream(
            **self.asked(f"{LONG} END x", stop_sequences=["END"])
        ) as stream:
            text = "".join(stream.text_stream)
            final = stream.get_final_message()
        assert text == final.content[0].text == f"40x30 30x40 {LONG}"
        assert (final.stop_reason, final.stop_sequence) == ("stop_sequence", "END")
        assert (final.usage.input_tokens, final.usage.output_tokens) == (404, 402)

    def test_raw_events(self, anthropic_client: Any) -> None:
        events = list(anthropic_client.messages.create(**self.asked("a"), stream=True))
        kinds = [event.type for event in events]
        assert kinds[:2] == ["message_start", "content_block_start"]
        assert events[0].message.usage.input_tokens == events[-2].usage.input_tokens == 3
        assert kinds[-3:] == ["content_block_stop", "message_delta", "message_stop"]

    def test_a_document(self, anthropic_client: Any) -> None:
        data = b64(pdf("", "", size=(72, 144)))
        source = {"type": "base64", "media_type": "application/pdf", "data": data}
        messages = [{"role": "user", "content": [{"type": "document", "source": source}]}]
        answer = anthropic_client.messages.create(model=EYES, max_tokens=9, messages=messages)
        assert answer.content[0].text == "110x220 110x220"

    def test_errors(self, anthropic_client: Any) -> None:
        import anthropic

        with pytest.raises(anthropic.NotFoundError, match="not found"):
            anthropic_client.messages.create(**self.asked(model="nope"))
        with pytest.raises(anthropic.BadRequestError, match="tools is empty") as refused:
            anthropic_client.messages.create(**self.asked(tool_choice={"type": "any"}))
        assert refused.value.request_id
        with (
            pytest.raises(anthropic.APIStatusError, match="ended"),
            anthropic_client.messages.stream(**self.asked("a " * 50 + "CRASH", model=DEADLY)) as stream,
        ):
            stream.until_done()
