"""POST /api/chat and /api/generate: tools, thoughts, schemas, and prompts without a template."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT, EYES, b64, png
from tests.support.server import RunningServer, ollama_error

CHAT, GENERATE = "/api/chat", "/api/generate"
TOOLS = [
    {
        "type": "function",
        "function": {"name": "ls", "description": "lists", "parameters": {"type": "object"}},
    },
    {"type": "function", "function": {"name": "cat"}},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("ollama-tools")) as running:
        yield running


def chat(server: RunningServer, *lines: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "\n".join(lines)}]
    body = {"model": AGENT, "messages": messages, "stream": False, "think": False, **fields}
    return server.http.post(CHAT, json=body)


def message(server: RunningServer, *lines: str, **fields: Any) -> dict[str, Any]:
    answer = chat(server, *lines, **fields)
    assert answer.status_code == 200, answer.text
    assert answer.json()["done_reason"] == "stop"
    return dict(answer.json()["message"])


def functions(calls: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert all(call["id"].startswith("call_") for call in calls)
    return [call["function"] for call in calls]


CALLED = [
    {"index": 0, "name": "ls", "arguments": {"a": 1}},
    {"index": 1, "name": "cat", "arguments": {}},
]


def test_calls(server: RunningServer) -> None:
    told = message(server, 'CALL ls {"a": 1}', "CALL cat {}", tools=TOOLS)
    assert told["content"] == "I call."
    assert functions(told["tool_calls"]) == CALLED
    assert "tool_calls" not in message(server, "a", tools=TOOLS)


def test_a_stream_has_a_line_for_each_call(server: RunningServer) -> None:
    answer = chat(server, 'CALL ls {"a": 1}', "CALL cat {}", tools=TOOLS, stream=True, think="high")
    *lines, last = map(json.loads, answer.text.splitlines())
    told = [line["message"] for line in lines]
    assert "".join(each.get("thinking", "") for each in told) == "I read 7 words."
    assert "".join(each["content"] for each in told) == "I call."
    calls = [each["tool_calls"] for each in told if "tool_calls" in each]
    assert [functions(each) for each in calls] == [CALLED[:1], CALLED[1:]]
    assert (last["done"], last["done_reason"], last["message"]["content"]) == (True, "stop", "")


@pytest.mark.parametrize(
    "results",
    [
        [{"tool_name": "cat", "content": "second"}, {"tool_name": "ls", "content": "first"}],
        [{"name": "cat", "content": "second"}, {"name": "ls", "content": "first"}],
        [{"content": "first"}, {"content": "second"}],
        [{"tool_call_id": "b", "content": "second"}, {"tool_call_id": "a", "content": "first"}],
        [{"tool_call_id": "x", "content": "first"}, {"tool_call_id": "y", "content": "second"}],
    ],
    ids=["tool_name", "name", "order", "id", "strange id"],
)
def test_results_find_their_calls(server: RunningServer, results: list[dict[str, str]]) -> None:
    has_ids = results[0].get("tool_call_id") == "b"
    calls = [
        {**({"id": call_id} if has_ids else {}), "function": {"name": name, "arguments": arguments}}
        for call_id, name, arguments in (("a", "ls", {"n": 1}), ("b", "cat", '{"n": 2}'))
    ]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": "", "thinking": "hm", "tool_calls": calls},
        *({"role": "tool", **result} for result in results),
    ]
    told = message(server, messages=messages, tools=TOOLS)
    assert told["content"] == 'go ls({"n":1}) cat({"n":2}) ls: first cat: second'


def test_an_image_as_a_result(server: RunningServer) -> None:
    messages = [
        {"role": "assistant", "tool_calls": [{"function": {"name": "cat"}}]},
        {"role": "tool", "content": "", "images": [b64(png())]},
    ]
    assert message(server, messages=messages)["content"].endswith("What cat showed: 40x30")


def test_thoughts(server: RunningServer) -> None:
    for think, thinking in ((True, "I read 2 words."), (None, "I read 2 words."), (False, None)):
        told = message(server, "a b", think=think)
        assert (told.get("thinking"), told["content"]) == (thinking, "a b")
        body = {"model": AGENT, "prompt": "a b", "stream": False, "think": think}
        answer = server.http.post(GENERATE, json=body).json()
        assert (answer.get("thinking"), answer["response"]) == (thinking, "a b")
    assert (
        message(server, "a b", model=EYES, think=True)["content"] == "a b"
    )  # one that cannot is not asked to


def test_schemas(server: RunningServer) -> None:
    shape = {"type": "object", "properties": {"s": {"type": "string"}}}
    for format, told in ((shape, {"s": "word"}), ("json", {}), ({}, {})):
        assert json.loads(message(server, "a", format=format)["content"]) == told
        body = {"model": AGENT, "prompt": "a", "stream": False, "think": False, "format": format}
        assert json.loads(server.http.post(GENERATE, json=body).json()["response"]) == told


def test_a_raw_prompt(server: RunningServer) -> None:
    body = {"model": AGENT, "prompt": "a", "stream": False, "raw": True}
    answer = server.http.post(GENERATE, json=body).json()
    assert answer["response"] == "<think>\nI read 1 words.\n</think>\n\na"


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"tools": [{"type": "function"}]}, "function"),
        ({"tools": [{"function": {}}]}, "tools[0].name is required"),
        ({"tools": [*TOOLS, TOOLS[0]]}, "same name"),
    ],
)
def test_refused(server: RunningServer, fields: dict[str, Any], says: str) -> None:
    assert says in ollama_error(chat(server, "a", **fields), 400)
