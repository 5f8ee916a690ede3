"""Bodies OpenAI's clients send. Unknown fields are ignored and null means "not given"."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

from turbov2.wire._encoding import Dtype

TokenId = Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]


class EmbeddingsBody(msgspec.Struct):
    """POST /v1/embeddings of OpenAI, Voyage and Jina.

    `input_type` and `task` choose the model's prompt. `partial_results` is ours:
    inputs that fail alone come with an `error` beside the others' vectors.
    """

    model: str | None = None
    input: str | list[str | TokenId | list[TokenId]] | None = None
    encoding_format: Literal["float", "base64"] | None = None
    dimensions: int | None = None
    input_type: Literal["query", "document"] | None = None  # this and the next three are Voyage's
    truncation: bool | None = None
    output_dimension: int | None = None
    output_dtype: Dtype | None = None
    task: str | None = None  # this and the next are Jina's
    late_chunking: bool | None = None
    partial_results: bool | None = None


class ImageUrl(msgspec.Struct):
    """An image in a message. `detail` is ignored: how an image is cut up is the model's own affair."""

    url: str


class FilePart(msgspec.Struct):
    """A file in a message: `file_data` is a data URI or base64."""

    file_data: str | None = None
    file_id: str | None = None


class ContentPart(msgspec.Struct):
    """A part of a message. Which field counts follows from `type`; some clients send the bare URL."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageUrl | str | None = None
    file: FilePart | None = None


class CalledFunction(msgspec.Struct):
    """What a call is of. `arguments` are a JSON object as text."""

    name: str | None = None
    arguments: str | dict[str, Any] | None = None


class ToolCall(msgspec.Struct):
    """A call in an assistant's message."""

    id: str | None = None
    function: CalledFunction | None = None


class ChatMessage(msgspec.Struct):
    """One turn. `reasoning` is what vLLM and Ollama call thoughts, `reasoning_content` what others do."""

    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None
    function_call: dict[str, Any] | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class JsonSchema(msgspec.Struct):
    """`response_format.json_schema`."""

    schema: dict[str, Any] | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`."""

    type: str = "text"
    json_schema: JsonSchema | None = None


class Function(msgspec.Struct):
    """A function that may be called."""

    name: str | None = None
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct):
    """A tool: `type` "function" alone."""

    type: str = "function"
    function: Function | None = None


class WritingBody(msgspec.Struct):
    """What chats and completions take. `top_k`, `min_p` and `repetition_penalty` are vLLM's."""

    model: str | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None


class ChatBody(WritingBody):
    """POST /v1/chat/completions."""

    messages: list[ChatMessage] | None = None
    max_completion_tokens: int | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Tool] | None = None
    tool_choice: str | dict[str, Any] | None = None
    parallel_tool_calls: bool | None = None
    functions: list[Any] | None = None
    response_format: ResponseFormat | None = None
    reasoning_effort: str | None = None


class CompletionsBody(WritingBody):
    """POST /v1/completions."""

    prompt: str | list[Any] | None = None
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | None = None
