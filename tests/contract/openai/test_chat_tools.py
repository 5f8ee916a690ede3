"""POST /v1/chat/completions with tools, thoughts and schemas; POST /v1/completions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT, WORDS, png, uri
from tests.support.server import RunningServer, openai_error

PATH, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
TOOLS = [
    {
        "type": "function",
        "function": {"name": "ls", "description": "lists", "parameters": {"type": "object"}},
    },
    {"type": "function", "function": {"name": "cat", "strict": True}},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("chat-tools")) as running:
        yield running


def ask(server: RunningServer, *lines: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "\n".join(lines)}]
    body = {"model": AGENT, "messages": messages, "reasoning_effort": "none", **fields}
    return server.http.post(PATH, json=body)


def choice(server: RunningServer, *lines: str, **fields: Any) -> dict[str, Any]:
    answer = ask(server, *lines, **fields)
    assert answer.status_code == 200, answer.text
    (told,) = answer.json()["choices"]
    return dict(told)


def called(told: dict[str, Any]) -> list[tuple[str, str]]:
    calls = told["message"].get("tool_calls", [])
    assert all(call["id"].startswith("call_") and call["type"] == "function" for call in calls)
    return [(call["function"]["name"], call["function"]["arguments"]) for call in calls]


def test_a_call(server: RunningServer) -> None:
    told = choice(server, 'CALL ls {"a": 1}', "CALL cat {}", tools=TOOLS)
    assert called(told) == [("ls", '{"a":1}'), ("cat", "{}")]
    assert (told["message"]["content"], told["finish_reason"]) == ("I call.", "tool_calls")


@pytest.mark.parametrize(
    ("fields", "line", "names"),
    [
        ({"tool_choice": "auto"}, "a", []),
        ({"tool_choice": "none"}, "CALL ls {}", []),
        ({"tool_choice": "required"}, "a", ["ls"]),
        ({"tool_choice": {"type": "function", "function": {"name": "cat"}}}, "a", ["cat"]),
        ({"parallel_tool_calls": False}, "CALL ls {}\nCALL cat {}", ["ls"]),
        ({"parallel_tool_calls": True}, "CALL ls {}\nCALL cat {}", ["ls", "cat"]),
    ],
)
def test_choices(server: RunningServer, fields: dict[str, Any], line: str, names: list[str]) -> None:
    told = choice(server, line, tools=TOOLS, **fields)
    assert [name for name, _ in called(told)] == names
    assert told["finish_reason"] == ("tool_calls" if names else "stop")


def test_the_round_trip(server: RunningServer) -> None:
    calls = [
        {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": '{"a": 1}'}}
        for name in ("ls", "cat")
    ]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": calls, "reasoning": "hm"},
        {"role": "tool", "tool_call_id": "call_cat", "content": [{"type": "text", "text": "second"}]},
        {"role": "tool", "tool_call_id": "call_ls", "content": "first"},
    ]
    told = choice(server, messages=messages, tools=TOOLS)
    assert told["message"]["content"] == 'go ls({"a":1}) cat({"a":1}) ls: first cat: second'
    seen = {
        "role": "tool",
        "tool_call_id": "call_cat",
        "content": [{"type": "image_url", "image_url": uri(png())}],
    }
    told = choice(server, messages=[*messages[:2], seen])
    assert str(told["message"]["content"]).endswith("cat: An image; it follows. What cat showed: 40x30")
    assert "ends with a call" in openai_error(ask(server, messages=messages[:2]), 400)["message"]


def test_thoughts(server: RunningServer) -> None:
    for effort, reasoning in (("high", "I read 2 words."), (None, "I read 2 words."), ("minimal", None)):
        message = choice(server, "a b", reasoning_effort=effort)["message"]
        assert (message.get("reasoning"), message["content"]) == (reasoning, "a b")


def test_schemas(server: RunningServer) -> None:
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}}
    format: dict[str, Any] = {
        "type": "json_schema",
        "json_schema": {"name": "n", "schema": shape, "strict": True},
    }
    assert json.loads(choice(server, "a", response_format=format)["message"]["content"]) == {"n": 1}
    format = {"type": "json_object"}
    assert json.loads(choice(server, "a", response_format=format)["message"]["content"]) == {}


def test_words_that_were_read_before_are_told(server: RunningServer) -> None:
    ask(server, "start anew")
    usages = [ask(server, said).json()["usage"] for said in ("one two", "one two three")]
    assert [usage["prompt_tokens"] for usage in usages] == [2, 3]
    assert [usage["prompt_tokens_details"]["cached_tokens"] for usage in usages] == [0, 2]


def test_a_stream(server: RunningServer) -> None:
    options = {"include_usage": True}
    fields: dict[str, Any] = {"tools": TOOLS, "reasoning_effort": "low", "stream_options": options}
    frames = ask(server, 'CALL ls {"a": 1}', "CALL cat {}", stream=True, **fields).text.split("\n\n")
    assert frames[-2:] == ["data: [DONE]", ""]
    chunks = [json.loads(frame.removeprefix("data: ")) for frame in frames[:-2]]
    *told, usage = chunks
    assert usage["choices"] == []
    assert usage["usage"]["prompt_tokens"] == 10
    deltas = [chunk["choices"][0]["delta"] for chunk in told]
    assert deltas[0] == {"role": "assistant", "content": "", "refusal": None}
    assert "".join(delta.get("reasoning", "") for delta in deltas) == "I read 7 words."
    assert "".join(delta.get("content", "") for delta in deltas) == "I call."
    calls = [call for delta in deltas for call in delta.get("tool_calls", ())]
    assert [call["index"] for call in calls] == [0, 0, 1, 1]
    assert [call["function"] for call in calls] == [
        {"name": "ls", "arguments": ""},
        {"arguments": '{"a":1}'},
        {"name": "cat", "arguments": ""},
        {"arguments": "{}"},
    ]
    assert (deltas[-1], told[-1]["choices"][0]["finish_reason"]) == ({}, "tool_calls")


def test_a_completion(server: RunningServer) -> None:
    body: dict[str, Any] = {
        "model": WORDS,
        "prompt": "go on with this",
        "max_tokens": 3,
        "presence_penalty": 1,
    }
    answer = server.http.post(COMPLETIONS, json=body).json()
    assert answer.pop("id").startswith("cmpl-")
    assert answer["object"] == "text_completion"
    assert answer["choices"] == [
        {"text": "go on with", "index": 0, "logprobs": None, "finish_reason": "length"}
    ]
    assert answer["usage"]["completion_tokens"] == 3
    streamed = server.http.post(COMPLETIONS, json={**body, "prompt": ["a b"], "stream": True}).text
    *frames, done, end = streamed.split("\n\n")
    choices = [json.loads(frame.removeprefix("data: "))["choices"][0] for frame in frames]
    assert ("".join(each["text"] for each in choices), choices[-1]["finish_reason"]) == ("a b", "stop")
    assert (done, end) == ("data: [DONE]", "")


def test_a_completion_is_what_the_model_wrote_and_short_by_itself(server: RunningServer) -> None:
    body = {"model": AGENT, "prompt": "a"}
    choice = server.http.post(COMPLETIONS, json=body).json()["choices"][0]
    assert choice["text"].startswith("<think>\nI read 1 words.\n</think>")
    body = {"model": WORDS, "prompt": "w " * 50}
    assert server.http.post(COMPLETIONS, json=body).json()["usage"]["completion_tokens"] == 16


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"prompt": None}, "prompt"), ({"prompt": [1, 2]}, "prompt"), ({"prompt": ["a", "b"]}, "prompt"),
        ({"suffix": "a"}, "suffix"), ({"echo": True}, "echo"), ({"n": 2}, "n"), ({"logprobs": 1}, "logprobs"),
        ({"model": None}, "model"), ({"stop": [""]}, "stop"),
    ],
)  # fmt: skip
def test_refused_completions(server: RunningServer, fields: dict[str, Any], param: str) -> None:
    body = {"model": WORDS, "prompt": "a", **fields}
    assert openai_error(server.http.post(COMPLETIONS, json=body), 400)["param"] == param
