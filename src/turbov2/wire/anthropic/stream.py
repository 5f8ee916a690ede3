"""A message as Anthropic's clients follow it: server-sent events, each with its name."""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.errors import TurboError
from turbov2.types import AnswerDelta, ChatResult, TextDelta
from turbov2.wire._errors import error_body
from turbov2.wire._sse import SSE, sse_event
from turbov2.wire.anthropic.adapt import AskedMessage, message_of, stop_of, usage_of


def _event(kind: str, **fields: Any) -> bytes:
    return sse_event(kind, msgspec.json.encode({"type": kind, **fields}))


class MessageEvents:
    """The events of one answer, which is one block of text."""

    media_type = SSE
    heartbeat = _event("ping")

    def __init__(self, asked: AskedMessage, request_id: str) -> None:
        self._asked = asked
        self._request_id = request_id

    def head(self) -> bytes:
        """Returns the beginning. The prompt's tokens are known only at the end; its totals replace these."""
        nothing = {"input_tokens": 0, "output_tokens": 0}
        start = _event("message_start", message=message_of(self._asked, [], None, None, nothing))
        block = _event("content_block_start", index=0, content_block={"type": "text", "text": ""})
        return start + block + self.heartbeat

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the event of the next words."""
        return (
            _event("content_block_delta", index=0, delta={"type": "text_delta", "text": delta.text})
            if isinstance(delta, TextDelta)
            else b""
        )

    def end(self, result: ChatResult) -> bytes:
        """Returns the end, with why it came and all tokens."""
        reason, sequence = stop_of(result.finish)
        delta = {"stop_reason": reason, "stop_sequence": sequence}
        return (
            _event("content_block_stop", index=0)
            + _event("message_delta", delta=delta, usage=usage_of(result.finish))
            + _event("message_stop")
        )

    def error(self, error: TurboError) -> bytes:
        """Returns the event that clients raise."""
        body = error_body(error, "anthropic", self._request_id)
        return sse_event("error", msgspec.json.encode(body))
