"""Anthropic's content blocks → turns of a conversation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.types import Part, Role, ThinkingPart
from turbov2.wire._conversation import Conversation
from turbov2.wire._media import unpack_file
from turbov2.wire.anthropic.schema import Block, Message, Source

T = TypeVar("T")

_ROLES: dict[str, Role] = {"user": "user", "assistant": "assistant", "system": "system"}
# Of tools that the provider runs itself or defines, and what it keeps of a conversation: none of it is here.
# Tools that are added midway by a reference are told from the beginning.
_SKIPPED = (
    *("redacted_thinking", "server_tool_use", "mcp_tool_use", "mcp_tool_listing", "container_upload"),
    *("compaction", "fallback", "tool_addition", "tool_removal", "browser_state"),
)
# Claude Code says there which of its versions asks and how; it changes, and with it all that follows it
# would be read again.
_BILLING = "x-anthropic-billing-header:"


def say_system(conversation: Conversation, system: str | list[Block]) -> None:
    """Adds what stands in front of the messages. Raises: InvalidRequest."""
    if isinstance(system, list):
        system = [block for block in system if not (block.text or "").startswith(_BILLING)]
    conversation.say("system", parts_of(conversation, system, "system"), "system")


def say_message(conversation: Conversation, message: Message, name: str) -> None:
    """Adds one message: results of tools come first, whatever their place. Raises: InvalidRequest."""
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(
            f"{name}.role is '{message.role[:40]}', expected user or assistant", param=f"{name}.role"
        )
    if role == "system" and conversation.is_begun:
        role = (
            "user"  # coding agents remind of rules midway; many templates know one system message, in front
        )
    where = f"{name}.content"
    if isinstance(message.content, str):
        conversation.say(role, [conversation.text(message.content, where)], name)
        return
    blocks = [(block, f"{where}[{index}]") for index, block in enumerate(message.content)]
    for block, each in blocks:
        if block.type == "tool_result":
            _answer(conversation, block, each)
    said = [(block, each) for block, each in blocks if block.type != "tool_result"]
    conversation.say(role, [part for block, each in said for part in _block(conversation, block, each)], name)


def parts_of(conversation: Conversation, content: str | Sequence[Block], name: str) -> list[Part]:
    """Returns content as parts of a turn. Raises: InvalidRequest."""
    if isinstance(content, str):
        return [conversation.text(content, name)]
    blocks = [(block, f"{name}[{index}]") for index, block in enumerate(content)]
    return [part for block, where in blocks for part in _block(conversation, block, where)]


def _answer(conversation: Conversation, block: Block, name: str) -> None:
    parts = parts_of(conversation, _content_of(block, name), f"{name}.content")
    if block.is_error:
        parts.insert(0, conversation.text("Error:", name))
    conversation.answer(block.tool_use_id or "", parts)


def _content_of(block: Block, name: str) -> str | list[Block]:
    """Raises: InvalidRequest."""
    try:
        return msgspec.convert(block.content or "", str | list[Block])
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name}.content is neither a text nor blocks", param=name) from error


def _block(conversation: Conversation, block: Block, name: str) -> list[Part]:
    match block.type:
        case "text":
            text = _given(block.text, f"{name}.text")
            return [conversation.text(text, f"{name}.text")]
        case "thinking":
            return [ThinkingPart(block.thinking)] if block.thinking else []
        case "tool_use":
            return [conversation.call(block.id or "", block.name or "", block.input, name)]
        case "tool_reference":
            return [conversation.text(block.tool_name or "", name)]
        case "search_result":
            return _search_result(conversation, block, name)
        case "image" | "document":
            source = _source(block.source, f"{name}.source")
            if block.type == "image":
                return [conversation.image(_file(source, f"{name}.source"), f"{name}.source")]
            said = ((field, getattr(block, field)) for field in ("title", "context"))
            head = [conversation.text(text, f"{name}.{field}") for field, text in said if text]
            return [*head, *_document(conversation, source, f"{name}.source")]
        case kind if kind in _SKIPPED or kind.endswith("_tool_result"):
            return []
    raise InvalidRequest(
        f"{name}.type is '{block.type[:40]}', expected text, image, document, tool_use or tool_result",
        param=f"{name}.type",
    )


def _search_result(conversation: Conversation, block: Block, name: str) -> list[Part]:
    head = [text for text in (block.title, block.source) if isinstance(text, str) and text]
    content = _content_of(block, name)
    if any(isinstance(each, Block) and each.type == block.type for each in content):
        raise InvalidRequest(f"{name}.content holds a search_result in a search_result", param=name)
    found = parts_of(conversation, content, f"{name}.content")
    return [*(conversation.text(text, name) for text in head), *found]


def _document(conversation: Conversation, source: Source, name: str) -> list[Part]:
    """Returns a document's words, or each of its pages as an image."""
    if source.type == "text":
        return [conversation.text(source.data or "", f"{name}.data")]
    if source.type == "content":
        content = source.content or ""
        if any(block.type not in ("text", "image") for block in content if isinstance(block, Block)):
            raise InvalidRequest(f"{name}.content holds more than texts and images", param=f"{name}.content")
        return parts_of(conversation, content, f"{name}.content")
    return [conversation.image(_file(source, name), name, has_all_pages=True)]


def _source(source: object, name: str) -> Source:
    try:
        return msgspec.convert(_given(source, name), Source)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"{name} is no source of an image or a document", param=name) from error


def _file(source: Source, name: str) -> bytes:
    if source.type == "base64":
        return unpack_file(source.data, f"{name}.data")
    if source.type == "url":
        raise InvalidRequest(f"{name} is a URL, and URLs are not fetched here; send base64", param=name)
    raise InvalidRequest(f"{name}.type is '{source.type[:40]}', expected base64", param=f"{name}.type")


def _given(value: T | None, name: str) -> T:
    if value is None:
        raise InvalidRequest(f"{name}: field required", param=name)
    return value
