"""POST /v1/messages with tools, thoughts and schemas, and what coding agents send beside them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

pytest.importorskip("pypdfium2", reason="reads images: needs the extra documents")

from tests.support import chats
from tests.support.chats import AGENT, WORDS, b64, png
from tests.support.pdfs import pdf
from tests.support.server import RunningServer, anthropic_error

PATH = "/v1/messages"
TOOLS = [
    {"name": "ls", "description": "lists files", "input_schema": {"properties": {"all": {"const": True}}}},
    {
        "name": "cat",
        "input_schema": {"type": "object", "$schema": "https://json-schema.org/draft/2020-12/schema"},
    },
]
NOTHING = {"stop_details": None, "container": None}
THOUGHT = {"thinking": {"type": "enabled", "budget_tokens": 1024}}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    with chats.chat_server(tmp_path_factory.mktemp("tools")) as running:
        yield running


def ask(server: RunningServer, *lines: str, **fields: Any) -> httpx.Response:
    messages = [{"role": "user", "content": "\n".join(lines)}]
    body = {"model": AGENT, "max_tokens": 1000, "messages": messages, **fields}
    return server.http.post(PATH, json=body)


def answer(server: RunningServer, *lines: str, **fields: Any) -> dict[str, Any]:
    response = ask(server, *lines, **fields)
    assert response.status_code == 200, response.text
    told: dict[str, Any] = response.json()
    return told


def content(server: RunningServer, *lines: str, **fields: Any) -> list[dict[str, Any]]:
    """Returns the blocks, without the ids of calls."""
    blocks: list[dict[str, Any]] = answer(server, *lines, **fields)["content"]
    for block in blocks:
        assert block.pop("id", "toolu_1").startswith("toolu_")
    return blocks


def text(said: str) -> dict[str, str]:
    return {"type": "text", "text": said}


def call(name: str, **arguments: Any) -> dict[str, Any]:
    return {"type": "tool_use", "name": name, "input": arguments}


def test_a_call(server: RunningServer) -> None:
    told = answer(server, 'CALL ls {"all": true}', tools=TOOLS)
    assert (told["stop_reason"], told["stop_sequence"]) == ("tool_use", None)
    assert content(server, 'CALL ls {"all": true}', tools=TOOLS) == [text("I call."), call("ls", all=True)]


@pytest.mark.parametrize(
    ("choice", "line", "called"),
    [
        ({"type": "auto"}, "CALL ls {}", ["ls"]),
        ({"type": "auto"}, "say a", []),
        ({"type": "any"}, "say a", ["ls"]),
        ({"type": "tool", "name": "cat"}, "say a", ["cat"]),
        ({"type": "none"}, "CALL ls {}", []),
        (None, "CALL ls {}\nCALL cat {}", ["ls", "cat"]),
        ({"type": "auto", "disable_parallel_tool_use": True}, "CALL ls {}\nCALL cat {}", ["ls"]),
        ({"type": "any", "disable_parallel_tool_use": True}, "CALL ls {}\nCALL cat {}", ["ls"]),
    ],
)
def test_choices(server: RunningServer, choice: Any, line: str, called: list[str]) -> None:
    told = answer(server, line, tools=TOOLS, tool_choice=choice)
    assert [block["name"] for block in told["content"] if block["type"] == "tool_use"] == called
    assert told["stop_reason"] == ("tool_use" if called else "end_turn")


def test_tools_that_the_provider_runs_are_not_here(server: RunningServer) -> None:
    search = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
    for choice in ({"type": "auto"}, {"type": "any"}, {"type": "tool", "name": "web_search"}):
        assert content(server, "CALL web_search {}", tools=[search], tool_choice=choice)[0]["type"] == "text"
    assert content(server, "CALL ls {}", tools=[search, *TOOLS], tool_choice={"type": "any"})[1:] == [
        call("ls")
    ]


def test_a_call_that_nobody_declared_is_text(server: RunningServer) -> None:
    (block,) = content(server, "CALL rm {}", tools=TOOLS)
    assert block == text('I call.\n\n{"name": "rm", "arguments": {}}')


def test_the_round_trip_pairs_results_by_id(server: RunningServer) -> None:
    calls = [{"id": "toolu_1", **call("ls", all=True)}, {"id": "toolu_2", **call("cat", path="a")}]
    results = [
        {"type": "tool_result", "tool_use_id": "toolu_2", "content": "second", "is_error": True},
        {"type": "tool_result", "tool_use_id": "toolu_1", "content": [text("first")], "is_error": False},
    ]
    messages = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": [text("Let me see."), *calls]},
        {"role": "user", "content": [*results, text("and now")]},
    ]
    assert content(server, messages=messages, tools=TOOLS) == [
        text('go Let me see. ls({"all":true}) cat({"path":"a"}) ls: first cat: Error: second and now')
    ]


def test_images_and_documents_in_results(server: RunningServer) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png())}}
    file = b64(pdf("", size=(72, 144)))
    document = {
        "type": "document",
        "source": {"type": "base64", "media_type": "application/pdf", "data": file},
    }
    result = {"type": "tool_result", "tool_use_id": "x", "content": [text("Seen:"), image]}
    messages = [
        {"role": "assistant", "content": [{"id": "x", **call("cat")}]},
        {"role": "user", "content": [result, document, text("what is it")]},
    ]
    told = content(server, messages=messages, tools=TOOLS)
    assert told == [text("cat({}) cat: Seen: What cat showed: 40x30 110x220 what is it")]
    bare = {"type": "tool_result", "tool_use_id": "x", "content": [image]}
    told = content(server, messages=[messages[0], {"role": "user", "content": [bare]}])
    assert told == [text("cat({}) cat: An image; it follows. What cat showed: 40x30")]


def test_documents_in_results(server: RunningServer) -> None:
    file = {"type": "base64", "media_type": "application/pdf", "data": b64(pdf("", "", size=(72, 144)))}
    sources = [
        file,
        {"type": "text", "media_type": "text/plain", "data": "plain words"},
        {"type": "content", "content": [text("inside")]},
    ]
    documents = [
        {"type": "document", "source": source, "title": f"T{at}"} for at, source in enumerate(sources)
    ]
    messages = [
        {"role": "assistant", "content": [{"id": "x", **call("cat")}]},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": documents}]},
    ]
    told = content(server, messages=messages, tools=TOOLS)
    assert told == [text("cat({}) cat: T0 T1 plain words T2 inside What cat showed: 110x220 110x220")]
    named = {"type": "document", "source": {"type": "file", "file_id": "file_1"}}
    messages[1]["content"] = [{"type": "tool_result", "tool_use_id": "x", "content": [named]}]
    error = anthropic_error(ask(server, messages=messages, tools=TOOLS), 400)
    assert error["message"].startswith("messages[1].content[0].content[0].source.type is 'file'")


def test_what_the_provider_keeps_of_a_conversation_is_passed_over(server: RunningServer) -> None:
    """Types of its client's `ContentBlockParam`, betas included."""
    kinds = (
        *(
            "redacted_thinking",
            "server_tool_use",
            "web_search_tool_result",
            "mcp_tool_use",
            "mcp_tool_result",
        ),
        *("mcp_tool_listing", "advisor_tool_result", "container_upload", "compaction", "fallback"),
        *("tool_addition", "tool_removal"),
    )
    messages = [
        {"role": "user", "content": "a"},
        {"role": "assistant", "content": [*({"type": kind} for kind in kinds), text("b")]},
        {"role": "user", "content": [*({"type": kind} for kind in kinds), text("c")]},
    ]
    assert content(server, messages=messages) == [text("a b c")]
    seen = {"type": "tool_result", "tool_use_id": "x", "content": [{"type": "browser_state"}, text("d")]}
    messages = [
        {"role": "assistant", "content": [{"id": "x", **call("cat")}]},
        {"role": "user", "content": [seen]},
    ]
    assert content(server, messages=messages) == [text("cat({}) cat: d")]


def test_results_of_every_shape(server: RunningServer) -> None:
    for shape, says in (
        (None, "cat:"),
        ("", "cat:"),
        ([], "cat:"),
        ([{"type": "tool_reference", "tool_name": "ls"}], "cat: ls"),
        (
            [{"type": "search_result", "source": "there", "title": "T", "content": [text("b")]}],
            "cat: T there b",
        ),
    ):
        messages = [
            {"role": "assistant", "content": [{"id": "x", **call("cat")}]},
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": shape}]},
        ]
        assert content(server, messages=messages) == [text(f"cat({{}}) {says}")]
    messages = [{"role": "user", "content": [{"type": "tool_result", "tool_use_id": "x", "content": 3}]}]
    assert "neither a text nor blocks" in anthropic_error(ask(server, messages=messages), 400)["message"]


def test_search_results_in_search_results_are_refused(server: RunningServer) -> None:
    nested: dict[str, Any] = text("a")
    for _ in range(400):
        nested = {"type": "search_result", "content": [nested]}
    error = anthropic_error(ask(server, messages=[{"role": "user", "content": [nested]}]), 400)
    assert "a search_result in a search_result" in error["message"]


@pytest.mark.parametrize(
    ("thinking", "is_shown"),
    [
        ({"type": "enabled", "budget_tokens": 1024}, True),
        ({"type": "adaptive"}, True),
        ({"type": "enabled", "budget_tokens": 1024, "display": "omitted"}, False),
        ({"type": "disabled"}, False),
        (None, False),
    ],
)
def test_thoughts(server: RunningServer, thinking: Any, is_shown: bool) -> None:
    told = content(server, "a b", thinking=thinking)
    thought = {"type": "thinking", "thinking": "I read 2 words.", "signature": "unsigned"}
    assert told == [*([thought] if is_shown else []), text("a b")]


def test_a_schema(server: RunningServer) -> None:
    shape = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
    config = {"effort": "low", "format": {"type": "json_schema", "schema": shape}}
    (block,) = content(server, "name it", output_config=config)
    assert json.loads(block["text"]) == {"title": "word"}


def test_words_that_were_read_before_are_counted_apart(server: RunningServer) -> None:
    answer(server, "start anew")
    usages = [answer(server, said)["usage"] for said in ("one two", "one two three")]
    assert [(use["input_tokens"], use["cache_read_input_tokens"]) for use in usages] == [(2, 0), (1, 2)]


def test_what_changes_with_the_clients_version_is_not_read(server: RunningServer) -> None:
    def asked(version: str) -> dict[str, Any]:
        billing = text(f"x-anthropic-billing-header: cc_version={version}; cc_entrypoint=cli;")
        return answer(server, "hi", system=[billing, text("be brief"), text("now")])

    assert asked("1")["content"] == [text("be brief now hi")]
    assert asked("2")["usage"]["cache_read_input_tokens"] == 4


def events(server: RunningServer, *lines: str, **fields: Any) -> list[dict[str, Any]]:
    frames = ask(server, *lines, stream=True, **fields).text.removesuffix("\n\n").split("\n\n")
    return [json.loads(frame.split("\n")[1].removeprefix("data: ")) for frame in frames]


def test_a_stream_event_for_event(server: RunningServer) -> None:
    fields: dict[str, Any] = {"tools": TOOLS, **THOUGHT}
    lines = ('CALL ls {"all": true}', "CALL cat {}")
    told = [event for event in events(server, *lines, **fields) if event["type"] != "ping"]
    assert [event["type"] for event in told[:1] + told[-2:]] == [
        "message_start",
        "message_delta",
        "message_stop",
    ]
    assert told[-2]["delta"] == {"stop_reason": "tool_use", "stop_sequence": None, **NOTHING}
    kinds = [
        (
            event["type"].removeprefix("content_block_"),
            event.get("delta", event.get("content_block", {})).get("type"),
        )
        for event in told[1:-2]
    ]
    squeezed = [kind for at, kind in enumerate(kinds) if not at or kind != kinds[at - 1]]
    assert squeezed == [
        ("start", "thinking"), ("delta", "thinking_delta"), ("delta", "signature_delta"), ("stop", None),
        ("start", "text"), ("delta", "text_delta"), ("stop", None),
        ("start", "tool_use"), ("delta", "input_json_delta"), ("stop", None),
        ("start", "tool_use"), ("delta", "input_json_delta"), ("stop", None),
    ]  # fmt: skip
    assert [event["index"] for event in told[1:-2] if event["type"].endswith("start")] == [0, 1, 2, 3]
    starts = [event["content_block"] for event in told[1:-2] if event["type"].endswith("start")]
    assert starts[:2] == [{"type": "thinking", "thinking": "", "signature": ""}, text("")]
    assert [start["input"] for start in starts[2:]] == [{}, {}]
    pieces = [
        event["delta"]["partial_json"] for event in told[1:-2] if "partial_json" in event.get("delta", {})
    ]
    assert [json.loads(piece) for piece in pieces] == [{"all": True}, {}]


@pytest.mark.parametrize(
    "thread", [{"type": "create"}, {"type": "continue", "previous_message_id": "msg_1"}], ids=["new", "old"]
)
def test_a_thread_is_refused_as_its_clients_can_mend_it(
    server: RunningServer, thread: dict[str, str]
) -> None:
    """They send only what is new to a server that takes one, and all of it to one that says this."""
    refused = ask(server, "a", thread=thread)
    assert refused.status_code == 400
    error = refused.json()["error"]
    assert error.pop("details") == {"error_code": "thread_unsupported_request"}
    assert error["type"] == "invalid_request_error"
    assert "send the whole conversation" in error["message"]
    assert content(server, "a", thread=None) == [text("a")]


def test_tokens_are_counted_as_an_answer_counts_them(server: RunningServer) -> None:
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": b64(png())}}
    messages = [{"role": "user", "content": [text("foo bar"), image]}]
    body = {"model": AGENT, "messages": messages, "tools": TOOLS, "system": "be brief", **THOUGHT}
    counted = server.http.post(f"{PATH}/count_tokens?beta=true", json=body)
    assert counted.status_code == 200, counted.text
    usage = server.http.post(PATH, json={**body, "max_tokens": 9}).json()["usage"]
    n_tokens = usage["input_tokens"] + usage["cache_read_input_tokens"]
    assert counted.json() == {"input_tokens": n_tokens} == {"input_tokens": 9}
    assert anthropic_error(server.http.post(f"{PATH}/count_tokens", json={"model": AGENT}), 400)
    unseen = {"model": WORDS, "messages": messages}
    assert (
        "reads text alone"
        in anthropic_error(server.http.post(f"{PATH}/count_tokens", json=unseen), 400)["message"]
    )
