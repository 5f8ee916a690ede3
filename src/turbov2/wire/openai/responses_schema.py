"""Bodies of POST /v1/responses. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.wire.openai.schema import Function


class InputPart(msgspec.Struct):
    """A part of a message or of a call's output. Which field counts follows from `type`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    file_data: str | None = None


class InputItem(msgspec.Struct):
    """A message, a call, what it came to, or thoughts. Which field counts follows from `type`."""

    type: str = "message"
    role: str | None = None
    content: str | list[InputPart] | None = None
    summary: list[InputPart] | None = None  # of thoughts
    call_id: str | None = None  # this and the next two: a call
    name: str | None = None
    arguments: str | None = None
    output: str | list[InputPart] | None = None  # what it came to


class Tool(Function):
    """A tool: a function whose fields stand beside its type."""

    type: str = "function"


class TextFormat(msgspec.Struct):
    """`text.format`."""

    type: str = "text"
    schema: dict[str, Any] | None = None


class Text(msgspec.Struct):
    """`text`."""

    format: TextFormat | None = None


class Reasoning(msgspec.Struct):
    """`reasoning`."""

    effort: str | None = None


class ResponsesBody(msgspec.Struct):
    """POST /v1/responses."""

    model: str | None = None
    input: str | list[InputItem] | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    stream: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    text: Text | None = None
    reasoning: Reasoning | None = None
    metadata: dict[str, Any] | None = None
    previous_response_id: str | None = None
    conversation: Any = None
    background: bool | None = None
    prompt: Any = None
    top_logprobs: int | None = None
