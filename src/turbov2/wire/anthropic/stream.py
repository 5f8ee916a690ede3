"""A message as Anthropic's clients follow it: server-sent events, each with its name."""

from __future__ import annotations

from typing import Any, Literal

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
from turbov2.wire._errors import error_body
from turbov2.wire._sse import SSE, sse_event
from turbov2.wire.anthropic.adapt import (
    NOTHING,
    SIGNATURE,
    AskedMessage,
    call_block,
    message_of,
    stop_of,
    text_block,
    thinking_block,
    usage_of,
)

Kind = Literal["text", "thinking", "tool_use"]


def _event(kind: str, **fields: Any) -> bytes:
    return sse_event(kind, msgspec.json.encode({"type": kind, **fields}))


class MessageEvents:
    """The events of one answer: one block after the other, one of them open at a time."""

    media_type = SSE
    heartbeat = _event("ping")

    def __init__(self, asked: AskedMessage, request_id: str) -> None:
        self._asked = asked
        self._request_id = request_id
        self._open: Kind | None = None
        self._index = -1  # of the block that was opened last

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns the beginning. A prompt that was not counted counts as 0; the end's totals replace it."""
        usage = usage_of(prompt or PromptCounted(0), 0)
        start = _event("message_start", message=message_of(self._asked, [], None, None, usage))
        return start + self.heartbeat

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the events of what the answer goes on with."""
        match delta:
            case TextDelta(text):
                return self._within("text", text_block()) + self._delta("text_delta", text=text)
            case ThinkingDelta(text):
                if not self._asked.shows_thinking:
                    return b""
                opening = self._within("thinking", thinking_block())
                return opening + self._delta("thinking_delta", thinking=text)
            case CallBegun(call_id, name):
                return self._close() + self._begin("tool_use", call_block(call_id, name))
            case CallDelta(arguments):
                return self._delta("input_json_delta", partial_json=arguments)

    def end(self, result: ChatResult) -> bytes:
        """Returns the end, with why it came and all tokens. An answer without a word has an empty block."""
        last = self._within("text", text_block()) if self._index < 0 else b""
        reason, sequence = stop_of(result.finish, self._asked.request.sampling.max_tokens)
        delta = {"stop_reason": reason, "stop_sequence": sequence, **NOTHING}
        return (
            last
            + self._close()
            + _event(
                "message_delta", delta=delta, usage=usage_of(result.finish, result.finish.n_output_tokens)
            )
            + _event("message_stop")
        )

    def error(self, error: TurboError) -> bytes:
        """Returns the event that clients raise."""
        body = error_body(error, "anthropic", self._request_id)
        return sse_event("error", msgspec.json.encode(body))

    def _within(self, kind: Kind, block: dict[str, Any]) -> bytes:
        """Returns what opens such a block, if none is open."""
        return b"" if self._open == kind else self._close() + self._begin(kind, block)

    def _begin(self, kind: Kind, block: dict[str, Any]) -> bytes:
        self._open = kind
        self._index += 1
        return _event("content_block_start", index=self._index, content_block=block)

    def _close(self) -> bytes:
        if self._open is None:
            return b""
        is_thinking, self._open = self._open == "thinking", None
        signed = self._delta("signature_delta", signature=SIGNATURE) if is_thinking else b""
        return signed + _event("content_block_stop", index=self._index)

    def _delta(self, kind: str, **fields: str) -> bytes:
        return _event("content_block_delta", index=self._index, delta={"type": kind, **fields})
