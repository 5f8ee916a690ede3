"""POST /v1/chat/completions ↔ canonical requests and events. Pure but for an answer's id and time."""

from __future__ import annotations

import secrets
import time
from typing import Any, TypeVar

import msgspec

from turbov2.errors import InvalidRequest, TurboError
from turbov2.types import AnswerDelta, ChatRequest, ChatResult, Finish, Part, Role, Sampling, TextDelta
from turbov2.wire._body import parse_json
from turbov2.wire._chat import Answer
from turbov2.wire._conversation import Conversation
from turbov2.wire._errors import error_body
from turbov2.wire._http import Limits
from turbov2.wire._media import unpack_file
from turbov2.wire._sampling import parse_max_tokens, parse_seed, parse_stops, within
from turbov2.wire._sse import HEARTBEAT, SSE, sse_data
from turbov2.wire.openai.schema import ChatBody, ChatMessage, ContentPart

T = TypeVar("T")

_BODY = msgspec.json.Decoder(ChatBody)
_ROLES: dict[str, Role] = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
}


class AskedChat(msgspec.Struct, frozen=True):
    """What a request asks for, and what every part of its answer repeats."""

    request: ChatRequest
    model: str  # as the request spells it
    is_streamed: bool
    has_usage: bool  # of a stream: its last frame tells the tokens
    id: str
    created_s: int


def parse_chat(body: bytes, limits: Limits) -> AskedChat:
    """Returns what is asked for. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    if not asked.model:
        raise InvalidRequest("model is required", param="model")
    _check_supported(asked)
    conversation = Conversation(limits)
    for index, message in enumerate(asked.messages or ()):
        _say(conversation, message, f"messages[{index}]")
    return AskedChat(
        request=conversation.request(asked.model, _sampling(asked)),
        model=asked.model,
        is_streamed=bool(asked.stream),
        has_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        id=f"chatcmpl-{secrets.token_hex(12)}",
        created_s=int(time.time()),
    )


def render_chat(asked: AskedChat, answer: Answer) -> bytes:
    """Returns the whole answer."""
    choice = {
        "index": 0,
        "message": {"role": "assistant", "content": answer.text, "refusal": None, "annotations": []},
        "logprobs": None,
        "finish_reason": _finish_reason(answer.result.finish),
    }
    told = _told(asked, "chat.completion", [choice]) | {"usage": _usage(answer.result.finish)}
    return msgspec.json.encode(told)


class Chunks:
    """The answer as server-sent events."""

    media_type = SSE
    heartbeat = HEARTBEAT

    def __init__(self, asked: AskedChat) -> None:
        self._asked = asked

    def head(self) -> bytes:
        """Returns the chunk that says who speaks."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the chunk of the next words."""
        return self._chunk({"content": delta.text}) if isinstance(delta, TextDelta) else b""

    def end(self, result: ChatResult) -> bytes:
        """Returns the chunk that says why it ended, that of the usage if it is wanted, and the end mark."""
        last = self._chunk({}, _finish_reason(result.finish))
        if self._asked.has_usage:
            usage = _told(self._asked, "chat.completion.chunk", []) | {"usage": _usage(result.finish)}
            last += sse_data(msgspec.json.encode(usage))
        return last + sse_data(b"[DONE]")

    def error(self, error: TurboError) -> bytes:
        """Returns the event that clients raise."""
        return sse_data(msgspec.json.encode(error_body(error, "openai")))

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = _told(self._asked, "chat.completion.chunk", [choice])
        return sse_data(msgspec.json.encode(chunk | ({"usage": None} if self._asked.has_usage else {})))


def _told(asked: AskedChat, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": asked.id,
        "object": kind,
        "created": asked.created_s,
        "model": asked.model,
        "system_fingerprint": None,
        "choices": choices,
    }


def _finish_reason(finish: Finish) -> str:
    return "length" if finish.reason == "length" else "stop"


def _usage(finish: Finish) -> dict[str, int]:
    n_prompt, n_output = finish.n_prompt_tokens, finish.n_output_tokens
    return {
        "prompt_tokens": n_prompt,
        "completion_tokens": n_output,
        "total_tokens": n_prompt + n_output,
    }


def _check_supported(asked: ChatBody) -> None:
    """Raises: InvalidRequest for what would change the answer and is not built."""
    format = asked.response_format.type if asked.response_format is not None else "text"
    refused = (
        ("tools", bool(asked.tools), "tools cannot be called yet"),
        ("functions", bool(asked.functions), "functions cannot be called yet"),
        ("response_format", format != "text", f"answers cannot be held to {format[:40]} yet"),
        ("n", asked.n not in (None, 1), f"one answer is written a request, not {asked.n}"),
        ("logprobs", bool(asked.logprobs or asked.top_logprobs), "probabilities of tokens are not told"),
        ("logit_bias", bool(asked.logit_bias), "tokens cannot be favoured"),
        ("presence_penalty", bool(asked.presence_penalty), "no backend has it; send repetition_penalty"),
        ("frequency_penalty", bool(asked.frequency_penalty), "no backend has it; send repetition_penalty"),
    )
    for name, is_asked, why in refused:
        if is_asked:
            raise InvalidRequest(f"{name} is not supported: {why}; leave it out", param=name)


def _sampling(asked: ChatBody) -> Sampling:
    has_new = asked.max_completion_tokens is not None
    return Sampling(
        max_tokens=parse_max_tokens(
            asked.max_completion_tokens if has_new else asked.max_tokens,
            "max_completion_tokens" if has_new else "max_tokens",
        ),
        temperature=within(asked.temperature, "temperature", 0, 2),
        top_k=None if asked.top_k is None else max(asked.top_k, 0),
        min_p=within(asked.min_p, "min_p", 0, 1),
        top_p=within(asked.top_p, "top_p", 0, 1),
        repetition_penalty=within(asked.repetition_penalty, "repetition_penalty", 0.1, 10),
        seed=parse_seed(asked.seed),
        stop=parse_stops(asked.stop, "stop"),
    )


def _say(conversation: Conversation, message: ChatMessage, name: str) -> None:
    role = _ROLES.get(message.role)
    if message.tool_calls or message.function_call or message.role in ("tool", "function"):
        raise InvalidRequest(f"{name} is about a tool, and tools cannot be called yet", param=name)
    if role is None:
        known = ", ".join(_ROLES)
        raise InvalidRequest(f"{name}.role is '{message.role[:40]}', expected {known}", param=f"{name}.role")
    where = f"{name}.content"
    if isinstance(message.content, list):
        parts = [_part(conversation, part, f"{where}[{index}]") for index, part in enumerate(message.content)]
    else:
        parts = [conversation.text(message.content or "", where)]
    conversation.say(role, parts, name)


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
