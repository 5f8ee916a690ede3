"""An answer as POST /api/chat and POST /api/generate tell it. Pure but for the time of a line."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec

from turbov2.errors import TurboError
from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    ChatResult,
    PromptCounted,
    TextDelta,
    ThinkingDelta,
    ToolCallPart,
)
from turbov2.wire._chat import Answer
from turbov2.wire._http import NDJSON
from turbov2.wire._lines import json_line
from turbov2.wire.ollama.chat import AskedText


def render_text(asked: AskedText, answer: Answer) -> bytes:
    """Returns the whole answer as one object."""
    calls = [_call(call, index) for index, call in enumerate(answer.calls)]
    return msgspec.json.encode(_line(asked, answer.text, answer.thinking, calls) | _last(answer.result))


def render_done(asked: AskedText, reason: str, text: str = "") -> bytes:
    """Returns the one object that answers a request which loads, unloads or judges."""
    return msgspec.json.encode(_line(asked, text) | {"done": True, "done_reason": reason})


class Lines:
    """The answer as lines of JSON. A call has a line of its own, once it is whole."""

    media_type = NDJSON
    heartbeat = b""

    def __init__(self, asked: AskedText) -> None:
        self._asked = asked
        self._call: ToolCallPart | None = None
        self._n_calls = 0

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns nothing: the first delta comes first."""
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the lines of what the answer goes on with."""
        match delta:
            case TextDelta(text):
                return self._whole_call() + json_line(_line(self._asked, text))
            case ThinkingDelta(text):
                return self._whole_call() + json_line(_line(self._asked, "", text))
            case CallBegun(call_id, name):
                before = self._whole_call()
                self._call = ToolCallPart(call_id, name, "")
                return before
            case CallDelta(arguments):
                if self._call is not None:
                    begun = self._call
                    self._call = ToolCallPart(begun.id, begun.name, begun.arguments + arguments)
                return b""

    def end(self, result: ChatResult) -> bytes:
        """Returns the last line, with what was counted and measured."""
        return self._whole_call() + json_line(_line(self._asked, "") | _last(result))

    def error(self, error: TurboError) -> bytes:
        """Returns the line that clients raise."""
        return json_line({"error": error.message})

    def _whole_call(self) -> bytes:
        """Returns the line of the call that was begun, if there is one."""
        if self._call is None:
            return b""
        call, self._call = _call(self._call, self._n_calls), None
        self._n_calls += 1
        return json_line(_line(self._asked, "", calls=[call]))


def _line(
    asked: AskedText, text: str, thinking: str = "", calls: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    thoughts = {"thinking": thinking} if thinking else {}
    told: dict[str, Any] = {"response": text, **thoughts}
    if asked.verb == "chat":
        message = {"role": "assistant", "content": text, **thoughts}
        told = {"message": message | ({"tool_calls": calls} if calls else {})}
    return {"model": asked.model, "created_at": dt.datetime.now(dt.UTC), **told, "done": False}


def _call(call: ToolCallPart, index: int) -> dict[str, Any]:
    function = {"index": index, "name": call.name, "arguments": msgspec.Raw(call.arguments.encode())}
    return {"id": f"call_{call.id}", "function": function}


def _last(result: ChatResult) -> dict[str, Any]:
    """Returns the fields of the last line; as with Ollama's server, a number that is 0 is left out."""
    finish = result.finish
    numbers = {
        "total_duration": result.total_ns,
        "load_duration": result.load_ns,
        "prompt_eval_count": finish.n_prompt_tokens,
        "prompt_eval_duration": finish.prompt_ns,
        "eval_count": finish.n_output_tokens,
        "eval_duration": finish.output_ns,
    }
    reason = "length" if finish.reason == "length" else "stop"
    return {"done": True, "done_reason": reason} | {name: n for name, n in numbers.items() if n}
