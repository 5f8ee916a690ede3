"""POST /api/vision ↔ canonical requests and events. Pure."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any

import msgspec

from turbov2.errors import InvalidRequest, TurboError
from turbov2.types import Sampling, VisionEvent, VisionRequest, VisionResult
from turbov2.wire._http import NDJSON, Response
from turbov2.wire._media import MediaForm

VISION_MODEL = "lfm25-vl"
PROMPT = "Extract all text from this document."
_MAX_PAGES = 100_000
_MAX_TOKENS = 131_072
_MAX_SEED = 999_999_999  # a form's numbers have nine digits
_MAX_STOPS, _MAX_STOP_CHARS = 16, 256


def parse_vision(form: MediaForm, max_text_chars: int) -> VisionRequest:
    """Returns the canonical request. Raises: InvalidRequest."""
    prompt = form.text("prompt") or PROMPT
    if len(prompt) > max_text_chars:
        raise InvalidRequest(
            f"prompt has {len(prompt)} characters, the limit is {max_text_chars} (TURBOV2_MAX_TEXT_CHARS)",
            param="prompt",
        )
    return VisionRequest(
        model=form.text("model") or VISION_MODEL,
        payload=form.required("image"),
        prompt=prompt,
        page=form.integer("page", 1, 1, _MAX_PAGES) - 1,
        sampling=_sampling(form),
        keep_alive_s=form.keep_alive_s(),
    )


def is_streamed(form: MediaForm) -> bool:
    """Returns whether the answer is wanted as it is written. Raises: InvalidRequest."""
    return form.flag("stream", default=False)


async def whole_answer(events: AsyncGenerator[VisionEvent, None]) -> Response:
    """Returns the answer in one piece: what the stream's lines add up to. Raises: what `events` raises."""
    text: list[str] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, VisionResult):
                return Response(msgspec.json.encode(_last(event, "".join(text))))
            text.append(event)
    raise RuntimeError("a model's answer came without an end. This is a bug.")


async def answer_lines(model: str, events: AsyncGenerator[VisionEvent, None]) -> Response:
    """Returns the stream. Raises what fails before the first piece; later failures become a line."""
    try:
        first = await anext(events)
    except BaseException:
        await events.aclose()
        raise
    return Response(_lines(model, first, events), media_type=NDJSON)


async def _lines(
    model: str, first: VisionEvent, events: AsyncGenerator[VisionEvent, None]
) -> AsyncGenerator[bytes, None]:
    async with aclosing(events):
        try:
            yield _line(model, first)
            async for event in events:
                yield _line(model, event)
        except TurboError as error:
            yield msgspec.json.encode({"model": model, "error": error.message, "done": True}) + b"\n"


def _line(model: str, event: VisionEvent) -> bytes:
    if isinstance(event, VisionResult):
        return msgspec.json.encode({**_last(event, ""), "done": True}) + b"\n"
    return msgspec.json.encode({"model": model, "response": event, "done": False}) + b"\n"


def _last(result: VisionResult, text: str) -> dict[str, Any]:
    """Returns the documented fields, and how the answer came about."""
    finish = result.finish
    return {
        "model": result.model,
        "response": text,
        "latency_ms": _ms(result.total_ns),
        "done_reason": finish.reason,
        "prompt_tokens": finish.n_prompt_tokens,
        "output_tokens": finish.n_output_tokens,
        "tiles": finish.n_tiles,
        "image": {
            "format": result.format,
            "width": result.width_px,
            "height": result.height_px,
            "pages": result.n_pages,
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
        max_tokens=form.integer("max_tokens", Sampling().max_tokens, 1, _MAX_TOKENS),
        temperature=form.number("temperature", 0, 2),
        min_p=form.number("min_p", 0, 1),
        top_p=form.number("top_p", 0, 1),
        repetition_penalty=form.number("repetition_penalty", 0.1, 10),
        seed=None if seed < 0 else seed,
        stop=_stops(form.fields.get("stop")),
    )


def _stops(value: Any) -> tuple[str, ...]:
    stops = [value] if isinstance(value, str) and value else value or []
    is_list = isinstance(stops, list) and all(isinstance(each, str) for each in stops)
    if not is_list or len(stops) > _MAX_STOPS or any(not 0 < len(each) <= _MAX_STOP_CHARS for each in stops):
        raise InvalidRequest(
            f"stop is not a text, or up to {_MAX_STOPS} of them, of 1 to {_MAX_STOP_CHARS} characters",
            param="stop",
        )
    return tuple(stops)


def _ms(ns: int) -> float:
    return round(ns / 1e6, 2)
