"""An answer as POST /v1/chat/completions tells it: whole, or chunk by chunk. Pure."""

from __future__ import annotations

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
)
from turbov2.wire._chat import Answer
from turbov2.wire._errors import error_body
from turbov2.wire._sse import HEARTBEAT, SSE, sse_data
from turbov2.wire.openai.chat import AskedText
from turbov2.wire.openai.writing import finish_reason, usage_of


def render_chat(asked: AskedText, answer: Answer) -> bytes:
    """Returns the whole answer. `reasoning` is there only if the model thought, as vLLM and Ollama do it."""
    calls = [call_object(call.id, call.name, call.arguments) for call in answer.calls]
    message: dict[str, Any] = {
        "role": "assistant",
        "content": answer.text if answer.text or not calls else None,
        "refusal": None,
        "annotations": [],
    }
    if answer.thinking:
        message["reasoning"] = answer.thinking
    if calls:
        message["tool_calls"] = calls
    finish = answer.result.finish
    choice = {
        "index": 0,
        "message": message,
        "logprobs": None,
        "finish_reason": finish_reason(finish),
    }
    return msgspec.json.encode(told(asked, "chat.completion", [choice]) | {"usage": usage_of(finish)})


class Chunks:
    """The answer as server-sent events."""

    media_type = SSE
    heartbeat = HEARTBEAT

    def __init__(self, asked: AskedText) -> None:
        self._asked = asked
        self._n_calls = 0

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns the chunk that says who speaks."""
        return self._chunk({"role": "assistant", "content": "", "refusal": None})

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the chunk of what the answer goes on with."""
        match delta:
            case TextDelta(text):
                return self._chunk({"content": text})
            case ThinkingDelta(text):
                return self._chunk({"reasoning": text})
            case CallBegun(call_id, name):
                self._n_calls += 1
                return self._call(call_object(call_id, name, ""))
            case CallDelta(arguments):
                return self._call({"function": {"arguments": arguments}})

    def end(self, result: ChatResult) -> bytes:
        """Returns the chunk that says why it ended, that of the usage if it is wanted, and the end mark."""
        last = self._chunk({}, finish_reason(result.finish))
        if self._asked.has_usage:
            usage = told(self._asked, "chat.completion.chunk", []) | {"usage": usage_of(result.finish)}
            last += sse_data(msgspec.json.encode(usage))
        return last + sse_data(b"[DONE]")

    def error(self, error: TurboError) -> bytes:
        """Returns the event that clients raise."""
        return sse_data(msgspec.json.encode(error_body(error, "openai")))

    def _call(self, call: dict[str, Any]) -> bytes:
        return self._chunk({"tool_calls": [{"index": self._n_calls - 1, **call}]})

    def _chunk(self, delta: dict[str, Any], finish_reason: str | None = None) -> bytes:
        choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish_reason}
        chunk = told(self._asked, "chat.completion.chunk", [choice])
        return sse_data(msgspec.json.encode(chunk | ({"usage": None} if self._asked.has_usage else {})))


def call_object(call_id: str, name: str, arguments: str) -> dict[str, Any]:
    """Returns a call."""
    function = {"name": name, "arguments": arguments}
    return {"id": f"call_{call_id}", "type": "function", "function": function}


def told(asked: AskedText, kind: str, choices: list[dict[str, Any]]) -> dict[str, Any]:
    """Returns what every object of an answer holds."""
    return {
        "id": asked.id,
        "object": kind,
        "created": asked.created_s,
        "model": asked.model,
        "system_fingerprint": None,
        "choices": choices,
    }
