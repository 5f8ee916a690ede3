"""Anthropic bodies → canonical requests, results → Anthropic bodies. Pure but for an answer's id."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.types import ChatRequest, Finish, Part, Role, Sampling
from turbov2.wire._body import parse_json
from turbov2.wire._chat import Answer
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import Limits
from turbov2.wire._media import unpack_file
from turbov2.wire._sampling import parse_max_tokens, parse_stops, within
from turbov2.wire.anthropic.schema import Block, Message, MessagesBody, Source

_BODY = msgspec.json.Decoder(MessagesBody)
_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
_THOUGHTS = ("thinking", "redacted_thinking")  # of earlier turns, from models that think
_TOOLS = ("tool_use", "tool_result", "server_tool_use")


class AskedMessage(msgspec.Struct, frozen=True):
    """What a request asks for, and what its answer repeats."""

    request: ChatRequest
    model: str  # as the request spells it
    is_streamed: bool
    id: str


def parse_messages(body: bytes, limits: Limits) -> AskedMessage:
    """Returns what is asked for. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    for name, is_here in (("model", bool(asked.model)), ("max_tokens", asked.max_tokens is not None)):
        if not is_here:
            raise InvalidRequest(f"{name}: field required", param=name)
    _check_supported(asked)
    conversation = Conversation(limits)
    if asked.system:
        conversation.say("system", _parts(conversation, asked.system, "system"), "system")
    for index, message in enumerate(asked.messages or ()):
        _say(conversation, message, f"messages[{index}]")
    if not asked.messages:
        raise InvalidRequest("messages is empty: send at least one of role user", param="messages")
    model = asked.model or ""
    request = conversation.request(model, _sampling(asked))
    return AskedMessage(request, model, bool(asked.stream), f"msg_{secrets.token_hex(12)}")


def render_message(asked: AskedMessage, answer: Answer) -> bytes:
    """Returns the whole answer."""
    finish = answer.result.finish
    reason, sequence = stop_of(finish)
    content = [{"type": "text", "text": answer.text}]
    return msgspec.json.encode(message_of(asked, content, reason, sequence, usage_of(finish)))


def message_of(
    asked: AskedMessage,
    content: Sequence[dict[str, Any]],
    stop_reason: str | None,
    stop_sequence: str | None,
    usage: dict[str, int],
) -> dict[str, Any]:
    """Returns the message as far as it is known."""
    return {
        "id": asked.id,
        "type": "message",
        "role": "assistant",
        "model": asked.model,
        "content": content,
        "stop_reason": stop_reason,
        "stop_sequence": stop_sequence,
        "usage": usage,
    }


def stop_of(finish: Finish) -> tuple[str, str | None]:
    """Returns why the answer ended, and the stop text that ended it."""
    if finish.stopped_by is not None:
        return "stop_sequence", finish.stopped_by
    return ("max_tokens" if finish.reason == "length" else "end_turn"), None


def usage_of(finish: Finish) -> dict[str, int]:
    """Returns the tokens. Nothing is cached; many readers add those counts up, so they are there."""
    return {
        "input_tokens": finish.n_prompt_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": 0,
        "output_tokens": finish.n_output_tokens,
    }


def _check_supported(asked: MessagesBody) -> None:
    """Raises: InvalidRequest for what would change the answer and is not built."""
    has_choice = asked.tool_choice is not None and asked.tool_choice.type not in ("auto", "none")
    for name, is_asked in (("tools", bool(asked.tools)), ("tool_choice", has_choice)):
        if is_asked:
            raise InvalidRequest(f"{name}: tools cannot be called yet; leave them out", param=name)
    if asked.output_config is not None and asked.output_config.format:
        raise InvalidRequest(
            "output_config.format: answers cannot be held to a schema yet; leave it out",
            param="output_config.format",
        )


def _sampling(asked: MessagesBody) -> Sampling:
    return Sampling(
        max_tokens=parse_max_tokens(asked.max_tokens, "max_tokens"),
        temperature=within(asked.temperature, "temperature", 0, 1),
        top_k=None if asked.top_k is None else max(asked.top_k, 0),
        top_p=within(asked.top_p, "top_p", 0, 1),
        stop=parse_stops(asked.stop_sequences, "stop_sequences"),
    )


def _say(conversation: Conversation, message: Message, name: str) -> None:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(
            f"{name}.role is '{message.role[:40]}', expected user or assistant", param=f"{name}.role"
        )
    if role == "system" and conversation.is_begun:
        role = (
            "user"  # coding agents remind of rules midway; many templates know one system message, in front
        )
    conversation.say(role, _parts(conversation, message.content, f"{name}.content"), name)


def _parts(conversation: Conversation, content: str | list[Block], name: str) -> list[Part]:
    if isinstance(content, str):
        return [conversation.text(content, name)]
    blocks = [(block, f"{name}[{index}]") for index, block in enumerate(content)]
    return [part for block, where in blocks for part in _block(conversation, block, where)]


def _block(conversation: Conversation, block: Block, name: str) -> list[Part]:
    if block.type == "text":
        if block.text is None:
            raise InvalidRequest(f"{name}.text: field required", param=f"{name}.text")
        return [conversation.text(block.text, f"{name}.text")]
    if block.type in _THOUGHTS:
        return []
    if block.type in _TOOLS:
        raise InvalidRequest(f"{name} is of type {block.type}, and tools cannot be called yet", param=name)
    if block.type not in ("image", "document"):
        raise InvalidRequest(
            f"{name}.type is '{block.type[:40]}', expected text, image or document", param=f"{name}.type"
        )
    if block.source is None:
        raise InvalidRequest(f"{name}.source: field required", param=f"{name}.source")
    if block.type == "image":
        return [conversation.image(_file(block.source, f"{name}.source"), f"{name}.source")]
    said = [
        conversation.text(text, f"{name}.{field}")
        for field, text in (("title", block.title), ("context", block.context))
        if text
    ]
    return [*said, *_document(conversation, block.source, f"{name}.source")]


def _document(conversation: Conversation, source: Source, name: str) -> list[Part]:
    """Returns a document's words, or each of its pages as an image."""
    if source.type == "text":
        return [conversation.text(source.data or "", f"{name}.data")]
    if source.type == "content":
        content = source.content or ""
        if any(block.type not in ("text", "image") for block in content if isinstance(block, Block)):
            raise InvalidRequest(f"{name}.content holds more than texts and images", param=f"{name}.content")
        return _parts(conversation, content, f"{name}.content")
    return [conversation.image(_file(source, name), name, has_all_pages=True)]


def _file(source: Source, name: str) -> bytes:
    if source.type == "base64":
        return unpack_file(source.data, f"{name}.data")
    if source.type == "url":
        raise InvalidRequest(f"{name} is a URL, and URLs are not fetched here; send base64", param=name)
    raise InvalidRequest(f"{name}.type is '{source.type[:40]}', expected base64", param=f"{name}.type")
