"""What another server is asked, in OpenAI's words. Pure."""

from __future__ import annotations

import base64
import struct
import zlib
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from turbov2.runners.remote.options import RemoteOptions
from turbov2.types import (
    GenerateTask,
    ImagePart,
    PromptMessage,
    Sampling,
    TextPart,
    Tool,
    ToolCallPart,
    ToolChoice,
)

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

Fields = dict[str, Any]


def path_of(task: GenerateTask) -> str:
    """Returns where the task is asked for, below the base URL."""
    return "/completions" if task.is_raw else "/chat/completions"


def generate_body(task: GenerateTask, images: Sequence[Pixels], options: RemoteOptions) -> bytes:
    """Returns the request for an answer. Fields that only some servers know are there only if asked for."""
    body = prompt_fields(task, images, options) | _sampling_fields(task.sampling, options)
    body |= {"stream": True, "stream_options": {"include_usage": True}}
    if task.schema is not None:
        body["response_format"] = _format_of(task.schema)
    if task.tools:
        body["tool_choice"] = _choice_of(task.choice)
        if not task.choice.is_parallel:
            body["parallel_tool_calls"] = False
    if task.thinks is not None:
        body |= _thinking_fields(task.thinks, options)
    return msgspec.json.encode(body)


def count_body(task: GenerateTask, images: Sequence[Pixels], options: RemoteOptions) -> bytes:
    """Returns the request that vLLM's /tokenize takes."""
    return msgspec.json.encode(prompt_fields(task, images, options))


def prompt_fields(task: GenerateTask, images: Sequence[Pixels], options: RemoteOptions) -> Fields:
    """Returns the model and what it reads."""
    if task.is_raw:
        return {"model": options.model, "prompt": _text_of(task.messages[0])}
    body: Fields = {"model": options.model}
    body["messages"] = [_message_of(message, images) for message in task.messages]
    if task.tools:
        body["tools"] = [_tool_of(tool) for tool in task.tools]
    return body


def _message_of(message: PromptMessage, images: Sequence[Pixels]) -> Fields:
    """Thoughts are left out: servers that do not know them refuse the field."""
    told: Fields = {"role": message.role, "content": _content_of(message, images)}
    calls = [_call_of(part) for part in message.parts if isinstance(part, ToolCallPart)]
    if calls:
        told |= {"content": told["content"] or None, "tool_calls": calls}
    if message.role == "tool":
        told["tool_call_id"] = message.call_id
    return told


def _content_of(message: PromptMessage, images: Sequence[Pixels]) -> str | list[Fields]:
    if not any(isinstance(part, ImagePart) for part in message.parts):
        return _text_of(message)
    return [
        {"type": "text", "text": part.text}
        if isinstance(part, TextPart)
        else {"type": "image_url", "image_url": {"url": _data_url(images[part.index])}}
        for part in message.parts
        if isinstance(part, TextPart | ImagePart)
    ]


def _text_of(message: PromptMessage) -> str:
    return "".join(part.text for part in message.parts if isinstance(part, TextPart))


def _call_of(part: ToolCallPart) -> Fields:
    return {
        "id": part.id,
        "type": "function",
        "function": {"name": part.name, "arguments": part.arguments},
    }


def _tool_of(tool: Tool) -> Fields:
    function: Fields = {"name": tool.name, "parameters": msgspec.Raw(tool.parameters.encode())}
    if tool.description:
        function["description"] = tool.description
    return {"type": "function", "function": function}


def _choice_of(choice: ToolChoice) -> str | Fields:
    return {"type": "function", "function": {"name": choice.name}} if choice.name else choice.kind


def _format_of(schema: str) -> Fields:
    if schema == "{}":
        return {"type": "json_object"}
    told = {"name": "answer", "schema": msgspec.Raw(schema.encode())}
    return {"type": "json_schema", "json_schema": told}


def _thinking_fields(thinks: bool, options: RemoteOptions) -> Fields:
    if options.thinking_field == "enable_thinking":
        return {"chat_template_kwargs": {"enable_thinking": thinks}}
    return {"reasoning_effort": "medium" if thinks else "none"}


def _sampling_fields(sampling: Sampling, options: RemoteOptions) -> Fields:
    asked: Fields = {
        options.max_tokens_field: sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "top_k": sampling.top_k,
        "min_p": sampling.min_p,
        "repetition_penalty": sampling.repetition_penalty,
        "presence_penalty": sampling.presence_penalty,
        "frequency_penalty": sampling.frequency_penalty,
        "seed": sampling.seed,
        "stop": list(sampling.stop) or None,
    }
    return {name: value for name, value in asked.items() if value is not None}


def _data_url(pixels: Pixels) -> str:
    return f"data:image/png;base64,{base64.b64encode(_png(pixels)).decode()}"


def _png(pixels: Pixels) -> bytes:
    """Returns uint8 `[h, w, 3]` as a PNG file, unfiltered (https://www.w3.org/TR/png-3/)."""
    height, width, n_channels = pixels.shape
    rows = np.zeros((height, 1 + width * n_channels), np.uint8)  # each row begins with its filter, 0: none
    rows[:, 1:] = pixels.reshape(height, -1)
    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)  # 8 bits, RGB, not interlaced
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows.tobytes(), 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_png_chunk(kind, content) for kind, content in chunks)


def _png_chunk(kind: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(kind))
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", checksum)
