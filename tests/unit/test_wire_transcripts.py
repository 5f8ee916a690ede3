"""Each family's requests and answers, byte for byte, as tests/golden keeps them.

UPDATE_TRANSCRIPTS=1 writes them anew: what a change does to a wire is then to be read in its diff.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    ChatResult,
    Finish,
    PromptCounted,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallPart,
)
from turbov2.wire._chat import Answer, Frames
from turbov2.wire._http import Limits
from turbov2.wire.anthropic.adapt import parse_messages, render_message
from turbov2.wire.anthropic.stream import MessageEvents
from turbov2.wire.ollama import answers as ollama
from turbov2.wire.ollama.chat import parse_chat as parse_ollama
from turbov2.wire.openai.chat import parse_chat
from turbov2.wire.openai.chat_answers import Chunks, render_chat
from turbov2.wire.openai.response_answers import ResponseEvents, render_response
from turbov2.wire.openai.responses import parse_response

GOLDEN = Path(__file__).parents[1] / "golden"
LIMITS = Limits(max_body_bytes=1 << 20, max_texts=1, max_text_chars=10_000, max_upload_bytes=1)
PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"path": {"type": "string"}}, "required": ["path"]}

DELTAS: list[AnswerDelta] = [
    ThinkingDelta("They want "),
    ThinkingDelta("files."),
    TextDelta("I look"),
    TextDelta(" — now.\n"),
    CallBegun("0a", "ls"),
    CallDelta('{"path":"ä"}'),
    CallBegun("0b", "ls"),
    CallDelta("{}"),
]
PARTS = (
    ThinkingPart("They want files."),
    TextPart("I look — now.\n"),
    ToolCallPart("0a", "ls", '{"path":"ä"}'),
    ToolCallPart("0b", "ls", "{}"),
)
FINISH = Finish("tool_calls", 120, 40, prompt_ns=5, output_ns=7, n_cached_tokens=100)
RESULT = ChatResult("m", FINISH, (), load_ns=1, total_ns=20)

_FUNCTION = {"name": "ls", "description": "lists files", "parameters": SCHEMA}
_OPENAI_CALL = {"id": "c1", "type": "function", "function": {"name": "ls", "arguments": '{"path": "."}'}}
_ANTHROPIC_IMAGE = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
_ANTHROPIC_RESULT = [{"type": "text", "text": "b"}, _ANTHROPIC_IMAGE]

REQUESTS: dict[str, dict[str, Any]] = {
    "anthropic_messages": {
        "model": "m",
        "max_tokens": 32_000,
        "stream": True,
        "system": [
            {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.0;"},
            {"type": "text", "text": "You are an agent.", "cache_control": {"type": "ephemeral"}},
        ],
        "messages": [
            {"role": "user", "content": "What is here?"},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "I list.", "signature": "s"},
                {"type": "text", "text": "Let me see."},
                {"type": "tool_use", "id": "t1", "name": "ls", "input": {"path": "."}},
                {"type": "tool_use", "id": "t2", "name": "ls", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t2", "content": _ANTHROPIC_RESULT},
                {"type": "tool_result", "tool_use_id": "t1", "content": "a", "is_error": True},
                {"type": "text", "text": "And?"},
            ]},
            {"role": "system", "content": "Remember the rules."},
        ],
        "tools": [
            {"name": "ls", "description": "lists files", "input_schema": SCHEMA},
            {"type": "web_search_20250305", "name": "web_search", "max_uses": 8},
        ],
        "tool_choice": {"type": "auto", "disable_parallel_tool_use": True},
        "thinking": {"type": "adaptive"},
        "output_config": {"effort": "high"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "metadata": {"user_id": "{}"},
    },
    "openai_chat": {
        "model": "m",
        "stream": True,
        "stream_options": {"include_usage": True},
        "messages": [
            {"role": "developer", "content": "You are an agent."},
            {"role": "user", "content": [
                {"type": "text", "text": "What is this?"},
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
            ]},
            {"role": "assistant", "content": None, "tool_calls": [_OPENAI_CALL]},
            {"role": "tool", "tool_call_id": "c1", "content": "a"},
        ],
        "tools": [{"type": "function", "function": _FUNCTION}],
        "tool_choice": {"type": "function", "function": {"name": "ls"}},
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "s", "schema": SCHEMA}},
        "reasoning_effort": "low",
        "max_completion_tokens": 100,
        "temperature": 0,
        "presence_penalty": 0.5,
        "stop": "END",
    },
    "openai_responses": {
        "model": "m",
        "stream": True,
        "instructions": "You are an agent.",
        "input": [
            {"role": "user", "content": [{"type": "input_text", "text": "What is here?"}]},
            {"type": "reasoning", "summary": [], "content": [{"type": "reasoning_text", "text": "I list."}]},
            {"type": "function_call", "call_id": "c1", "name": "ls", "arguments": '{"path": "."}'},
            {"type": "function_call_output", "call_id": "c1", "output": "a"},
        ],
        "tools": [{"type": "function", **_FUNCTION, "strict": True}, {"type": "web_search_preview"}],
        "tool_choice": "required",
        "text": {"format": {"type": "json_object"}},
        "reasoning": {"effort": "medium"},
        "max_output_tokens": 100,
        "metadata": {"k": "v"},
    },
    "ollama_chat": {
        "model": "m:latest",
        "messages": [
            {"role": "system", "content": "You are an agent."},
            {"role": "user", "content": "What is this?", "images": [PNG]},
            {"role": "assistant", "content": "", "thinking": "I list.", "tool_calls": [
                {"function": {"name": "ls", "arguments": {"path": "."}}},
            ]},
            {"role": "tool", "tool_name": "ls", "content": "a"},
        ],
        "tools": [{"type": "function", "function": _FUNCTION}],
        "format": SCHEMA,
        "think": "high",
        "options": {"num_predict": 100, "temperature": 0, "seed": 7, "top_k": 40, "stop": ["END"]},
        "keep_alive": "5m",
    },
}  # fmt: skip

Wire = tuple[Callable[..., Any], Callable[[Any], Frames], Callable[[Any, Answer], bytes]]
WIRES: dict[str, Wire] = {
    "anthropic_messages": (parse_messages, lambda asked: MessageEvents(asked, "req_1"), render_message),
    "openai_chat": (parse_chat, Chunks, render_chat),
    "openai_responses": (parse_response, ResponseEvents, render_response),
    "ollama_chat": (parse_ollama, ollama.Lines, ollama.render_text),
}
_CHANGING = (
    (re.compile(r'\b(msg|chatcmpl|resp|rs|fc)([_-])[0-9a-f]{24,32}'), r"\1\2ID"),
    (re.compile(r'"(created|created_at)":( ?)(\d+|"[^"]+")'), r'"\1":\2"TIME"'),
)  # fmt: skip


def transcript(name: str) -> str:
    parse, frames_of, render = WIRES[name]
    asked = parse(json.dumps(REQUESTS[name]).encode(), LIMITS)
    frames = frames_of(asked)
    stream = (
        frames.head(PromptCounted(RESULT.finish.n_prompt_tokens, RESULT.finish.n_cached_tokens))
        + b"".join(map(frames.delta, DELTAS))
        + frames.heartbeat
        + frames.end(RESULT)
    )
    canonical = msgspec.json.format(msgspec.json.encode(asked.request), indent=1)
    whole = msgspec.json.format(render(asked, Answer(PARTS, RESULT)), indent=1)
    text = "\n\n".join(
        [
            f"# What is asked\n\n{json.dumps(REQUESTS[name], indent=1, ensure_ascii=False)}",
            f"# What the engine is asked\n\n{canonical.decode()}",
            f"# The answer as a stream\n\n{stream.decode().rstrip()}",
            f"# The answer as a whole\n\n{whole.decode()}\n",
        ]
    )
    for pattern, replacement in _CHANGING:
        text = pattern.sub(replacement, text)
    return text


@pytest.mark.parametrize("name", WIRES)
def test_transcripts(name: str) -> None:
    path, told = GOLDEN / f"{name}.txt", transcript(name)
    if os.environ.get("UPDATE_TRANSCRIPTS"):
        path.write_text(told, encoding="utf-8")
    assert told == path.read_text("utf-8")
