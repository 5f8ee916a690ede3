"""GET /api/jobs/{id}/transcript: what a job has heard so far, in one piece. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from turbov2.errors import InvalidRequest
from turbov2.speech.subtitles import CueStyle, cues_of, srt_of, vtt_of
from turbov2.wire._http import TEXT
from turbov2.wire._transcripts import VTT

KIND = "transcript"  # of jobs
FORMATS = {"text": TEXT, "srt": TEXT, "vtt": VTT}


class _Word(msgspec.Struct, rename={"text": "word", "start_s": "start", "end_s": "end"}):
    text: str
    start_s: float
    end_s: float


class _Segment(msgspec.Struct, rename={"start_s": "start", "end_s": "end"}):
    text: str
    start_s: float
    end_s: float
    words: list[_Word] | None = None


class _Unit(msgspec.Struct):
    """A unit's result, as the job keeps it."""

    segments: list[_Segment]


_UNIT = msgspec.json.Decoder(_Unit)


def parse_format(name: str) -> str:
    """Returns the name of the format. Raises: InvalidRequest."""
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise InvalidRequest(f"format is '{name[:40]}', expected one of: {known}", param="format")
    return name


def render_units(units: Sequence[bytes], name: str) -> bytes:
    """Returns the segments of the units, one a line as text, or as subtitles."""
    segments = [segment for unit in units for segment in _UNIT.decode(unit).segments]
    if name == "text":
        return "".join(f"{segment.text}\n" for segment in segments).encode()
    write = srt_of if name == "srt" else vtt_of
    return "".join(write(cues_of(segments, CueStyle()))).encode()
