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
    source: Source | None = None
    title: str | None = None
    context: str | None = None


class Message(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[Block]


class OutputConfig(msgspec.Struct):
    """`output_config`."""

    format: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct):
    """`tool_choice`."""

    type: str = "auto"


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
    tools: list[Any] | None = None
    tool_choice: ToolChoice | None = None
    output_config: OutputConfig | None = None
