"""POST /v1/responses: items in, items out, whole or event by event, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT, DEADLY, EYES, LONG, SLOW, png, uri
from tests.support.pdfs import pdf
from tests.support.server import RunningServer, openai_error

PATH = "/v1/responses"
TOOLS = [
    {
        "type": "function",
        "name": "ls",
        "description": "lists",
        "parameters": {"type": "object"},
        "strict": True,
    },
    {"type": "web_search_preview"},
]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("responses")) as running:
        yield running


def ask(server: RunningServer, given: Any, **fields: Any) -> httpx.Response:
    body = {"model": AGENT, "input": given, "reasoning": {"effort": "none"}, **fields}
    return server.http.post(PATH, json=body)


def answer(server: RunningServer, given: Any, **fields: Any) -> dict[str, Any]:
    response = ask(server, given, **fields)
    assert response.status_code == 200, response.text
    return dict(response.json())


def text_of(told: dict[str, Any]) -> str:
    (item,) = told["output"]
    return str(item["content"][0]["text"])


def test_the_answer(server: RunningServer) -> None:
    told = answer(server, "a b", model=EYES, instructions="be brief", metadata={"k": "v"}, store=True)
    assert told.pop("id").startswith("resp_")
    (item,) = told.pop("output")
    assert item.pop("id").startswith("msg_")
    content = [{"type": "output_text", "text": "be brief a b", "annotations": [], "logprobs": []}]
    assert item == {"type": "message", "role": "assistant", "status": "completed", "content": content}
    assert (told["object"], told["status"], told["model"], told["error"]) == (
        "response",
        "completed",
        EYES,
        None,
    )
    assert (told["instructions"], told["metadata"], told["store"]) == ("be brief", {"k": "v"}, False)
    assert told["usage"] == {
        "input_tokens": 4,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": 4,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": 8,
    }


def test_items_of_every_kind(server: RunningServer) -> None:
    file = uri(pdf("", size=(72, 144)), "application/pdf")
    items = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [
            {"type": "input_text", "text": "see"},
            {"type": "input_image", "image_url": uri(png()), "detail": "auto"},
            {"type": "input_file", "filename": "a.pdf", "file_data": file},
        ]},
        {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "hm"}]},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "ok"}]},
        {"type": "function_call", "call_id": "x", "name": "ls", "arguments": '{"a": 1}', "id": "fc_1"},
        {"type": "web_search_call", "id": "ws_1", "status": "completed"},
        {"type": "function_call_output", "call_id": "x", "output": "files"},
        {"role": "user", "content": "now"},
    ]  # fmt: skip
    told = answer(server, items, tools=TOOLS)
    assert text_of(told) == 'be brief see 40x30 110x220 ok ls({"a":1}) ls: files now'
    assert [tool["name"] for tool in told["tools"]] == ["ls"]


def test_calls_and_choices(server: RunningServer) -> None:
    told = answer(server, 'CALL ls {"a": 1}', tools=TOOLS)
    said, call = told["output"]
    assert said["content"][0]["text"] == "I call."
    assert call.pop("id").startswith("fc_")
    assert call.pop("call_id").startswith("call_")
    assert call == {"type": "function_call", "name": "ls", "arguments": '{"a":1}', "status": "completed"}
    for choice, n_calls in (
        ("none", 0),
        ("required", 1),
        ({"type": "function", "name": "ls"}, 1),
        ("auto", 0),
    ):
        kinds = [item["type"] for item in answer(server, "a", tools=TOOLS, tool_choice=choice)["output"]]
        assert kinds.count("function_call") == n_calls


def test_thoughts_and_schemas(server: RunningServer) -> None:
    thought, said = answer(server, "a b", reasoning={"effort": "medium"})["output"]
    assert thought["type"] == "reasoning"
    assert thought["content"] == [{"type": "reasoning_text", "text": "I read 2 words."}]
    assert said["content"][0]["text"] == "a b"
    shape = {"type": "object", "properties": {"n": {"type": "integer"}}}
    format = {"type": "json_schema", "name": "n", "schema": shape, "strict": True}
    assert json.loads(text_of(answer(server, "a", text={"format": format}))) == {"n": 1}


def test_an_answer_that_met_its_limit(server: RunningServer) -> None:
    told = answer(server, "a b c", max_output_tokens=2)
    assert (told["status"], told["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert text_of(told) == "a b"


def events_of(server: RunningServer, given: Any, **fields: Any) -> list[dict[str, Any]]:
    """Returns the events' data, after checking that each has its name and number."""
    frames = ask(server, given, stream=True, **fields).text.removesuffix("\n\n").split("\n\n")
    events = []
    for number, frame in enumerate(frames):
        name, data = frame.split("\n")
        events.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {events[-1]['type']}"
        assert events[-1]["sequence_number"] == number
    return events


def test_a_stream_event_for_event(server: RunningServer) -> None:
    fields = {"tools": TOOLS, "reasoning": {"effort": "low"}}
    events = events_of(server, 'CALL ls {"a": 1}', **fields)
    kinds = [event["type"].removeprefix("response.") for event in events]
    squeezed = [kind for at, kind in enumerate(kinds) if not at or kind != kinds[at - 1]]
    assert squeezed == [
        "created", "in_progress",
        "output_item.added", "content_part.added", "reasoning_text.delta", "reasoning_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "content_part.added", "output_text.delta", "output_text.done",
        "content_part.done", "output_item.done",
        "output_item.added", "function_call_arguments.delta", "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]  # fmt: skip
    last = events[-1]["response"]
    assert [item["type"] for item in last["output"]] == ["reasoning", "message", "function_call"]
    assert last["usage"]["total_tokens"] > 9


def test_a_failure_midway_is_the_last_event(server: RunningServer) -> None:
    *_, last = events_of(server, "a " * 50 + "CRASH b", model=DEADLY)
    assert (last["type"], last["response"]["status"]) == ("response.failed", "failed")
    assert "ended (signal 9)" in last["response"]["error"]["message"]


def test_who_leaves_frees_the_model(server: RunningServer) -> None:
    answer(server, "load it", model=SLOW)
    chats.leave_midway(server, PATH, {"model": SLOW, "input": LONG, "stream": True})


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": None}, "model"), ({"input": None}, "input"), ({"input": []}, "input"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"), ({"conversation": "c"}, "conversation"),
        ({"background": True}, "background"), ({"prompt": {"id": "p"}}, "prompt"),
        ({"input": [{"role": "robot", "content": "a"}]}, "input[0].role"),
        ({"input": [{"type": "item_reference", "id": "a"}]}, "input[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_audio"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "https://a.b/c.png"}]}]},
         "input[0].content[0].image_url"),
        ({"tool_choice": "some"}, "tool_choice"), ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"text": {"format": {"type": "xml"}}}, "text.format"),
    ],
)  # fmt: skip
def test_refused(server: RunningServer, fields: dict[str, Any], param: str) -> None:
    body = {"model": AGENT, "input": "a", **fields}
    assert openai_error(server.http.post(PATH, json=body), 400)["param"] == param
