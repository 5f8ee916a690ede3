"""Whatever a model's answer is made of, each family's stream adds up to its answer in one piece."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator
from typing import Any

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    ChatEvent,
    ChatResult,
    Finish,
    TextDelta,
    ThinkingDelta,
)
from turbov2.wire._chat import Answer, Frames, whole_answer
from turbov2.wire._http import Limits
from turbov2.wire.anthropic.adapt import parse_messages, render_message
from turbov2.wire.anthropic.stream import MessageEvents
from turbov2.wire.ollama import answers as ollama_answers
from turbov2.wire.ollama.chat import parse_chat as parse_ollama
from turbov2.wire.openai.chat import parse_chat
from turbov2.wire.openai.chat_answers import Chunks, render_chat
from turbov2.wire.openai.response_answers import ResponseEvents, render_response
from turbov2.wire.openai.responses import parse_response

LIMITS = Limits(max_body_bytes=1 << 20, max_texts=1, max_text_chars=1000, max_upload_bytes=1)
ASKED = {"model": "m", "messages": [{"role": "user", "content": "a"}]}

WORDS = st.text(min_size=1, max_size=8)
ARGUMENTS = st.dictionaries(st.text(max_size=3), st.text(max_size=4) | st.integers(-9, 9), max_size=2)
Deltas = list[AnswerDelta]


@st.composite
def calls(draw: st.DrawFn) -> Deltas:
    """Draws a call whose arguments come in pieces."""
    arguments = json.dumps(draw(ARGUMENTS))
    cut = draw(st.integers(0, len(arguments)))
    pieces = [CallDelta(piece) for piece in (arguments[:cut], arguments[cut:])]
    return [CallBegun(f"{draw(st.integers(0, 10**9))}", draw(st.sampled_from(["f", "g"]))), *pieces]


PARTS = st.one_of(
    WORDS.map(lambda text: [TextDelta(text)]), WORDS.map(lambda text: [ThinkingDelta(text)]), calls()
)
DELTAS = st.lists(PARTS, max_size=8).map(lambda parts: [delta for part in parts for delta in part])
FINISHES = st.builds(
    Finish,
    reason=st.sampled_from(["stop", "length", "tool_calls"]),
    n_prompt_tokens=st.integers(9, 99),
    n_output_tokens=st.integers(0, 99),
    stopped_by=st.sampled_from([None, "END"]),
    n_cached_tokens=st.integers(0, 9),
)


def answer_of(deltas: Deltas, result: ChatResult) -> Answer:
    async def events() -> AsyncGenerator[ChatEvent, None]:
        for delta in deltas:
            yield delta
        yield result

    return asyncio.run(whole_answer(events()))


def stream_of(frames: Frames, deltas: Deltas, result: ChatResult) -> list[dict[str, Any]]:
    """Returns the events' data."""
    raw = frames.head(None) + b"".join(frames.delta(delta) for delta in deltas) + frames.end(result)
    if frames.media_type == b"application/x-ndjson":
        return [json.loads(line) for line in raw.splitlines()]
    datas = [frame.split("data: ", 1)[1] for frame in raw.decode().removesuffix("\n\n").split("\n\n")]
    return [json.loads(data) for data in datas if data != "[DONE]"]


@settings(max_examples=150, deadline=None)
@given(DELTAS, FINISHES)
def test_anthropic(deltas: Deltas, finish: Finish) -> None:
    result = ChatResult("m", finish, (), 0, 0)
    thinking = {"type": "enabled", "budget_tokens": 1024}
    asked = parse_messages(json.dumps({**ASKED, "max_tokens": 9, "thinking": thinking}).encode(), LIMITS)
    whole = json.loads(render_message(asked, answer_of(deltas, result)))
    start, *events, delta, stop = stream_of(MessageEvents(asked, "req_1"), deltas, result)
    told = start["message"] | {"content": [], **delta["delta"], "usage": delta["usage"]}
    for event in (event for event in events if event["type"] != "ping"):
        match event["type"], event.get("delta", {}).get("type"):
            case "content_block_start", _:
                assert event["index"] == len(told["content"])
                told["content"].append({**event["content_block"], "json": ""})
            case "content_block_stop", _:
                block = told["content"][event["index"]]
                arguments = block.pop("json")
                if block["type"] == "tool_use":
                    block["input"] = json.loads(arguments)
            case _, ("text_delta" | "thinking_delta" | "signature_delta" | "input_json_delta") as kind:
                field = {"input_json_delta": "partial_json"}.get(kind, kind.removesuffix("_delta"))
                told["content"][event["index"]][{"partial_json": "json"}.get(field, field)] += event["delta"][
                    field
                ]
    assert stop == {"type": "message_stop"}
    assert told == whole


@settings(max_examples=150, deadline=None)
@given(DELTAS, FINISHES)
def test_openai_chat(deltas: Deltas, finish: Finish) -> None:
    result = ChatResult("m", finish, (), 0, 0)
    asked = parse_chat(json.dumps({**ASKED, "stream_options": {"include_usage": True}}).encode(), LIMITS)
    whole = json.loads(render_chat(asked, answer_of(deltas, result)))
    *chunks, usage = stream_of(Chunks(asked), deltas, result)
    message: dict[str, Any] = {"content": "", "reasoning": "", "tool_calls": []}
    for delta in (chunk["choices"][0]["delta"] for chunk in chunks):
        message["content"] += delta.get("content", "")
        message["reasoning"] += delta.get("reasoning", "")
        for call in delta.get("tool_calls", ()):
            if call["index"] == len(message["tool_calls"]):
                message["tool_calls"].append({name: call[name] for name in ("id", "type", "function")})
            else:
                message["tool_calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    (choice,) = whole["choices"]
    assert choice["finish_reason"] == chunks[-1]["choices"][0]["finish_reason"]
    assert (choice["message"]["content"] or "") == message["content"]
    assert choice["message"].get("reasoning", "") == message["reasoning"]
    assert choice["message"].get("tool_calls", []) == message["tool_calls"]
    assert usage["usage"] == whole["usage"]
    assert {chunk["id"] for chunk in (*chunks, usage)} == {whole["id"]}


@settings(max_examples=150, deadline=None)
@given(DELTAS, FINISHES)
def test_openai_responses(deltas: Deltas, finish: Finish) -> None:
    result = ChatResult("m", finish, (), 0, 0)
    asked = parse_response(b'{"model":"m","input":"a"}', LIMITS)
    whole = json.loads(render_response(asked, answer_of(deltas, result)))
    events = stream_of(ResponseEvents(asked), deltas, result)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    assert events[-1] == {
        "type": f"response.{whole['status']}", "sequence_number": len(events) - 1, "response": whole
    }  # fmt: skip
    items: list[dict[str, Any]] = []
    words: dict[str, str] = {}
    for event in events[2:-1]:
        match event["type"].removeprefix("response."):
            case "output_item.added":
                assert event["output_index"] == len(items)
                words[event["item"]["id"]] = ""
            case "output_item.done":
                items.append(event["item"])
            case kind if kind.endswith(".delta"):
                words[event["item_id"]] += event["delta"]
            case kind if kind.endswith(("text.done", "arguments.done")):
                assert words[event["item_id"]] == event.get("text", event.get("arguments"))
    assert items == whole["output"]


@settings(max_examples=150, deadline=None)
@given(DELTAS, FINISHES)
def test_ollama(deltas: Deltas, finish: Finish) -> None:
    result = ChatResult("m", finish, (), 1, 2)
    asked = parse_ollama(json.dumps(ASKED).encode(), LIMITS)
    whole = json.loads(ollama_answers.render_text(asked, answer_of(deltas, result)))
    *lines, last = stream_of(ollama_answers.Lines(asked), deltas, result)
    messages = [line["message"] for line in lines]
    message: dict[str, Any] = {"role": "assistant", "content": "".join(each["content"] for each in messages)}
    if thinking := "".join(each.get("thinking", "") for each in messages):
        message["thinking"] = thinking
    if called := [call for each in messages for call in each.get("tool_calls", ())]:
        message["tool_calls"] = called
    assert message == whole["message"]
    assert last["message"] == {"role": "assistant", "content": ""}
    differing = ("created_at", "message")
    assert all(last[name] == whole[name] for name in whole if name not in differing)
    assert set(last) == set(whole)


def test_arguments_pass_through_as_they_are() -> None:
    deltas = [CallBegun("1", "f"), CallDelta('{"a": 12345678901234567890}')]
    asked = parse_ollama(json.dumps(ASKED).encode(), LIMITS)
    whole = ollama_answers.render_text(
        asked, answer_of(list(deltas), ChatResult("m", Finish("stop", 1, 1), (), 0, 0))
    )
    assert b'"arguments":{"a": 12345678901234567890}' in whole
    assert msgspec.json.decode(whole)
