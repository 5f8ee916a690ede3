"""POST /v1/chat/completions → canonical requests. Pure but for an answer's id and time."""

from __future__ import annotations

import secrets
import time
from typing import TypeVar

import msgspec
from msgspec.structs import replace

from turbov2.errors import InvalidRequest
from turbov2.types import ChatRequest, Part, Role, ThinkingPart
from turbov2.wire._body import parse_json
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import Limits
from turbov2.wire._media import unpack_file
from turbov2.wire.openai.schema import ChatBody, ChatMessage, ContentPart, ResponseFormat
from turbov2.wire.openai.writing import parse_effort, parse_format, parse_sampling, parse_tools, refuse

T = TypeVar("T")

_BODY = msgspec.json.Decoder(ChatBody)
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
}


class AskedText(msgspec.Struct, frozen=True):
    """What a request asks for, and what every part of its answer repeats."""

    request: ChatRequest
    model: str  # as the request spells it
    is_streamed: bool
    has_usage: bool  # of a stream: its last frame tells the tokens
    id: str
    created_s: int


def parse_chat(body: bytes, limits: Limits) -> AskedText:
    """Returns what is asked for. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    if not asked.model:
        raise InvalidRequest("model is required", param="model")
    _refuse_unsupported(asked)
    conversation = Conversation(limits)
    for index, message in enumerate(asked.messages or ()):
        _say(conversation, message, f"messages[{index}]")
    has_new = asked.max_completion_tokens is not None
    max_tokens = asked.max_completion_tokens if has_new else asked.max_tokens
    sampling = parse_sampling(asked, max_tokens, "max_completion_tokens" if has_new else "max_tokens")
    functions = [(tool.type, tool.function) for tool in asked.tools or ()]
    tools, choice = parse_tools(functions, asked.tool_choice, asked.parallel_tool_calls)
    format = asked.response_format or ResponseFormat()
    shape = format.json_schema.schema if format.json_schema is not None else None
    return AskedText(
        request=replace(
            conversation.request(asked.model, sampling),
            tools=tools,
            choice=choice,
            schema=parse_format(format.type, shape, "response_format"),
            thinks=parse_effort(asked.reasoning_effort),
        ),
        model=asked.model,
        is_streamed=bool(asked.stream),
        has_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created_s=int(time.time()),
    )


def _refuse_unsupported(asked: ChatBody) -> None:
    refuse(
        (
            ("functions", bool(asked.functions), "send them as tools"),
            ("n", asked.n not in (None, 1), f"one answer is written a request, not {asked.n}"),
            ("logprobs", bool(asked.logprobs or asked.top_logprobs), "probabilities of tokens are not told"),
            ("logit_bias", bool(asked.logit_bias), "tokens cannot be favoured"),
        )
    )


def _say(conversation: Conversation, message: ChatMessage, name: str) -> None:
    role = _ROLES.get(message.role)
    if message.function_call or message.role == "function":
        raise InvalidRequest(f"{name} is about a function; send it as a call of a tool", param=name)
    if role is None:
        known = ", ".join(_ROLES)
        raise InvalidRequest(f"{name}.role is '{message.role[:40]}', expected {known}", param=f"{name}.role")
    parts = _content(conversation, message, f"{name}.content")
    if role == "tool":
        conversation.answer(message.tool_call_id or "", parts)
        return
    thought = message.reasoning or message.reasoning_content
    thoughts: list[Part] = [ThinkingPart(thought)] if thought and role == "assistant" else []
    conversation.say(role, [*thoughts, *parts, *_calls(conversation, message, name)], name)


def _content(conversation: Conversation, message: ChatMessage, name: str) -> list[Part]:
    if isinstance(message.content, list):
        return [_part(conversation, part, f"{name}[{at}]") for at, part in enumerate(message.content)]
    if not message.content and message.tool_calls:
        return []
    return [conversation.text(message.content or "", name)]


def _calls(conversation: Conversation, message: ChatMessage, name: str) -> list[Part]:
    calls: list[Part] = []
    for index, call in enumerate(message.tool_calls or ()):
        where = f"{name}.tool_calls[{index}]"
        function = _given(call.function, f"{where}.function")
        calls.append(conversation.call(call.id or "", function.name or "", function.arguments, where))
    return calls


def _part(conversation: Conversation, part: ContentPart, name: str) -> Part:
    if part.type in ("text", "refusal"):
        text = part.text if part.type == "text" else part.refusal
        return conversation.text(_given(text, f"{name}.{part.type}"), f"{name}.{part.type}")
    if part.type == "image_url":
        image = part.image_url
        url = image if isinstance(image, str) else _given(image, f"{name}.image_url").url
        return conversation.image(unpack_file(url, f"{name}.image_url.url"), f"{name}.image_url.url")
    if part.type == "file":
        where = f"{name}.file.file_data"
        file = _given(_given(part.file, f"{name}.file").file_data, where)
        return conversation.image(unpack_file(file, where), where, has_all_pages=True)
    raise InvalidRequest(
        f"{name}.type is '{part.type[:40]}', expected text, image_url or file", param=f"{name}.type"
    )


def _given(value: T | None, name: str) -> T:
    if value is None:
        raise InvalidRequest(f"{name} is required", param=name)
    return value
