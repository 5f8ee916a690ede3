"""POST /api/vision ↔ canonical requests and events. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.errors import InvalidRequest, TurboError
from turbov2.types import (
    AnswerDelta,
    ChatRequest,
    ChatResult,
    ImagePart,
    ImageSource,
    PromptCounted,
    PromptMessage,
    Sampling,
    TextDelta,
    TextPart,
)
from turbov2.wire._chat import Answer
from turbov2.wire._http import NDJSON
from turbov2.wire._lines import json_line
from turbov2.wire._media import MediaForm
from turbov2.wire._sampling import MAX_TOKENS, parse_stops

VISION_MODEL = "lfm25-vl"
PROMPT = "Extract all text from this document."
_MAX_PAGES = 100_000
_MAX_SEED = 999_999_999  # a form's numbers have nine digits


def parse_vision(form: MediaForm, max_text_chars: int) -> ChatRequest:
    """Returns the canonical request: the image and, behind it, what is asked, as models were trained.

    Raises: InvalidRequest.
    """
    prompt = form.text("prompt") or PROMPT
    if len(prompt) > max_text_chars:
        raise InvalidRequest(
            f"prompt has {len(prompt)} characters, the limit is {max_text_chars} (TURBOV2_MAX_TEXT_CHARS)",
            param="prompt",
        )
    return ChatRequest(
        model=form.text("model") or VISION_MODEL,
        messages=(PromptMessage("user", (ImagePart(0), TextPart(prompt))),),
        images=(ImageSource(form.required("image"), form.integer("page", 1, 1, _MAX_PAGES) - 1),),
        sampling=_sampling(form),
        keep_alive_s=form.keep_alive_s(),
    )


def is_streamed(form: MediaForm) -> bool:
    """Returns whether the answer is wanted as it is written. Raises: InvalidRequest."""
    return form.flag("stream", default=False)


def render_vision(answer: Answer) -> bytes:
    """Returns the answer in one piece."""
    return msgspec.json.encode(_last(answer.result, answer.text))


class Lines:
    """The answer as lines of JSON, each with its part of the text, the last with how it came about."""

    media_type = NDJSON
    heartbeat = b""

    def __init__(self, model: str) -> None:
        self._model = model

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns nothing: the first piece comes first."""
        return b""

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the line of the next words."""
        return (
            json_line({"model": self._model, "response": delta.text, "done": False})
            if isinstance(delta, TextDelta)
            else b""
        )

    def end(self, result: ChatResult) -> bytes:
        """Returns the last line."""
        return json_line({**_last(result, ""), "done": True})

    def error(self, error: TurboError) -> bytes:
        """Returns the last line of an answer that failed midway."""
        return json_line({"model": self._model, "error": error.message, "done": True})


def _last(result: ChatResult, text: str) -> dict[str, Any]:
    """Returns the documented fields, and how the answer came about."""
    finish, (image,) = result.finish, result.images
    return {
        "model": result.model,
        "response": text,
        "latency_ms": _ms(result.total_ns),
        "done_reason": finish.reason,
        "prompt_tokens": finish.n_prompt_tokens,
        "output_tokens": finish.n_output_tokens,
        "tiles": finish.n_tiles,
        "image": {
            "format": image.format,
            "width": image.width_px,
            "height": image.height_px,
            "pages": image.n_pages,
        },
        "timings": {
            "load_ms": _ms(result.load_ns),
            "decode_ms": _ms(result.decode_ns),
            "queue_ms": _ms(result.queue_ns),
            "prompt_ms": _ms(finish.prompt_ns),
            "output_ms": _ms(finish.output_ns),
        },
    }


def _sampling(form: MediaForm) -> Sampling:
    seed = form.integer("seed", -1, 0, _MAX_SEED)
    return Sampling(
        max_tokens=form.integer("max_tokens", Sampling().max_tokens, 1, MAX_TOKENS),
        temperature=form.number("temperature", 0, 2),
        min_p=form.number("min_p", 0, 1),
        top_p=form.number("top_p", 0, 1),
        repetition_penalty=form.number("repetition_penalty", 0.1, 10),
        seed=None if seed < 0 else seed,
        stop=parse_stops(form.fields.get("stop"), "stop"),
    )


def _ms(ns: int) -> float:
    return round(ns / 1e6, 2)
