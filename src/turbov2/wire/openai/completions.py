"""POST /v1/completions ↔ canonical requests and events: a prompt is gone on with as it is, no template."""

from __future__ import annotations

import secrets
import time
from typing import Any

import msgspec
from msgspec.structs import replace

from turbov2.errors import InvalidRequest, TurboError
from turbov2.types import AnswerDelta, ChatResult, PromptCounted, TextDelta
from turbov2.wire._body import parse_json
from turbov2.wire._chat import Answer
from turbov2.wire._conversation import Conversation
from turbov2.wire._errors import error_body
from turbov2.wire._http import Limits
from turbov2.wire._sse import HEARTBEAT, SSE, sse_data
from turbov2.wire.openai.chat import AskedText
from turbov2.wire.openai.chat_answers import told
from turbov2.wire.openai.schema import CompletionsBody
from turbov2.wire.openai.writing import finish_reason, parse_sampling, refuse, usage_of

_BODY = msgspec.json.Decoder(CompletionsBody)
_MAX_TOKENS = 16  # of an answer where the request does not say, as the API has it


def parse_completion(body: bytes, limits: Limits) -> AskedText:
    """Returns what is asked for. Raises: InvalidRequest naming the field."""
    asked = parse_json(body, _BODY)
    if not asked.model:
        raise InvalidRequest("model is required", param="model")
    refuse(
        (
            ("suffix", bool(asked.suffix), "texts are gone on with, not filled in"),
            ("echo", bool(asked.echo), "the prompt is not repeated"),
            ("n", asked.n not in (None, 1), f"one answer is written a request, not {asked.n}"),
            ("best_of", asked.best_of not in (None, 1), "one answer is written a request"),
            ("logprobs", asked.logprobs is not None, "probabilities of tokens are not told"),
            ("logit_bias", bool(asked.logit_bias), "tokens cannot be favoured"),
        )
    )
    conversation = Conversation(limits)
    conversation.say("user", [conversation.text(_prompt(asked.prompt), "prompt")], "prompt")
    max_tokens = _MAX_TOKENS if asked.max_tokens is None else asked.max_tokens
    return AskedText(
        request=replace(conversation.request(asked.model, parse_sampling(asked, max_tokens)), is_raw=True),
        model=asked.model,
        is_streamed=bool(asked.stream),
        has_usage=bool(asked.stream_options and asked.stream_options.include_usage),
        id=f"cmpl-{secrets.token_hex(12)}",
        created_s=int(time.time()),
    )


def render_completion(asked: AskedText, answer: Answer) -> bytes:
    """Returns the whole answer."""
    finish = answer.result.finish
    choice = _choice(answer.text, finish_reason(finish))
    return msgspec.json.encode(told(asked, "text_completion", [choice]) | {"usage": usage_of(finish)})


class CompletionChunks:
    """The answer as server-sent events."""

    media_type = SSE
    heartbeat = HEARTBEAT

    def __init__(self, asked: AskedText) -> None:
        self._asked = asked

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns nothing: the first words come first."""
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the chunk of the next words; a prompt without a template has nothing else."""
        return self._chunk([_choice(delta.text, None)]) if isinstance(delta, TextDelta) else b""

    def end(self, result: ChatResult) -> bytes:
        """Returns the chunk that says why it ended, that of the usage if it is wanted, and the end mark."""
        last = self._chunk([_choice("", finish_reason(result.finish))])
        if self._asked.has_usage:
            usage = told(self._asked, "text_completion", []) | {"usage": usage_of(result.finish)}
            last += sse_data(msgspec.json.encode(usage))
        return last + sse_data(b"[DONE]")

    def error(self, error: TurboError) -> bytes:
        """Returns the event that clients raise."""
        return sse_data(msgspec.json.encode(error_body(error, "openai")))

    def _chunk(self, choices: list[dict[str, Any]]) -> bytes:
        chunk = told(self._asked, "text_completion", choices)
        return sse_data(msgspec.json.encode(chunk | ({"usage": None} if self._asked.has_usage else {})))


def _choice(text: str, reason: str | None) -> dict[str, Any]:
    return {"text": text, "index": 0, "logprobs": None, "finish_reason": reason}


def _prompt(prompt: str | list[Any] | None) -> str:
    """Returns the one prompt. Raises: InvalidRequest."""
    if isinstance(prompt, list) and len(prompt) == 1:
        prompt = prompt[0]
    if isinstance(prompt, str) and prompt:
        return prompt
    raise InvalidRequest("prompt is not one text; send one, without token ids, a request", param="prompt")
