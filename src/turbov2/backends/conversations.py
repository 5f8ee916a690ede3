"""A task's conversation as chat templates take it: messages and tools as OpenAI's API names their fields."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from turbov2.backends.control_tokens import ControlTokens
from turbov2.backends.templates import Message
from turbov2.types import (
    GenerateTask,
    ImagePart,
    Part,
    PromptMessage,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
)


def messages_of(task: GenerateTask, tokens: ControlTokens, image_mark: str = "") -> list[Message]:
    """Returns the turns, control tokens' names in them marked. image_mark: what stands for an image."""
    return [_message_of(message, tokens, image_mark) for message in task.messages]


def tools_of(task: GenerateTask, tokens: ControlTokens) -> list[dict[str, Any]] | None:
    """Returns the tools that the model is told of, marked likewise; None where it may call none."""
    if task.choice.kind == "none" or not task.tools:
        return None
    return [{"type": "function", "function": tokens.all_marked(_function_of(tool))} for tool in task.tools]


def _function_of(tool: Tool) -> dict[str, Any]:
    said = {"description": tool.description} if tool.description else {}
    return {"name": tool.name, **said, "parameters": _read(tool.parameters)}


def _message_of(message: PromptMessage, tokens: ControlTokens, image_mark: str) -> Message:
    told: Message = {"role": message.role, "content": _content_of(message.parts, tokens, image_mark)}
    if message.role == "tool":
        named = {"name": message.name, "tool_call_id": message.call_id}
        return told | {key: tokens.marked(value) for key, value in named.items() if value}
    if thoughts := "".join(part.text for part in message.parts if isinstance(part, ThinkingPart)):
        told["reasoning_content"] = tokens.marked(thoughts)
    if calls := [_call_of(part, tokens) for part in message.parts if isinstance(part, ToolCallPart)]:
        told["tool_calls"] = calls
    return told


def _content_of(parts: Sequence[Part], tokens: ControlTokens, image_mark: str) -> str:
    """Returns the parts as llama.cpp's own server joins them."""
    content, was_text = "", False
    for part in parts:
        if isinstance(part, TextPart):
            content += ("\n" if was_text else "") + part.text
        elif isinstance(part, ImagePart):
            content += image_mark
        was_text = isinstance(part, TextPart)
    return tokens.marked(content)  # whole, for a name may lie across an image that leaves nothing


def _call_of(part: ToolCallPart, tokens: ControlTokens) -> dict[str, Any]:
    function = {"name": part.name, "arguments": _read(part.arguments)}
    return {"type": "function", "id": tokens.marked(part.id), "function": tokens.all_marked(function)}


def _read(text: str) -> Any:
    """Returns what JSON says; what is none, as models write it at times, as it is."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text
