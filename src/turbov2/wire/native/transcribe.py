"""POST /api/transcribe ↔ canonical requests and events. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.speech.subtitles import CueStyle
from turbov2.types import (
    AudioFacts,
    SpeechGoal,
    SpokenLanguage,
    TranscribeOptions,
    TranscribeRequest,
    TranscribeResult,
    TranscribeStarted,
    TranscribeStep,
    Utterance,
    VoiceOptions,
)
from turbov2.wire._forms import Form
from turbov2.wire._http import JSON, TEXT
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

FORMATS = {"json": JSON, "text": TEXT, "srt": TEXT, "vtt": VTT}
_MAX_BATCH = 64
_MAX_BEAM = 20
_MAX_TEMPERATURES = 10
_MAX_S = 10_000_000.0
_LEAST_CHUNK_SILENCE_MS = 160  # between chunks; faster-whisper's batched mode has it too
_DEFAULTS = TranscribeOptions()
_VOICE = VoiceOptions()
# What may be said of voices, and within which bounds.
_VOICE_BOUNDS: dict[str, tuple[float, float]] = {
    "threshold": (0.0, 1.0),
    "neg_threshold": (0.0, 1.0),
    "min_speech_duration_ms": (0, 60_000),
    "max_speech_duration_s": (1.0, 86_400.0),
    "min_silence_duration_ms": (0, 60_000),
    "speech_pad_ms": (0, 10_000),
}


class Asked(NamedTuple):
    """What a request wants: of the engine, and of the answer."""

    request: TranscribeRequest
    format: str
    style: CueStyle


def parse_transcribe(form: Form) -> Asked:
    """Returns what is wanted. Raises: InvalidRequest naming the field."""
    name = form.text("format") or form.text("response_format") or "json"
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidRequest(f"format is '{name[:40]}', expected one of: {known}", param="format")
    style = parse_style(form)
    wants_words = form.flag("word_timestamps", style.max_words_per_line is not None)
    if style.max_words_per_line is not None and not wants_words:
        raise InvalidRequest("max_words_per_line needs word_timestamps", param="max_words_per_line")
    return Asked(parse_request(form, form.text("model") or WHISPER, wants_words=wants_words), name, style)


def parse_request(form: Form, model: str, *, wants_words: bool) -> TranscribeRequest:
    """Returns the canonical request. Raises: InvalidRequest naming the field."""
    batch_size = form.integer("batch_size", 0, 0, _MAX_BATCH)
    start_s = form.number("start", 0, _MAX_S) or 0.0
    end_s = form.number("end", 0, _MAX_S)
    if end_s is not None and end_s <= start_s:
        raise InvalidRequest(f"end is {end_s:g}, expected more than start, {start_s:g}", param="end")
    has_voice = form.flag("vad_filter", batch_size > 0)
    return TranscribeRequest(
        model=model,
        options=parse_options(form, is_batched=batch_size > 0, wants_words=wants_words),
        voice=_voice(form, is_batched=batch_size > 0) if has_voice else None,
        batch_size=batch_size,
        start_s=start_s,
        end_s=end_s,
        drops_made_up=form.flag("drop_hallucinations", default=False),
        keep_alive_s=form.keep_alive_s(),
    )


def parse_style(form: Form) -> CueStyle:
    """Returns how large cues may be. Raises: InvalidRequest."""
    default = CueStyle()
    return CueStyle(
        max_line_width=form.integer("max_line_width", default.max_line_width, 8, 500),
        max_line_count=form.integer("max_line_count", default.max_line_count, 1, 10),
        max_words_per_line=form.integer("max_words_per_line", 0, 1, 100) or None,
    )


def parse_options(form: Form, *, is_batched: bool, wants_words: bool) -> TranscribeOptions:
    """Returns how speech becomes text. Raises: InvalidRequest naming the field."""
    default = _DEFAULTS
    return TranscribeOptions(
        language=parse_language(form),
        task=_task(form),
        initial_prompt=parse_prompt(form, "initial_prompt", "prompt"),
        hotwords=parse_prompt(form, "hotwords"),
        prefix=parse_prompt(form, "prefix"),
        beam_size=form.integer("beam_size", default.beam_size, 1, _MAX_BEAM),
        best_of=form.integer("best_of", default.best_of, 1, _MAX_BEAM),
        patience=_number(form, "patience", default.patience, 0.1, 10),
        length_penalty=_number(form, "length_penalty", default.length_penalty, -10, 10),
        repetition_penalty=_number(form, "repetition_penalty", default.repetition_penalty, 0.1, 10),
        no_repeat_ngram_size=form.integer("no_repeat_ngram_size", default.no_repeat_ngram_size, 0, 100),
        temperatures=_temperatures(form),
        compression_ratio_threshold=_number(
            form, "compression_ratio_threshold", default.compression_ratio_threshold, 0, 1_000
        ),
        log_prob_threshold=_number(form, "log_prob_threshold", default.log_prob_threshold, -1_000, 0),
        no_speech_threshold=_number(form, "no_speech_threshold", default.no_speech_threshold, 0, 1),
        condition_on_previous_text=form.flag(
            "condition_on_previous_text", default.condition_on_previous_text
        ),
        without_timestamps=form.flag("without_timestamps", is_batched),
        word_timestamps=wants_words,
    )


def _number(form: Form, name: str, default: Any, low: float, high: float) -> Any:
    value = form.number(name, low, high)
    return default if value is None else value


def _task(form: Form) -> SpeechGoal:
    task = form.text("task") or ("translate" if form.flag("translate", default=False) else "transcribe")
    if task not in ("transcribe", "translate"):
        raise InvalidRequest(f"task is '{task[:40]}', expected transcribe or translate", param="task")
    return task  # type: ignore[return-value]


def _temperatures(form: Form) -> tuple[float, ...]:
    """Returns those that are to be tried: a number, a list, or in a form numbers parted by commas."""
    value = form.fields.get("temperature")
    if value is None or value == "":
        return _DEFAULTS.temperatures
    given = value.split(",") if isinstance(value, str) else value if isinstance(value, list) else [value]
    try:
        numbers = tuple(float(each) for each in given if not isinstance(each, bool))
    except (TypeError, ValueError, OverflowError):
        numbers = ()
    if not 0 < len(numbers) <= _MAX_TEMPERATURES or not all(0 <= each <= 1 for each in numbers):
        raise InvalidRequest(
            f"temperature is {str(value)[:40]!r}, expected a number from 0 to 1, or up to "
            f"{_MAX_TEMPERATURES} of them parted by commas",
            param="temperature",
        )
    return numbers


def _voice(form: Form, *, is_batched: bool) -> VoiceOptions:
    """Returns faster-whisper's `vad_parameters`: an object, or in a form its JSON."""
    value = form.fields.get("vad_parameters") or {}
    if isinstance(value, str):
        try:
            value = msgspec.json.decode(value)
        except (msgspec.DecodeError, RecursionError):
            value = None
    if not isinstance(value, dict):
        raise InvalidRequest("vad_parameters is not a JSON object", param="vad_parameters")
    for name, number in value.items():
        if name not in _VOICE_BOUNDS:
            known = ", ".join(_VOICE_BOUNDS)
            raise InvalidRequest(
                f"vad_parameters has '{str(name)[:40]}', expected: {known}", param="vad_parameters"
            )
        low, high = _VOICE_BOUNDS[name]
        is_number = isinstance(number, int | float) and not isinstance(number, bool)
        if not is_number or not low <= number <= high:
            raise InvalidRequest(
                f"{name} is {str(number)[:40]}, expected a number from {low:g} to {high:g}",
                param="vad_parameters",
            )
    if is_batched:
        value = {"min_silence_duration_ms": _LEAST_CHUNK_SILENCE_MS, **value, "max_speech_duration_s": 30.0}
    whole = {name: int(number) if name.endswith("_ms") else number for name, number in value.items()}
    return msgspec.structs.replace(_VOICE, **whole)


def render_transcript(asked: Asked, transcript: Transcript) -> bytes:
    """Returns the whole answer in the format that was asked for."""
    if asked.format == "text":
        return text_of(transcript.segments).encode() + b"\n"
    if asked.format != "json":
        return subtitles(transcript.segments, asked.format, asked.style)
    text, result = text_of(transcript.segments), transcript.result
    segments = [segment_fields(segment) for segment in transcript.segments]
    return msgspec.json.encode({**_head(result, text), "segments": segments, **_tail(result)})


def render_started(event: TranscribeStarted) -> dict[str, Any]:
    """Returns what is known before the first segment."""
    language = {} if event.language is None else language_fields(event.language)
    duration_s = event.audio.duration_s
    return {
        "model": event.model,
        **language,
        "duration_s": None if duration_s is None else seconds(duration_s),
        "audio": _audio(event.audio),
    }


def render_progress(step: TranscribeStep) -> dict[str, Any]:
    """Returns how far the file is read, in seconds; the duration is null while it is not known."""
    duration_s = None if step.duration_s is None else seconds(step.duration_s)
    return {"done_s": seconds(step.done_s), "duration_s": duration_s}


def render_end(result: TranscribeResult, text: str) -> dict[str, Any]:
    """Returns the whole answer but the segments, which were told."""
    return {**_head(result, text), **_tail(result)}


def segment_fields(segment: Utterance) -> dict[str, Any]:
    """Returns a segment under faster-whisper's names, times in seconds."""
    fields: dict[str, Any] = {
        "id": segment.id,
        "start": seconds(segment.start_s),
        "end": seconds(segment.end_s),
        "text": segment.text.strip(),
        "seek": segment.start_frame,
        "tokens": segment.tokens,
        "temperature": segment.temperature,
        "avg_logprob": segment.avg_logprob,
        "compression_ratio": segment.compression_ratio,
        "no_speech_prob": segment.no_speech_prob,
        "doubts": segment.doubts,
    }
    if segment.words is not None:
        fields["words"] = [
            {
                "word": word.text,
                "start": seconds(word.start_s),
                "end": seconds(word.end_s),
                "probability": word.probability,
            }
            for word in segment.words
        ]
    return fields


def _head(result: TranscribeResult, text: str) -> dict[str, Any]:
    return {
        "model": result.model,
        "text": text,
        **language_fields(result.language),
        "duration": seconds(result.duration_s),
    }


def _tail(result: TranscribeResult) -> dict[str, Any]:
    return {
        "latency_ms": _ms(result.total_ns),
        "task": result.task,
        "duration_after_vad": seconds(result.spoken_s),
        "audio": _audio(result.audio),
        "timings": {
            "load_ms": _ms(result.load_ns),
            "queue_ms": _ms(result.queue_ns),
            "inference_ms": _ms(result.inference_ns),
        },
    }


def language_fields(language: SpokenLanguage) -> dict[str, Any]:
    """Returns the language's code and how likely it is."""
    return {"language": language.code, "language_probability": language.probability}


def _audio(facts: AudioFacts) -> dict[str, Any]:
    return {
        "format": facts.format,
        "codec": facts.codec,
        "sample_rate": facts.sample_rate_hz,
        "channels": facts.n_channels,
    }


def _ms(ns: int) -> float:
    return round(ns / 1e6, 2)
