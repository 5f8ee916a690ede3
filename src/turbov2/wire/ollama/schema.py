"""Bodies Ollama's clients send. Unknown fields are ignored and null means "not given", as there."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from turbov2.types import OutputKind
from turbov2.wire._encoding import Format
from turbov2.wire._keep_alive import KeepAlive

Number = int | float


class Options(msgspec.Struct):
    """`options`: checked for type as Ollama does. Some say how to write; none changes an embedding."""

    num_ctx: Number | None = None
    num_batch: Number | None = None
    num_gpu: Number | None = None
    main_gpu: Number | None = None
    num_thread: Number | None = None
    num_keep: Number | None = None
    num_predict: Number | None = None
    seed: Number | None = None
    top_k: Number | None = None
    top_p: Number | None = None
    min_p: Number | None = None
    typical_p: Number | None = None
    repeat_last_n: Number | None = None
    temperature: Number | None = None
    repeat_penalty: Number | None = None
    presence_penalty: Number | None = None
    frequency_penalty: Number | None = None
    use_mmap: bool | None = None
    stop: list[str] | None = None


class EmbedBody(msgspec.Struct):
    """POST /api/embed. What follows `options` is ours.

    `input_type`, or `prompt_name`, "query" puts the model's query prompt in front; `outputs` are what is
    wanted of each input; with `partial_results` inputs that fail alone are null, and `errors` says why; with
    `windows` a text longer than the model reads is embedded whole, in overlapping windows.
    """

    model: str | None = None
    input: str | list[str] | None = None
    truncate: bool | None = None
    dimensions: int | None = None
    keep_alive: KeepAlive = None
    options: Options | None = None
    input_type: Literal["query", "document"] | None = None
    prompt_name: str | None = None
    encoding_format: Format | None = None
    outputs: list[OutputKind] | None = None
    partial_results: bool | None = None
    windows: bool | None = None


class EmbeddingsBody(msgspec.Struct):
    """POST /api/embeddings, the older form: one prompt, one vector, not normalised."""

    model: str | None = None
    prompt: str | None = None
    keep_alive: KeepAlive = None
    options: Options | None = None


class ModelBody(msgspec.Struct):
    """POST /api/show and /api/pull, DELETE /api/delete. Old clients and the JavaScript one send `name`."""

    model: str | None = None
    name: str | None = None
    stream: bool | None = None
    verbose: bool | None = None
    accept_license: bool | None = None  # of a pull, and ours


class Function(msgspec.Struct):
    """A function that may be called."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    """A tool."""

    function: Function


class CalledFunction(msgspec.Struct):
    """What a call is of. `arguments` are an object; some clients send its text, as with OpenAI's API."""

    name: str | None = None
    arguments: dict[str, Any] | str | None = None


class ToolCall(msgspec.Struct):
    """A call in an assistant's message."""

    function: CalledFunction
    id: str | None = None


class WritingBody(msgspec.Struct):
    """What both routes that write take."""

    model: str | None = None
    stream: bool | None = None
    keep_alive: KeepAlive = None
    options: Options | None = None
    format: str | dict[str, Any] | None = None
    think: bool | str | None = None
    logprobs: bool | None = None


class ChatMessage(msgspec.Struct):
    """One turn. A result names its tool as `tool_name`, or `name`, and may name its call."""

    role: str
    content: str | None = None
    thinking: str | None = None
    images: list[str] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_name: str | None = None
    name: str | None = None
    tool_call_id: str | None = None


class ChatBody(WritingBody):
    """POST /api/chat."""

    messages: list[ChatMessage] | None = None
    tools: list[Tool] | None = None


class GenerateBody(WritingBody):
    """POST /api/generate."""

    prompt: str | None = None
    system: str | None = None
    images: list[str] | None = None
    suffix: str | None = None
    template: str | None = None
    raw: bool | None = None
    context: list[int] | None = None
