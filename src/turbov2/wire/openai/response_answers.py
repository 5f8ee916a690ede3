"""An answer as POST /v1/responses tells it: whole, or event by event. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from msgspec.structs import replace

from turbov2.errors import TurboError
from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    ChatResult,
    Finish,
    PromptCounted,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallPart,
)
from turbov2.wire._chat import Answer
from turbov2.wire._errors import error_body
from turbov2.wire._sse import HEARTBEAT, SSE, sse_event
from turbov2.wire.openai.responses import AskedResponse

AnswerPart = TextPart | ThinkingPart | ToolCallPart
Object = dict[str, Any]


def render_response(asked: AskedResponse, answer: Answer) -> bytes:
    """Returns the whole answer."""
    return msgspec.json.encode(_ended(asked, answer.parts or (TextPart(""),), answer.result.finish))


class ResponseEvents:
    """The answer as server-sent events: one item after the other, one of them open at a time."""

    media_type = SSE
    heartbeat = HEARTBEAT

    def __init__(self, asked: AskedResponse) -> None:
        self._asked = asked
        self._done: list[AnswerPart] = []
        self._open: AnswerPart | None = None  # without its words
        self._words: list[str] = []
        self._n_events = 0

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns the beginning."""
        begun = _response(self._asked, "in_progress", ())
        return self._event("response.created", response=begun) + self._event(
            "response.in_progress", response=begun
        )

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the events of what the answer goes on with."""
        match delta:
            case TextDelta(text):
                begun = self._within(TextPart(""))
                return begun + self._goes_on("response.output_text.delta", text, content_index=0, logprobs=[])
            case ThinkingDelta(text):
                begun = self._within(ThinkingPart(""))
                return begun + self._goes_on("response.reasoning_text.delta", text, content_index=0)
            case CallBegun(call_id, name):
                return self._close() + self._begin(ToolCallPart(call_id, name, ""))
            case CallDelta(arguments):
                return self._goes_on("response.function_call_arguments.delta", arguments)

    def end(self, result: ChatResult) -> bytes:
        """Returns the end, with the whole answer. One without a word has an empty message."""
        empty = self._within(TextPart("")) if self._open is None and not self._done else b""
        last = empty + self._close()
        whole = _ended(self._asked, self._done, result.finish)
        return last + self._event(f"response.{whole['status']}", response=whole)

    def error(self, error: TurboError) -> bytes:
        """Returns the event that says why there is no more."""
        told = error_body(error, "openai")["error"]
        failed = _response(self._asked, "failed", self._done)
        failed["error"] = {"code": "server_error", "message": told["message"]}
        return self._event("response.failed", response=failed)

    def _within(self, part: AnswerPart) -> bytes:
        """Returns what opens such a part, if none is open."""
        return b"" if type(self._open) is type(part) else self._close() + self._begin(part)

    def _begin(self, part: AnswerPart) -> bytes:
        self._open, self._words = part, []
        begun = _item(self._asked, part, len(self._done), "in_progress")
        if not isinstance(part, ToolCallPart):
            begun["content"] = []
        added = self._event("response.output_item.added", output_index=len(self._done), item=begun)
        if isinstance(part, ToolCallPart):
            return added
        return added + self._within_item("response.content_part.added", content_index=0, part=_content(part))

    def _goes_on(self, kind: str, words: str, **fields: Any) -> bytes:
        self._words.append(words)
        return self._within_item(kind, delta=words, **fields)

    def _close(self) -> bytes:
        part = self._open
        if part is None:
            return b""
        words = "".join(self._words)
        part = replace(part, **{"arguments" if isinstance(part, ToolCallPart) else "text": words})
        match part:
            case ToolCallPart(_, name, arguments):
                told = self._within_item(
                    "response.function_call_arguments.done", name=name, arguments=arguments
                )
            case TextPart(text):
                told = self._within_item("response.output_text.done", content_index=0, text=text, logprobs=[])
            case ThinkingPart(text):
                told = self._within_item("response.reasoning_text.done", content_index=0, text=text)
        if not isinstance(part, ToolCallPart):
            told += self._within_item("response.content_part.done", content_index=0, part=_content(part))
        item = _item(self._asked, part, len(self._done), "completed")
        told += self._event("response.output_item.done", output_index=len(self._done), item=item)
        self._done.append(part)
        self._open = None
        return told

    def _within_item(self, kind: str, **fields: Any) -> bytes:
        assert self._open is not None, "words come within an item. This is a bug."
        item_id = _item_id(self._asked, self._open, len(self._done))
        return self._event(kind, item_id=item_id, output_index=len(self._done), **fields)

    def _event(self, kind: str, **fields: Any) -> bytes:
        event = {"type": kind, "sequence_number": self._n_events, **fields}
        self._n_events += 1
        return sse_event(kind, msgspec.json.encode(event))


def _ended(asked: AskedResponse, parts: Sequence[AnswerPart], finish: Finish) -> Object:
    """Returns the whole answer."""
    is_cut = finish.reason == "length"
    told = _response(asked, "incomplete" if is_cut else "completed", parts)
    if is_cut:
        told["incomplete_details"] = {"reason": "max_output_tokens"}
    told["usage"] = {
        "input_tokens": finish.n_prompt_tokens,
        "input_tokens_details": {"cached_tokens": finish.n_cached_tokens},
        "output_tokens": finish.n_output_tokens,
        "output_tokens_details": {"reasoning_tokens": 0},  # they are not counted apart
        "total_tokens": finish.n_prompt_tokens + finish.n_output_tokens,
    }
    return told


def _response(asked: AskedResponse, status: str, parts: Sequence[AnswerPart]) -> Object:
    return {
        "id": f"resp_{asked.id}",
        "object": "response",
        "created_at": asked.created_s,
        "status": status,
        "error": None,
        "incomplete_details": None,
        "model": asked.model,
        "output": [_item(asked, part, index, "completed") for index, part in enumerate(parts)],
        "usage": None,
        **asked.echoed,
    }


def _item(asked: AskedResponse, part: AnswerPart, index: int, status: str) -> Object:
    told: Object = {"id": _item_id(asked, part, index), "status": status}
    match part:
        case ToolCallPart(call_id, name, arguments):
            call = {"call_id": f"call_{call_id}", "name": name, "arguments": arguments}
            return {**told, "type": "function_call", **call}
        case ThinkingPart():
            return {**told, "type": "reasoning", "summary": [], "content": [_content(part)]}
        case TextPart():
            return {**told, "type": "message", "role": "assistant", "content": [_content(part)]}


def _item_id(asked: AskedResponse, part: AnswerPart, index: int) -> str:
    prefix = {TextPart: "msg", ThinkingPart: "rs", ToolCallPart: "fc"}[type(part)]
    return f"{prefix}_{asked.id}{index}"


def _content(part: TextPart | ThinkingPart) -> Object:
    if isinstance(part, ThinkingPart):
        return {"type": "reasoning_text", "text": part.text}
    return {"type": "output_text", "text": part.text, "annotations": [], "logprobs": []}
