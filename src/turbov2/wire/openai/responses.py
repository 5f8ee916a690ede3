"""POST /v1/responses → canonical requests. Nothing is kept between two of them. Pure but for id and time."""

from __future__ import annotations

import secrets
import time
from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from turbov2.errors import InvalidRequest
from turbov2.types import ChatRequest, Part, Role, Sampling, ThinkingPart, Tool, ToolChoice
from turbov2.wire._body import parse_json
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import Limits
from turbov2.wire._media import unpack_file
from turbov2.wire._sampling import parse_max_tokens, within
from turbov2.wire.openai.responses_schema import (
    InputItem,
    InputPart,
    Reasoning,
    ResponsesBody,
    Text,
    TextFormat,
)
from turbov2.wire.openai.writing import parse_effort, parse_format, parse_tools, refuse

_BODY = msgspec.json.Decoder(ResponsesBody)
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class AskedResponse(msgspec.Struct, frozen=True):
    """What a request asks for, and what its answer repeats."""

    request: ChatRequest
    model: str  # as the request spells it
    is_streamed: bool
    echoed: dict[str, Any]  # fields of the answer that repeat the request's
    id: str
    created_s: int


def parse_response(body: bytes, limits: Limits) -> AskedResponse:
    """Returns what is asked for. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    if not asked.model:
        raise InvalidRequest("model is required", param="model")
    _refuse_unsupported(asked)
    conversation = Conversation(limits)
    if asked.instructions:
        text = conversation.text(asked.instructions, "instructions")
        conversation.say("system", [text], "instructions")
    _say_input(conversation, asked.input)
    sampling = Sampling(
        max_tokens=parse_max_tokens(asked.max_output_tokens, "max_output_tokens"),
        temperature=within(asked.temperature, "temperature", 0, 2),
        top_p=within(asked.top_p, "top_p", 0, 1),
    )
    tools, choice = _tools(asked)
    format = (asked.text or Text()).format or TextFormat()
    return AskedResponse(
        request=replace(
            conversation.request(asked.model, sampling),
            tools=tools,
            choice=choice,
            schema=parse_format(format.type, format.schema, "text.format"),
            thinks=parse_effort((asked.reasoning or Reasoning()).effort),
        ),
        model=asked.model,
        is_streamed=bool(asked.stream),
        echoed=_echoed(asked, tools),
        id=secrets.token_hex(16),
        created_s=int(time.time()),
    )


def _refuse_unsupported(asked: ResponsesBody) -> None:
    is_new = "nothing is kept between requests; send the whole conversation as input"
    refuse(
        (
            ("previous_response_id", bool(asked.previous_response_id), is_new),
            ("conversation", bool(asked.conversation), is_new),
            ("background", bool(asked.background), "an answer is told while it is written"),
            ("prompt", bool(asked.prompt), "no prompts are kept here; send input"),
            ("top_logprobs", bool(asked.top_logprobs), "probabilities of tokens are not told"),
        )
    )


def _tools(asked: ResponsesBody) -> tuple[tuple[Tool, ...], ToolChoice]:
    """Returns the client's functions: tools that the provider runs (web search and the like) are not here."""
    functions = [("function", tool) for tool in asked.tools or () if tool.type == "function"]
    choice = asked.tool_choice
    if not functions and asked.tools and choice == "required":
        choice = "auto"
    return parse_tools(functions, choice, asked.parallel_tool_calls)


def _echoed(asked: ResponsesBody, tools: Sequence[Tool]) -> dict[str, Any]:
    format = (asked.text or Text()).format or TextFormat()
    return {
        "instructions": asked.instructions,
        "max_output_tokens": asked.max_output_tokens,
        "metadata": asked.metadata or {},
        "parallel_tool_calls": asked.parallel_tool_calls is not False,
        "previous_response_id": None,
        "reasoning": {"effort": (asked.reasoning or Reasoning()).effort, "summary": None},
        "store": False,
        "temperature": asked.temperature,
        "text": {"format": {"type": format.type}},
        "tool_choice": asked.tool_choice or "auto",
        "tools": [
            {
                "type": "function",
                "name": tool.name,
                "description": tool.description or None,
                "parameters": msgspec.Raw(tool.parameters.encode()),
                "strict": False,
            }
            for tool in tools
        ],
        "top_p": asked.top_p,
        "truncation": "disabled",
    }


def _say_input(conversation: Conversation, given: str | list[InputItem] | None) -> None:
    if isinstance(given, str):
        conversation.say("user", [conversation.text(given, "input")], "input")
    for index, item in enumerate(given if isinstance(given, list) else ()):
        _say_item(conversation, item, f"input[{index}]")
    if not given:
        raise InvalidRequest("input is empty: send a text, or items", param="input")


def _say_item(conversation: Conversation, item: InputItem, name: str) -> None:
    match item.type:
        case "message":
            role = _ROLES.get(item.role or "")
            if role is None:
                known = ", ".join(_ROLES)
                raise InvalidRequest(
                    f"{name}.role is '{(item.role or '')[:40]}', expected {known}", param=f"{name}.role"
                )
            conversation.say(role, _parts(conversation, item.content, f"{name}.content"), name)
        case "function_call":
            call = conversation.call(item.call_id or "", item.name or "", item.arguments, name)
            conversation.say("assistant", [call], name)
        case "function_call_output":
            conversation.answer(item.call_id or "", _parts(conversation, item.output, f"{name}.output"))
        case "reasoning":
            said = [*(item.content if isinstance(item.content, list) else ()), *(item.summary or ())]
            thought = "\n".join(part.text for part in said if part.text)
            conversation.say("assistant", [ThinkingPart(thought)] if thought else [], name)
        case kind if kind.endswith(("_call", "_call_output")):
            return  # of tools that the provider runs
        case kind:
            raise InvalidRequest(
                f"{name}.type is '{kind[:40]}', expected message, function_call, function_call_output or "
                "reasoning",
                param=f"{name}.type",
            )


def _parts(conversation: Conversation, content: str | list[InputPart] | None, name: str) -> list[Part]:
    if not isinstance(content, list):
        return [conversation.text(content or "", name)]
    return [_part(conversation, part, f"{name}[{index}]") for index, part in enumerate(content)]


def _part(conversation: Conversation, part: InputPart, name: str) -> Part:
    if part.type in ("input_text", "output_text", "text", "refusal"):
        return conversation.text(part.text or part.refusal or "", name)
    if part.type == "input_image":
        return conversation.image(unpack_file(part.image_url, f"{name}.image_url"), f"{name}.image_url")
    if part.type == "input_file":
        where = f"{name}.file_data"
        return conversation.image(unpack_file(part.file_data, where), where, has_all_pages=True)
    raise InvalidRequest(
        f"{name}.type is '{part.type[:40]}', expected input_text, input_image or input_file",
        param=f"{name}.type",
    )
