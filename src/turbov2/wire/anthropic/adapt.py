"""Anthropic bodies → canonical requests, results → Anthropic bodies. Pure but for an answer's id."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from typing import Any, TypeVar

import msgspec
from msgspec.structs import replace

from turbov2.errors import InvalidRequest
from turbov2.types import (
    ChatRequest,
    Finish,
    PromptCounted,
    Sampling,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
)
from turbov2.wire._body import parse_json
from turbov2.wire._chat import Answer
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import Limits
from turbov2.wire._json_objects import object_text
from turbov2.wire._sampling import parse_max_tokens, parse_stops, within
from turbov2.wire._tools import check_tools, parse_tool
from turbov2.wire.anthropic import schema
from turbov2.wire.anthropic.blocks import say_message, say_system
from turbov2.wire.anthropic.schema import MessagesBody, Thinking

T = TypeVar("T")

_BODY = msgspec.json.Decoder(MessagesBody)
_THINKS = {"enabled": True, "disabled": False, "adaptive": None, "between_tools": None}
NOTHING = {"stop_details": None, "container": None}  # its clients' types have them always
SIGNATURE = "unsigned"  # clients send it back as it is, and some send only thoughts that have one


class AskedMessage(msgspec.Struct, frozen=True):
    """What a request asks for, and what its answer repeats."""

    request: ChatRequest
    model: str  # as the request spells it
    is_streamed: bool
    shows_thinking: bool
    id: str


def parse_messages(body: bytes, limits: Limits) -> AskedMessage:
    """Returns what is asked for. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    model = _required(asked.model, "model")
    _required(asked.max_tokens, "max_tokens")
    is_thinking = asked.thinking is not None and asked.thinking.type != "disabled"
    return AskedMessage(
        request=_request(asked, model, limits),
        model=model,
        is_streamed=bool(asked.stream),
        shows_thinking=is_thinking and asked.thinking is not None and asked.thinking.display != "omitted",
        id=f"msg_{secrets.token_hex(12)}",
    )


def parse_counting(body: bytes, limits: Limits) -> ChatRequest:
    """Returns the conversation whose tokens are to be counted. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    return _request(asked, _required(asked.model, "model"), limits)


def render_message(asked: AskedMessage, answer: Answer) -> bytes:
    """Returns the whole answer."""
    finish = answer.result.finish
    reason, sequence = stop_of(finish, asked.request.sampling.max_tokens)
    blocks = [
        _block(part) for part in answer.parts if asked.shows_thinking or not isinstance(part, ThinkingPart)
    ]
    content = blocks or [text_block()]
    return msgspec.json.encode(
        message_of(asked, content, reason, sequence, usage_of(finish, finish.n_output_tokens))
    )


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
        **NOTHING,
        "usage": usage,
    }


def text_block(text: str = "") -> dict[str, Any]:
    """Returns a block of words."""
    return {"type": "text", "text": text}


def thinking_block(thinking: str = "", signature: str = "") -> dict[str, Any]:
    """Returns a block of thoughts."""
    return {"type": "thinking", "thinking": thinking, "signature": signature}


def call_block(call_id: str, name: str, arguments: str = "{}") -> dict[str, Any]:
    """Returns a block that calls a tool. arguments: a JSON object as text."""
    return {
        "type": "tool_use",
        "id": f"toolu_{call_id}",
        "name": name,
        "input": msgspec.Raw(arguments.encode()),
    }


def stop_of(finish: Finish, max_tokens: int) -> tuple[str, str | None]:
    """Returns why the answer ended, and the stop text that ended it. max_tokens: that it might have."""
    if finish.reason == "tool_calls":
        return "tool_use", None
    if finish.stopped_by is not None:
        return "stop_sequence", finish.stopped_by
    if finish.reason != "length":
        return "end_turn", None
    has_room = 0 < finish.n_output_tokens < max_tokens  # but the context has none
    return ("model_context_window_exceeded" if has_room else "max_tokens"), None


def usage_of(prompt: PromptCounted | Finish, n_output_tokens: int) -> dict[str, int]:
    """Returns the tokens; those that were not read again are counted apart, and nothing is sold as kept."""
    return {
        "input_tokens": prompt.n_prompt_tokens - prompt.n_cached_tokens,
        "cache_creation_input_tokens": 0,
        "cache_read_input_tokens": prompt.n_cached_tokens,
        "output_tokens": n_output_tokens,
    }


def _request(asked: MessagesBody, model: str, limits: Limits) -> ChatRequest:
    if asked.thread:
        raise InvalidRequest(
            "thread is not supported: nothing is kept between requests; leave it out and send the whole "
            "conversation",
            param="thread",
        )
    conversation = Conversation(limits)
    if asked.system:
        say_system(conversation, asked.system)
    for index, message in enumerate(asked.messages or ()):
        say_message(conversation, message, f"messages[{index}]")
    if not asked.messages:
        raise InvalidRequest("messages is empty: send at least one of role user", param="messages")
    tools, choice = _tools(asked)
    return replace(
        conversation.request(model, _sampling(asked)),
        tools=tools,
        choice=choice,
        schema=_schema(asked),
        thinks=_thinks(asked.thinking),
    )


def _block(part: TextPart | ThinkingPart | ToolCallPart) -> dict[str, Any]:
    if isinstance(part, TextPart):
        return text_block(part.text)
    if isinstance(part, ThinkingPart):
        return thinking_block(part.text, SIGNATURE)
    return call_block(part.id, part.name, part.arguments)


def _tools(asked: MessagesBody) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Returns the client's own tools: those of the provider (web search and the like) are not here.

    Raises: InvalidRequest.
    """
    own = [(tool, f"tools[{at}]") for at, tool in enumerate(asked.tools or ()) if not _is_providers(tool)]
    tools = tuple(parse_tool(each.name, each.description, each.input_schema, where) for each, where in own)
    choice = _choice(asked.tool_choice or schema.ToolChoice())
    if len(own) < len(asked.tools or ()) and choice.name not in {tool.name for tool in tools}:
        choice = replace(choice, kind="auto" if not tools or choice.name else choice.kind, name="")
    check_tools(tools, choice)
    return tools, choice


def _is_providers(tool: schema.Tool) -> bool:
    return tool.type not in (None, "custom") and tool.input_schema is None


def _choice(asked: schema.ToolChoice) -> ToolChoice:
    is_parallel = not asked.disable_parallel_tool_use
    match asked.type:
        case "auto":
            return ToolChoice(is_parallel=is_parallel)
        case "none":
            return ToolChoice("none")
        case "any":
            return ToolChoice("required", is_parallel=is_parallel)
        case "tool":
            return ToolChoice("required", _required(asked.name, "tool_choice.name"), is_parallel=False)
    raise InvalidRequest(
        f"tool_choice.type is '{asked.type[:40]}', expected auto, any, tool or none", param="tool_choice.type"
    )


def _schema(asked: MessagesBody) -> str | None:
    format = asked.output_config.format if asked.output_config is not None else None
    if not format:
        return None
    if format.get("type") != "json_schema":
        raise InvalidRequest("output_config.format.type is not json_schema", param="output_config.format")
    return object_text(format.get("schema"), "output_config.format.schema")


def _thinks(thinking: Thinking | None) -> bool | None:
    """Returns whether to think first: who does not ask for it gets none, as with the provider's models."""
    return _THINKS.get(thinking.type) if thinking is not None else False


def _sampling(asked: MessagesBody) -> Sampling:
    return Sampling(
        max_tokens=parse_max_tokens(asked.max_tokens, "max_tokens"),
        temperature=within(asked.temperature, "temperature", 0, 1),
        top_k=None if asked.top_k is None else max(asked.top_k, 0),
        top_p=within(asked.top_p, "top_p", 0, 1),
        stop=parse_stops(asked.stop_sequences, "stop_sequences"),
    )


def _required(value: T | None, name: str) -> T:
    if value is None or value == "":
        raise InvalidRequest(f"{name}: field required", param=name)
    return value
