"""Bodies Anthropic's clients send. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

from typing import Any

import msgspec


class Source(msgspec.Struct):
    """Where an image or a document is: in `data` base64, or plain text; in `content` blocks."""

    type: str
    data: str | None = None
    content: str | list[Block] | None = None


class Block(msgspec.Struct):
    """A part of a message. Which field counts follows from `type`."""

    type: str
    text: str | None = None
    source: Source | Any = None  # of a search's result: where it was found
    title: str | None = None
    context: str | None = None
    thinking: str | None = None
    id: str | None = None  # this and the next two: a call
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None  # this and the next two: what it came to
    content: str | list[Block] | Any = None
    is_error: bool | None = None
    tool_name: str | None = None  # of a reference to a tool


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class Tool(msgspec.Struct):
    """A tool. One of the provider's own has a dated `type` and no schema."""

    name: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None
    type: str | None = None


class Thinking(msgspec.Struct):
    """`thinking`."""

    type: str = "disabled"
    display: str | None = None


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    format: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: str = "auto"
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class MessagesBody(msgspec.Struct):
    """POST /v1/messages."""

    model: str | None = None
    max_tokens: int | None = None
    messages: list[Message] | None = None
    system: str | list[Block] | None = None
    stream: bool | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    stop_sequences: list[str] | None = None
    tools: list[Tool] | None = None
    thinking: Thinking | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
    thread: Any = None
