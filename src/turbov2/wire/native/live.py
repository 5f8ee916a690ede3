"""Live speech on our own route: its query and events ↔ canonical requests and events. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from turbov2.errors import InvalidRequest, TurboError
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.types import (
    Cleared,
    FinalText,
    LiveClear,
    LiveCommit,
    LiveEvent,
    LiveReady,
    LiveRequest,
    LiveResult,
    NothingSaid,
    PartialText,
    SpeechStarted,
    SpeechStopped,
    UtteranceFailed,
)
from turbov2.wire._forms import Form
from turbov2.wire._live import RATES_HZ, parse_turns
from turbov2.wire._transcripts import WHISPER, seconds, text_of
from turbov2.wire.native.transcribe import language_fields, parse_options, segment_fields

_MAX_SAID = 200


class AskedLive(NamedTuple):
    """What a session wants: of the engine, and how its sound comes."""

    request: LiveRequest
    rate_hz: int


class _Said(msgspec.Struct):
    type: str


_SAID = msgspec.json.Decoder(_Said)


def parse_live(form: Form) -> AskedLive:
    """Returns what is wanted. Raises: InvalidRequest naming the field."""
    rate_hz = form.integer("sample_rate", SAMPLE_RATE_HZ, 0, 1_000_000)
    if rate_hz not in RATES_HZ:
        known = ", ".join(map(str, RATES_HZ))
        raise InvalidRequest(f"sample_rate is {rate_hz}, expected one of: {known}", param="sample_rate")
    request = LiveRequest(
        model=form.text("model") or WHISPER,
        options=parse_options(
            form, is_batched=False, wants_words=form.flag("word_timestamps", default=False)
        ),
        turns=parse_turns(form) if form.flag("turns", default=True) else None,
        has_partials=form.flag("partials", default=True),
        keep_alive_s=form.keep_alive_s(),
    )
    return AskedLive(request, rate_hz)


def parse_said(text: str) -> LiveCommit | LiveClear | None:
    """Returns what a text message means; None: the end. Raises: InvalidRequest."""
    try:
        said = _SAID.decode(text).type
    except (msgspec.DecodeError, RecursionError):
        said = ""
    if said == "end":
        return None
    if said == "commit":
        return LiveCommit()
    if said == "clear":
        return LiveClear()
    raise InvalidRequest(
        f"the message {text[:_MAX_SAID]!r} is not understood; send sound as binary messages, and as text "
        '{"type":"commit"}, {"type":"clear"} or {"type":"end"}'
    )


def render_live(event: LiveEvent) -> str:
    """Returns the event's JSON."""
    return msgspec.json.encode(_fields(event)).decode()


def render_live_error(error: TurboError) -> str:
    """Returns the last event of a session that failed."""
    return msgspec.json.encode({"event": "error", "error": error.message, "code": error.code}).decode()


def _fields(event: LiveEvent) -> dict[str, Any]:
    match event:
        case LiveReady():
            return {"event": "started", "model": event.model}
        case SpeechStarted():
            return {"event": "speech_started", "utterance": event.utterance, "start": seconds(event.start_s)}
        case SpeechStopped():
            told = {"event": "speech_stopped", "utterance": event.utterance, "end": seconds(event.end_s)}
            return told | ({"has_more": True} if event.has_more else {})
        case PartialText():
            return {
                "event": "partial",
                "utterance": event.utterance,
                "start": seconds(event.start_s),
                "end": seconds(event.end_s),
                "text": event.text,
            }
        case FinalText():
            return {
                "event": "final",
                "utterance": event.utterance,
                "start": seconds(event.start_s),
                "end": seconds(event.end_s),
                "text": text_of(event.segments),
                **language_fields(event.language),
                "segments": [segment_fields(segment) for segment in event.segments],
            }
        case UtteranceFailed():
            error = event.error
            return {
                "event": "failed",
                "utterance": event.utterance,
                "error": error.message,
                "code": error.code,
            }
        case NothingSaid():
            return {"event": "nothing_said"}
        case Cleared():
            return {"event": "cleared"}
        case LiveResult():
            return _result(event)


def _result(result: LiveResult) -> dict[str, Any]:
    return {
        "event": "done",
        "model": result.model,
        "duration": seconds(result.duration_s),
        "utterances": result.n_utterances,
        "timings": {
            "load_ms": _ms(result.load_ns),
            "queue_ms": _ms(result.queue_ns),
            "inference_ms": _ms(result.inference_ns),
        },
    }


def _ms(ns: int) -> float:
    return round(ns / 1e6, 2)
