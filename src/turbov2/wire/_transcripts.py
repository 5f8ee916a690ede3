"""Transcripts in the shapes that several families give: whole, as text, as subtitles."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing, closing
from typing import NamedTuple

from turbov2.errors import InvalidRequest
from turbov2.speech.languages import NAMES, language_code
from turbov2.speech.subtitles import CueStyle, cues_of, srt_of, vtt_of
from turbov2.types import TranscribeEvent, TranscribeResult, TranscribeStep, Utterance
from turbov2.wire._forms import Form
from turbov2.wire._uploads import UploadForm

WHISPER = "whisper-base"  # where a request names no model
VTT = b"text/vtt; charset=utf-8"
MAX_PROMPT_CHARS = 10_000  # models read the last 223 tokens of it
_DIGITS = 3

Events = AsyncGenerator[TranscribeEvent, None]


class Transcript(NamedTuple):
    """All that a file gave."""

    segments: Sequence[Utterance]
    result: TranscribeResult


async def closing_upload(form: UploadForm, events: Events) -> Events:
    """Yields the events; afterwards the upload's disk is free."""
    with closing(form):
        async with aclosing(events):
            async for event in events:
                yield event


async def whole_transcript(events: Events) -> Transcript:
    """Returns what the stream's steps add up to. Raises: what `events` raises."""
    segments: list[Utterance] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, TranscribeStep):
                segments.extend(event.segments)
            elif isinstance(event, TranscribeResult):
                return Transcript(segments, event)
    raise RuntimeError("a transcript came without an end. This is a bug.")


def text_of(segments: Iterable[Utterance]) -> str:
    """Returns the text, without space around it."""
    return "".join(segment.text for segment in segments).strip()


def subtitles(segments: Iterable[Utterance], name: str, style: CueStyle) -> bytes:
    """Returns the file in the format `name`: srt or vtt."""
    write = srt_of if name == "srt" else vtt_of
    return "".join(write(cues_of(segments, style))).encode()


def parse_language(form: Form) -> str | None:
    """Returns the code of the language, None to detect it. Raises: InvalidRequest that lists those known."""
    said = form.text("language")
    if not said or said.lower() == "auto":
        return None
    code = language_code(said)
    if code is None:
        known = ", ".join(NAMES)
        raise InvalidRequest(
            f"language is '{said[:40]}', expected a code or an English name of these: {known}; "
            "leave it out to have it detected",
            param="language",
        )
    return code


def parse_prompt(form: Form, *names: str) -> str | None:
    """Returns the first text that stands under one of the names. Raises: InvalidRequest for one too long."""
    for name in names:
        if text := form.text(name):
            if len(text) > MAX_PROMPT_CHARS:
                raise InvalidRequest(
                    f"{name} has {len(text)} characters, the limit is {MAX_PROMPT_CHARS}", param=name
                )
            return text
    return None


def seconds(time_s: float) -> float:
    """Returns a time as it is told."""
    return round(time_s, _DIGITS)
