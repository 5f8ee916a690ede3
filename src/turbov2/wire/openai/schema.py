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


class ChatMessage(msgspec.Struct):
    """One turn."""

    role: str
    content: str | list[ContentPart] | None = None
    tool_calls: list[Any] | None = None
    function_call: dict[str, Any] | None = None


class StreamOptions(msgspec.Struct):
    """`stream_options`."""

    include_usage: bool | None = None


class ResponseFormat(msgspec.Struct):
    """`response_format`."""

    type: str = "text"


class ChatBody(msgspec.Struct):
    """POST /v1/chat/completions. `top_k`, `min_p` and `repetition_penalty` are vLLM's."""

    model: str | None = None
    messages: list[ChatMessage] | None = None
    max_tokens: int | None = None
    max_completion_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    n: int | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    logit_bias: dict[str, float] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    tools: list[Any] | None = None
    functions: list[Any] | None = None
    response_format: ResponseFormat | None = None
