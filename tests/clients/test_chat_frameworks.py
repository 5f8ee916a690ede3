"""Conversations through LangChain and LiteLLM, unchanged, each by every API of ours that it speaks.

Those that are not installed are skipped: docs/clients.md says how they are run.
"""

from __future__ import annotations

import gc
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import pydantic
import pytest
from langchain_core.messages import HumanMessage, ToolMessage
from langchain_ollama import ChatOllama
from langchain_openai import ChatOpenAI

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT
from tests.support.server import RunningServer

# They leave their connections to the garbage collector, and LiteLLM what it has of other libraries.
pytestmark = pytest.mark.filterwarnings("ignore")

KEY = "a-key"
CALLS = 'CALL ls {"path": "a"}\nCALL ls {"path": "b"}'
TITLE = 'CALL Title {"title": "word", "n": 1}'  # for those who ask for a shape by a tool


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


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("frameworks"), EMBEDDINGS_API_KEY=KEY) as running:
        yield running


@pytest.fixture(autouse=True)
def collected() -> Iterator[None]:
    yield
    gc.collect()


def by_openai(server: RunningServer, key: str, **fields: Any) -> Any:
    asked: dict[str, Any] = {"base_url": f"{server.base_url}/v1", "api_key": key, "max_retries": 0, **fields}
    return ChatOpenAI(stream_usage=True, **asked)


def by_responses(server: RunningServer, key: str, **fields: Any) -> Any:
    return by_openai(server, key, use_responses_api=True, **fields)


def by_ollama(server: RunningServer, key: str, **fields: Any) -> Any:
    headers = {"headers": {"Authorization": f"Bearer {key}"}}
    return ChatOllama(base_url=server.base_url, client_kwargs=headers, reasoning=False, **fields)


def by_anthropic(server: RunningServer, key: str, **fields: Any) -> Any:
    langchain = pytest.importorskip("langchain_anthropic", reason="needs langchain-anthropic")
    return langchain.ChatAnthropic(base_url=server.base_url, api_key=key, max_retries=0, **fields)


Build = Callable[..., Any]
BY = [by_openai, by_responses, by_ollama, by_anthropic]


@pytest.mark.parametrize("build", BY)
class TestLangChain:
    def test_whole_and_streamed(self, server: RunningServer, build: Build) -> None:
        model = build(server, KEY, model=AGENT)
        answer = model.invoke("a b c")
        assert answer.text == "a b c"
        assert answer.usage_metadata["input_tokens"] == 3
        chunks = list(model.stream("a b c"))
        assert "".join(chunk.text for chunk in chunks) == "a b c"
        told = [chunk.usage_metadata["input_tokens"] for chunk in chunks if chunk.usage_metadata]
        assert sum(told) == 3

    @pytest.mark.asyncio(loop_scope="module")  # they keep connections, which belong to a loop
    async def test_in_a_loop(self, server: RunningServer, build: Build) -> None:
        model = build(server, KEY, model=AGENT)
        assert (await model.ainvoke("a b")).text == "a b"
        assert "".join([chunk.text async for chunk in model.astream("a b")]) == "a b"

    def test_a_round_trip(self, server: RunningServer, build: Build) -> None:
        model = build(server, KEY, model=AGENT).bind_tools([ls])
        first = model.invoke(CALLS)
        assert [(call["name"], call["args"]["path"]) for call in first.tool_calls] == [
            ("ls", "a"),
            ("ls", "b"),
        ]
        results = [ToolMessage(ls(**call["args"]), tool_call_id=call["id"]) for call in first.tool_calls]
        if build is not by_ollama:  # whose client sends neither ids nor names: there their order counts
            results.reverse()
        second = model.invoke([HumanMessage("go"), first, *results])
        assert second.text.endswith("ls: files of a ls: files of b")
        gathered = None
        for chunk in model.stream(CALLS):
            gathered = chunk if gathered is None else gathered + chunk
        assert gathered is not None
        assert [call["args"] for call in gathered.tool_calls] == [{"path": "a"}, {"path": "b"}]

    @pytest.mark.parametrize("method", ["json_schema", "function_calling"])
    def test_structured_answers(self, server: RunningServer, build: Build, method: str) -> None:
        model = build(server, KEY, model=AGENT).with_structured_output(Title, method=method)
        assert model.invoke(TITLE) == Title(title="word", n=1)

    @pytest.mark.parametrize(
        ("key", "fields", "status"),
        [
            (KEY, {"model": "nope"}, 404),
            (KEY, {"model": AGENT, "temperature": 9}, 400),
            ("wrong", {"model": AGENT}, 401),
        ],
    )
    def test_errors(
        self, server: RunningServer, build: Build, key: str, fields: dict[str, Any], status: int
    ) -> None:
        with pytest.raises(Exception, match="nope|temperature|API key") as refused:
            build(server, key, **fields).invoke("a")
        assert refused.value.status_code == status  # type: ignore[attr-defined]


@pytest.fixture(scope="module")
def litellm() -> Any:
    os.environ["LITELLM_LOCAL_MODEL_COST_MAP"] = "True"  # else it asks for the latest one
    return pytest.importorskip("litellm", reason="needs litellm")


@pytest.mark.parametrize(
    ("provider", "path"), [("openai", "/v1"), ("anthropic", ""), ("ollama_chat", "")], ids=lambda each: each
)
class TestLiteLLM:
    tools: Any = (
        {
            "type": "function",
            "function": {
                "name": "ls",
                "description": "lists files",
                "parameters": {"type": "object", "properties": {"path": {"type": "string"}}},
            },
        },
    )

    @pytest.fixture
    def ask(self, server: RunningServer, litellm: Any, provider: str, path: str) -> Callable[..., Any]:
        def complete(content: str, model: str = AGENT, key: str = KEY, **fields: Any) -> Any:
            asked: dict[str, Any] = {"messages": [{"role": "user", "content": content}], **fields}
            return litellm.completion(
                model=f"{provider}/{model}",
                api_base=f"{server.base_url}{path}",
                api_key=key,
                num_retries=0,
                max_retries=0,
                **asked,
            )

        return complete

    def test_whole_and_streamed(self, ask: Callable[..., Any]) -> None:
        answer = ask("a b c")
        assert answer.choices[0].message.content == "a b c"
        assert answer.usage.prompt_tokens == 3
        chunks = ask("a b c", stream=True)
        assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == "a b c"

    def test_a_round_trip(self, ask: Callable[..., Any]) -> None:
        message = ask(CALLS, tools=list(self.tools)).choices[0].message
        assert [json.loads(call.function.arguments) for call in message.tool_calls] == [
            {"path": "a"},
            {"path": "b"},
        ]
        results = [
            {"role": "tool", "tool_call_id": call.id, "name": "ls", "content": ls(path)}
            for call, path in zip(message.tool_calls, "ab", strict=True)
        ]
        messages = [{"role": "user", "content": "go"}, message.model_dump(), *results]
        answer = ask("", messages=messages, tools=list(self.tools))
        assert answer.choices[0].message.content.endswith("ls: files of a ls: files of b")

    def test_structured_answers(self, ask: Callable[..., Any]) -> None:
        answer = ask(TITLE.replace("Title", "json_tool_call"), response_format=Title)
        assert Title.model_validate_json(answer.choices[0].message.content) == Title(title="word", n=1)

    def test_errors(self, ask: Callable[..., Any], litellm: Any) -> None:
        with pytest.raises(litellm.NotFoundError, match="nope"):
            ask("a", model="nope")
        with pytest.raises(litellm.BadRequestError, match="temperature"):
            ask("a", temperature=9)
        with pytest.raises(litellm.AuthenticationError, match="API key"):
            ask("a", key="wrong")
