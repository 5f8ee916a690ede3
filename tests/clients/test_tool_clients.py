"""Tools, thoughts, schemas and counted tokens through the official Python clients."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import ollama
import openai
import pydantic
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT, b64, png
from tests.support.server import RunningServer

SCHEMA: dict[str, Any] = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}
CALL = 'CALL ls {"path": "a"}'


class Title(pydantic.BaseModel):
    """What a structured answer has to be."""

    title: str
    n: int


def ls(path: str) -> str:
    """Lists files.

    Args:
        path: where
    """
    return f"files of {path}"


def cat(path: str) -> str:
    """Reads a file.

    Args:
        path: where
    """
    return f"text of {path}"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("tool-clients")) as running:
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
    tools: Any = ({"type": "function", "function": {"name": "ls", "parameters": SCHEMA}},)

    def test_a_round_trip(self, openai_client: openai.OpenAI) -> None:
        messages: Any = [{"role": "user", "content": CALL}]
        asked: Any = {"model": AGENT, "tools": self.tools, "reasoning_effort": "none"}
        first = openai_client.chat.completions.create(messages=messages, **asked).choices[0]
        assert first.finish_reason == "tool_calls"
        (call,) = first.message.tool_calls or ()
        assert call.type == "function"
        result = ls(**json.loads(call.function.arguments))
        messages += [first.message, {"role": "tool", "tool_call_id": call.id, "content": result}]
        second = openai_client.chat.completions.create(messages=messages, **asked).choices[0]
        assert (second.finish_reason, second.message.tool_calls) == ("stop", None)
        assert (second.message.content or "").endswith('ls({"path":"a"}) ls: files of a')

    def test_the_stream_helper(self, openai_client: openai.OpenAI) -> None:
        asked: Any = {"model": AGENT, "messages": [{"role": "user", "content": CALL}], "tools": self.tools}
        with openai_client.chat.completions.stream(**asked) as stream:
            choice = stream.get_final_completion().choices[0]
        assert choice.finish_reason == "tool_calls"
        assert [call.function.arguments for call in choice.message.tool_calls or ()] == ['{"path":"a"}']
        assert choice.message.reasoning == "I read 4 words."  # type: ignore[attr-defined]

    def test_structured_answers(self, openai_client: openai.OpenAI) -> None:
        asked: Any = {"model": AGENT, "messages": [{"role": "user", "content": "a"}]}
        parsed = (
            openai_client.chat.completions.parse(response_format=Title, **asked).choices[0].message.parsed
        )
        assert parsed == Title(title="word", n=1)
        answer = openai_client.responses.parse(model=AGENT, input="a", text_format=Title)
        assert answer.output_parsed == Title(title="word", n=1)

    def test_completions(self, openai_client: openai.OpenAI) -> None:
        answer = openai_client.completions.create(model=chats.WORDS, prompt="a b c", max_tokens=2)
        assert (answer.choices[0].text, answer.choices[0].finish_reason) == ("a b", "length")
        chunks = openai_client.completions.create(model=chats.WORDS, prompt="a b c", stream=True)
        assert "".join(chunk.choices[0].text for chunk in chunks) == "a b c"

    def test_responses(self, openai_client: openai.OpenAI) -> None:
        tools: Any = [{"type": "function", "name": "ls", "parameters": SCHEMA, "strict": False}]
        first = openai_client.responses.create(model=AGENT, input=CALL, tools=tools)
        (call,) = [item for item in first.output if item.type == "function_call"]
        result = ls(**json.loads(call.arguments))
        given: Any = [{"role": "user", "content": "go"}, *first.output]
        given.append({"type": "function_call_output", "call_id": call.call_id, "output": result})
        second = openai_client.responses.create(model=AGENT, input=given, tools=tools)
        assert second.output_text == 'go I call. ls({"path":"a"}) ls: files of a'
        assert second.usage is not None

    def test_a_stream_of_responses(self, openai_client: openai.OpenAI) -> None:
        tools: Any = [{"type": "function", "name": "ls", "parameters": SCHEMA, "strict": False}]
        with openai_client.responses.stream(model=AGENT, input=CALL, tools=tools) as stream:
            text = "".join(event.delta for event in stream if event.type == "response.output_text.delta")
            final = stream.get_final_response()
        assert text == final.output_text == "I call."
        assert [item.type for item in final.output] == ["reasoning", "message", "function_call"]


class TestOllama:
    def test_a_round_trip(self, ollama_client: ollama.Client) -> None:
        messages: list[Any] = [{"role": "user", "content": CALL}]
        answer = ollama_client.chat(AGENT, messages, tools=[ls], think=True)
        assert answer.message.thinking == "I read 4 words."
        (call,) = answer.message.tool_calls or ()
        messages += [answer.message]
        messages += [{"role": "tool", "tool_name": "ls", "content": ls(**call.function.arguments)}]
        final = ollama_client.chat(AGENT, messages, tools=[ls], think=False)
        assert (final.message.content or "").endswith('ls({"path":"a"}) ls: files of a')

    @pytest.mark.parametrize("is_named", [True, False])
    def test_several_results(self, ollama_client: ollama.Client, is_named: bool) -> None:
        """Its calls have no ids: a result names its tool, or is of the next call in order."""
        lines = [CALL, 'CALL cat {"path": "b"}', 'CALL ls {"path": "c"}']
        tools = [ls, cat]
        answer = ollama_client.chat(
            AGENT, [{"role": "user", "content": "\n".join(lines)}], tools=tools, think=False
        )
        calls = [call.function for call in answer.message.tool_calls or ()]
        results = [(call.name, {"ls": ls, "cat": cat}[call.name](**call.arguments)) for call in calls]
        told = [
            {"role": "tool", "content": text, **({"tool_name": name} if is_named else {})}
            for name, text in results
        ]
        if is_named:
            told.insert(0, told.pop(1))
        messages: list[Any] = [{"role": "user", "content": "go"}, answer.message, *told]
        final = ollama_client.chat(AGENT, messages, tools=tools, think=False)
        assert (final.message.content or "").endswith("ls: files of a cat: text of b ls: files of c")

    def test_streamed(self, ollama_client: ollama.Client) -> None:
        parts = list(ollama_client.chat(AGENT, [{"role": "user", "content": CALL}], tools=[ls], stream=True))
        calls = [call for part in parts for call in part.message.tool_calls or ()]
        assert [call.function.arguments for call in calls] == [{"path": "a"}]
        assert (parts[-1].done, parts[-1].done_reason) == (True, "stop")

    def test_formats_and_raw_prompts(self, ollama_client: ollama.Client) -> None:
        asked: list[Any] = [{"role": "user", "content": "a"}]
        answer = ollama_client.chat(AGENT, asked, format=Title.model_json_schema(), think=False)
        assert Title.model_validate_json(answer.message.content or "") == Title(title="word", n=1)
        assert json.loads(ollama_client.generate(AGENT, "a", format="json", think=False).response) == {}
        assert ollama_client.generate(AGENT, "a", raw=True).response.startswith("<think>")


class TestAnthropic:
    tools: Any = ({"name": "ls", "input_schema": SCHEMA},)

    def asked(self, text: str = CALL, **fields: Any) -> dict[str, Any]:
        return {"model": AGENT, "max_tokens": 2000, "messages": [{"role": "user", "content": text}], **fields}

    def test_a_round_trip_with_results_in_another_order(self, anthropic_client: Any) -> None:
        asked = self.asked(f'{CALL}\nCALL ls {{"path": "b"}}', tools=self.tools)
        first = anthropic_client.messages.create(**asked)
        assert first.stop_reason == "tool_use"
        calls = [block for block in first.content if block.type == "tool_use"]
        assert [call.input for call in calls] == [{"path": "a"}, {"path": "b"}]
        image = {"type": "base64", "media_type": "image/png", "data": b64(png())}
        shown = [{"type": "text", "text": "2nd"}, {"type": "image", "source": image}]
        results = [
            {"type": "tool_result", "tool_use_id": calls[1].id, "content": shown},
            {"type": "tool_result", "tool_use_id": calls[0].id, "content": "1st"},
        ]
        messages = [
            {"role": "user", "content": "go"},
            {"role": "assistant", "content": first.content},
            {"role": "user", "content": results},
        ]
        second = anthropic_client.messages.create(**{**asked, "messages": messages})
        assert second.content[0].text.endswith("ls: 1st ls: 2nd What ls showed: 40x30")

    def test_its_runner_of_tools(self, anthropic_client: Any) -> None:
        """It asks for a thread first, and sends the whole conversation once that is refused."""
        import anthropic

        seen: list[str] = []

        @anthropic.beta_tool
        def listing(path: str) -> str:
            """Lists files."""
            seen.append(path)
            return ls(path)

        lines = [f'CALL listing {{"path": "{path}"}}' for path in "ab"]
        asked = self.asked("\n".join([*lines, "THEN", "SAY done"]), tools=[listing])
        last = anthropic_client.beta.messages.tool_runner(**asked).until_done()
        assert (last.content[0].text, seen) == ("done", ["a", "b"])

    def test_streamed_thoughts_and_calls(self, anthropic_client: Any) -> None:
        thinking = {"type": "enabled", "budget_tokens": 1024}
        with anthropic_client.messages.stream(**self.asked(tools=self.tools, thinking=thinking)) as stream:
            kinds = {event.type for event in stream}
            final = stream.get_final_message()
        assert {"thinking", "text", "input_json", "signature"} <= kinds
        assert [block.type for block in final.content] == ["thinking", "text", "tool_use"]
        assert final.content[0].thinking == "I read 4 words."
        assert final.content[2].input == {"path": "a"}
        assert final.stop_reason == "tool_use"

    @pytest.mark.parametrize("choice", ["auto", "any", "none"])
    def test_choices(self, anthropic_client: Any, choice: str) -> None:
        answer = anthropic_client.messages.create(
            **self.asked("a", tools=self.tools, tool_choice={"type": choice})
        )
        assert answer.stop_reason == ("tool_use" if choice == "any" else "end_turn")

    def test_betas_and_schemas(self, anthropic_client: Any) -> None:
        format = {"type": "json_schema", "schema": Title.model_json_schema()}
        answer = anthropic_client.beta.messages.create(
            **self.asked("a", output_config={"effort": "low", "format": format}),
            betas=["structured-outputs-2025-11-13"],
        )
        assert Title.model_validate_json(answer.content[0].text) == Title(title="word", n=1)

    def test_counted_tokens(self, anthropic_client: Any) -> None:
        asked = self.asked("a b", tools=self.tools, system="be brief")
        counted = anthropic_client.messages.count_tokens(
            **{name: asked[name] for name in asked if name != "max_tokens"}
        )
        usage = anthropic_client.messages.create(**asked).usage
        assert counted.input_tokens == usage.input_tokens + usage.cache_read_input_tokens == 5
