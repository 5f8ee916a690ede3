"""What Claude Code sends, as bodies of our own with the fields, roles, blocks and schema words of its own.

tests/contract/anthropic/test_claude_code_requests.py sends them to the server.
tests/clients/test_claude_code.py has the real one run, and sees that it sends nothing that is not in them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from tests.support.chats import b64, png

HEADERS = {
    "user-agent": "claude-cli/2.1.197 (external, sdk-cli)",
    "anthropic-version": "2023-06-01",
    "anthropic-beta": "claude-code-20250219,interleaved-thinking-2025-05-14,context-management-2025-06-27",
    "authorization": "Bearer none",
    "x-app": "cli",
    "x-stainless-timeout": "600",
}
_KEPT = {"cache_control": {"type": "ephemeral"}}
_DRAFT = "https://json-schema.org/draft/2020-12/schema"
_TEXT = {"type": "string", "description": "some text"}
_PROPERTIES: dict[str, Any] = {
    "command": _TEXT,
    "note": {"type": "string", "minLength": 1, "maxLength": 500, "pattern": "^[a-z]", "format": "uri"},
    "n": {"type": "integer", "minimum": 0, "maximum": 10, "default": 1, "exclusiveMinimum": 0},
    "size": {"type": "number", "exclusiveMinimum": 0, "maximum": 9007199254740991},
    "is_late": {"type": "boolean", "default": False},
    "kind": {"type": "string", "enum": ["a", "b"]},
    "to": {"anyOf": [{"const": "all", "type": "string"}, {"type": "object", "properties": {}}]},
    "steps": {"type": "array", "minItems": 1, "maxItems": 4, "items": _TEXT},
    "notes": {"type": "object", "propertyNames": {"type": "string"}, "additionalProperties": {}},
}
BASH = {
    "name": "Bash",
    "description": "runs a command",
    "input_schema": {
        "$schema": _DRAFT,
        "type": "object",
        "properties": _PROPERTIES,
        "required": ["command"],
        "additionalProperties": False,
    },
}
READ = {**BASH, "name": "Read", "description": "reads a file"}
TITLE_SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


def _words(text: str, *, is_kept: bool = False) -> dict[str, Any]:
    return {"type": "text", "text": text, **(_KEPT if is_kept else {})}


def _system(version: str, *, is_kept: bool = True) -> list[dict[str, Any]]:
    return [
        _words(f"x-anthropic-billing-header: cc_version={version}; cc_entrypoint=sdk-cli;"),
        _words("You are an agent.", is_kept=is_kept),
        _words("Be short.", is_kept=is_kept),
    ]


def turn(model: str, *said: str, version: str = "2.1.197.0df") -> dict[str, Any]:
    """Returns the first request of a conversation."""
    reminder = "<system-reminder>\nToday is Monday.\n</system-reminder>"
    return {
        "model": model,
        "messages": [
            {"role": "user", "content": [_words(reminder), _words("\n".join(said), is_kept=True)]},
            {"role": "system", "content": "Agents that may be called: none."},
        ],
        "system": _system(version),
        "tools": [BASH, READ],
        "metadata": {"user_id": json.dumps({"device_id": "d", "account_uuid": "", "session_id": "s"})},
        "max_tokens": 32_000,
        "thinking": {"type": "adaptive"},
        "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
        "output_config": {"effort": "high"},
        "stream": True,
    }


def turn_of_an_older_model(model: str, *said: str) -> dict[str, Any]:
    """Returns the same as for names of models that know a budget of thoughts and no effort."""
    body = turn(model, *said)
    del body["output_config"], body["messages"][1]
    return body | {"thinking": {"type": "enabled", "budget_tokens": 31_999}}


def results(model: str, answer: list[dict[str, Any]], *said: str) -> dict[str, Any]:
    """Returns the request after an answer of two calls: results in another order, one with an image."""
    body = turn(model, *said)
    calls = [block["id"] for block in answer if block["type"] == "tool_use"]
    image = {"type": "image", "source": {"type": "base64", "data": b64(png()), "media_type": "image/png"}}
    second = {"type": "tool_result", "tool_use_id": calls[1], "content": [image]}
    first = {"type": "tool_result", "content": "done", "is_error": False, "tool_use_id": calls[0], **_KEPT}
    body["messages"] += [
        {"role": "assistant", "content": answer},
        {"role": "user", "content": [second, first]},
    ]
    return body


def title(model: str, said: str) -> dict[str, Any]:
    """Returns the request for a session's title."""
    body = turn(model, f"<session>\n{said}\n</session>")
    body |= {
        "messages": [{"role": "user", "content": [_words(f"<session>\n{said}\n</session>")]}],
        "system": _system("2.1.197.7d4", is_kept=False),
        "tools": [],
        "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": TITLE_SCHEMA}},
    }
    del body["thinking"], body["context_management"]
    return body


def counting(model: str, *tools: dict[str, Any]) -> dict[str, Any]:
    """Returns one of the many requests of /context."""
    return {"model": model, "messages": [{"role": "user", "content": "foo"}], "tools": list(tools)}


def shape(body: dict[str, Any]) -> set[str]:
    """Returns the paths of all fields with their types, and the words of schemas, but no texts."""
    tools = body.get("tools", [])
    words = {f"schema:{word}" for tool in tools for word in _schema_words(tool.get("input_schema", {}))}
    plain = body | {
        "tools": [{key: each for key, each in tool.items() if key != "input_schema"} for tool in tools]
    }
    return words | set(_paths(plain, ""))


def _paths(value: Any, path: str) -> Iterator[str]:
    if isinstance(value, list):
        for each in value:
            yield from _paths(each, f"{path}[]")
    elif isinstance(value, dict):
        marks = [f"({value[key]})" for key in ("role", "type") if isinstance(value.get(key), str)]
        path += "".join(marks)
        for key, each in value.items():
            if key == "input":  # what the model called with is its own
                yield f"{path}.input"
            elif key not in ("role", "type"):
                yield from _paths(each, f"{path}.{key}")
    else:
        yield f"{path}:{type(value).__name__}"


def _schema_words(schema: Any) -> Iterator[str]:
    if not isinstance(schema, dict):
        return
    for word, value in schema.items():
        yield word
        if word == "properties":
            for each in value.values():
                yield from _schema_words(each)
        for each in value if isinstance(value, list) else [value]:
            if word != "properties" and word not in ("default", "const", "enum"):
                yield from _schema_words(each)
