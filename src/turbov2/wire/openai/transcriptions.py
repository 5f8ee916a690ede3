"""OpenAI's audio endpoints ↔ canonical requests and transcripts. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec
import numpy as np

from turbov2.errors import InvalidRequest, NotSupported
from turbov2.speech.languages import NAMES
from turbov2.speech.mel import FRAMES_PER_S
from turbov2.speech.subtitles import CueStyle
from turbov2.types import (
    SpeechGoal,
    SpokenLanguage,
    TranscribeOptions,
    TranscribeRequest,
    TranscribeResult,
    Utterance,
)
from turbov2.wire._forms import Form
from turbov2.wire._http import JSON, TEXT
from turbov2.wire._sse import sse_event
from turbov2.wire._transcripts import (
    VTT,
    WHISPER,
    Transcript,
    parse_language,
    parse_prompt,
    seconds,
    subtitles,
    text_of,
)

FORMATS = {"json": JSON, "text": TEXT, "srt": TEXT, "verbose_json": JSON, "vtt": VTT}
_STREAMED = ("json", "text", "verbose_json")
_GRANULARITIES = ("word", "segment")
_TOKENS_PER_FRAME = 0.5  # what Whisper makes of 10 ms of sound
_STEP = 0.2  # between the temperatures that are tried


class Asked(NamedTuple):
    """What a request wants: of the engine, and of the answer."""

    request: TranscribeRequest
    format: str
    granularities: Sequence[str]
    is_streamed: bool


def parse_transcription(form: Form, task: SpeechGoal) -> Asked:
    """Returns what is wanted. Raises: InvalidRequest, NotSupported naming the field."""
    name = form.text("response_format") or "json"
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidRequest(
            f"response_format is '{name[:40]}', expected one of: {known}", param="response_format"
        )
    if "logprobs" in form.texts("include"):
        raise NotSupported(
            "logprobs of tokens are not given here; verbose_json has avg_logprob of each segment",
            param="include",
        )
    is_transcript = task == "transcribe"
    is_streamed = is_transcript and form.flag("stream", default=False)
    if is_streamed and name not in _STREAMED:
        raise InvalidRequest(f"a stream has no {name}; leave out stream or response_format", param="stream")
    granularities = _granularities(form) if is_transcript else ("segment",)
    request = TranscribeRequest(
        model=form.text("model") or WHISPER,
        options=TranscribeOptions(
            language=parse_language(form) if is_transcript else None,
            task=task,
            initial_prompt=parse_prompt(form, "prompt"),
            temperatures=_temperatures(form),
            word_timestamps="word" in granularities,
        ),
    )
    return Asked(request, name, granularities, is_streamed)


def _granularities(form: Form) -> Sequence[str]:
    wanted = form.texts("timestamp_granularities")
    for name in wanted:
        if name not in _GRANULARITIES:
            raise InvalidRequest(
                f"timestamp_granularities has '{name[:40]}', expected word or segment",
                param="timestamp_granularities",
            )
    return wanted or ("segment",)


def _temperatures(form: Form) -> tuple[float, ...]:
    """Returns what was asked for first, and above it what is tried where the text looks wrong."""
    first = form.number("temperature", 0, 1) or 0.0
    return tuple(round(float(each), 3) for each in np.arange(first, 1.0 + 1e-6, _STEP))


def render_transcription(asked: Asked, transcript: Transcript) -> bytes:
    """Returns the whole answer in the format that was asked for."""
    text, result = text_of(transcript.segments), transcript.result
    if asked.format == "text":
        return text.encode() + b"\n"
    if asked.format in ("srt", "vtt"):
        return subtitles(transcript.segments, asked.format, CueStyle())
    usage = {"type": "duration", "seconds": seconds(result.duration_s)}
    if asked.format == "json":
        return msgspec.json.encode({"text": text, "usage": usage})
    body: dict[str, Any] = {
        "task": asked.request.options.task,
        "language": _language_name(asked.request.options.task, result.language),
        "duration": seconds(result.duration_s),
        "text": text,
    }
    if "segment" in asked.granularities:
        body["segments"] = [_segment(segment) for segment in transcript.segments]
    if "word" in asked.granularities:
        body["words"] = [word for segment in transcript.segments for word in _words(segment)]
    return msgspec.json.encode({**body, "usage": usage})


def _language_name(task: SpeechGoal, language: SpokenLanguage) -> str:
    return "english" if task == "translate" else NAMES.get(language.code, language.code)


def _segment(segment: Utterance) -> dict[str, Any]:
    return {
        "id": segment.id,
        "seek": segment.start_frame,
        "start": seconds(segment.start_s),
        "end": seconds(segment.end_s),
        "text": segment.text,
        "tokens": segment.tokens,
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
        "doubts": segment.doubts,
    }


def _words(segment: Utterance) -> list[dict[str, Any]]:
    return [
        {"word": word.text.strip(), "start": seconds(word.start_s), "end": seconds(word.end_s)}
        for word in segment.words or ()
    ]


def delta_event(text: str) -> bytes:
    """Returns the event of the next words."""
    return _event({"type": "transcript.text.delta", "delta": text})


def done_event(text: str, n_output_tokens: int, result: TranscribeResult) -> bytes:
    """Returns the last event. In streams, usage is counted in tokens, those of sound as Whisper reads it."""
    n_input_tokens = round(result.duration_s * FRAMES_PER_S * _TOKENS_PER_FRAME)
    usage = {
        "type": "tokens",
        "input_tokens": n_input_tokens,
        "input_token_details": {"audio_tokens": n_input_tokens, "text_tokens": 0},
        "output_tokens": n_output_tokens,
        "total_tokens": n_input_tokens + n_output_tokens,
    }
    return _event({"type": "transcript.text.done", "text": text, "usage": usage})


def _event(fields: dict[str, Any]) -> bytes:
    return sse_event(str(fields["type"]), msgspec.json.encode(fields))
