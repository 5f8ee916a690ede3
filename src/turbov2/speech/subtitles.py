"""Subtitles: segments as cues, and cues as SubRip (SRT) or WebVTT, as players and editors take them. Pure.

A cue fits on a screen, none overlaps another, and none is empty. Times come from words where there are words;
else a segment that is too long for one cue is cut, and its time is shared out by the width of its parts.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple, Protocol

import msgspec

_LONG_PAUSE_S = 1.5  # between words of a segment: what follows is a cue of its own
_SHORTEST_MS = 500  # as far as the next cue leaves room
# A part ends where a line may: before a space, or behind the punctuation of scripts that have no spaces.
_PART = re.compile(r"\s*(?:[^\s、。，！？]+[、。，！？]*|[、。，！？]+)")
_CLAUSE_ENDS = (".", "?", "!", "…", "。", "？", "！", ",", ";", ":", "、", "，")


class Timed(Protocol):
    """A text and its times."""

    @property
    def text(self) -> str:
        """With the space before it, if there is one."""

    @property
    def start_s(self) -> float:
        """When it begins."""

    @property
    def end_s(self) -> float:
        """When it ends."""


class Said(Timed, Protocol):
    """A segment of a transcript."""

    @property
    def words(self) -> Sequence[Timed] | None:
        """Its words, if they were asked for."""


class CueStyle(msgspec.Struct, frozen=True):
    """How large a cue may be. The names are those of the openai-whisper command line.

    max_line_width: in columns, of which a wide character takes two. max_words_per_line: words of a cue, as
    few as one; None: as many as fit; wants segments with words.
    """

    max_line_width: int = 42
    max_line_count: int = 2
    max_words_per_line: int | None = None


class Cue(NamedTuple):
    """What is shown from `start_ms` until just before `end_ms`."""

    start_ms: int
    end_ms: int
    lines: tuple[str, ...]


class _Part(NamedTuple):
    """The smallest piece that a line takes, with the space before it."""

    text: str
    start_s: float
    end_s: float


def cues_of(segments: Iterable[Said], style: CueStyle) -> Iterator[Cue]:
    """Yields the cues of segments in the order of their times. Each is held until the next is known."""
    waiting: Cue | None = None
    for cue in _raw_cues(segments, style):
        if waiting is None:
            waiting = cue
            continue
        start_ms = max(cue.start_ms, waiting.start_ms + 1)
        yield _until(waiting, start_ms)
        waiting = cue._replace(start_ms=start_ms)
    if waiting is not None:
        yield _until(waiting, None)


def srt_of(cues: Iterable[Cue]) -> Iterator[str]:
    """Yields the pieces of a SubRip file, one a cue."""
    for number, cue in enumerate(cues, 1):
        # There is no escape for the arrow, which readers take for a line of times.
        text = "\n".join(cue.lines).replace("-->", "->")
        yield f"{number}\n{_clock(cue.start_ms, ',')} --> {_clock(cue.end_ms, ',')}\n{text}\n\n"


def vtt_of(cues: Iterable[Cue]) -> Iterator[str]:
    """Yields the pieces of a WebVTT file: its head, and one a cue."""
    yield "WEBVTT\n\n"
    for cue in cues:
        text = "\n".join(cue.lines).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        yield f"{_clock(cue.start_ms, '.')} --> {_clock(cue.end_ms, '.')}\n{text}\n\n"


def _until(cue: Cue, next_start_ms: int | None) -> Cue:
    """Returns the cue with an end behind its start, and not behind the next one's."""
    end_ms = max(cue.end_ms, cue.start_ms + _SHORTEST_MS)
    return cue._replace(end_ms=end_ms if next_start_ms is None else min(end_ms, next_start_ms))


def _raw_cues(segments: Iterable[Said], style: CueStyle) -> Iterator[Cue]:
    """Yields cues whose times may still overlap."""
    for segment in segments:
        parts = [piece for part in _parts(segment) for piece in _cut(part, style.max_line_width)]
        for group in _groups(parts, style):
            lines = _lines(group, style.max_line_width)
            if lines:
                yield Cue(round(group[0].start_s * 1e3), round(group[-1].end_s * 1e3), lines)


def _parts(segment: Said) -> list[_Part]:
    if segment.words:
        return [_Part(_shown(word.text), word.start_s, word.end_s) for word in segment.words]
    return _shared(_PART.findall(_shown(segment.text)), segment.start_s, segment.end_s)


def _shown(text: str) -> str:
    """Returns the text without line breaks and what cannot be seen."""
    return "".join(" " if char.isspace() else char for char in text if char.isspace() or char.isprintable())


def _shared(texts: Sequence[str], start_s: float, end_s: float) -> list[_Part]:
    """Returns the texts, the time shared out by their width."""
    step_s = (end_s - start_s) / max(1, sum(_width(text) for text in texts))
    parts = []
    for text in texts:
        until_s = start_s + step_s * _width(text)
        parts.append(_Part(text, start_s, until_s))
        start_s = until_s
    return parts


def _cut(part: _Part, max_width: int) -> list[_Part]:
    """Returns the part, or pieces of it if it is too wide for a line."""
    if _width(part.text.strip()) <= max_width:
        return [part]
    pieces = [""]
    for char in part.text:
        if _width((pieces[-1] + char).strip()) > max_width:
            pieces.append("")
        pieces[-1] += char
    return _shared(pieces, part.start_s, part.end_s)


def _groups(parts: Sequence[_Part], style: CueStyle) -> Iterator[Sequence[_Part]]:
    """Yields the parts of each cue."""
    if not parts:
        return
    if style.max_words_per_line is not None:
        for first in range(0, len(parts), style.max_words_per_line):
            yield from _halves(parts[first : first + style.max_words_per_line], style)
        return
    begun = 0
    for index, (left, right) in enumerate(pairwise(parts), 1):
        if right.start_s - left.end_s >= _LONG_PAUSE_S:
            yield from _halves(parts[begun:index], style)
            begun = index
    yield from _halves(parts[begun:], style)


def _halves(parts: Sequence[_Part], style: CueStyle) -> Iterator[Sequence[_Part]]:
    """Yields the parts as they are if they fit into one cue, else halved until they do."""
    if len(parts) == 1 or len(_lines(parts, style.max_line_width)) <= style.max_line_count:
        yield parts
        return
    half = _best_break(parts)
    yield from _halves(parts[:half], style)
    yield from _halves(parts[half:], style)


def _best_break(parts: Sequence[_Part]) -> int:
    """Returns where to cut: near the middle, and behind a clause rather than within one."""
    widths = [_width(part.text) for part in parts]
    total, left = sum(widths), 0
    scores = []
    for index in range(1, len(parts)):
        left += widths[index - 1]
        is_clause = parts[index - 1].text.endswith(_CLAUSE_ENDS)
        scores.append((abs(2 * left - total) - is_clause * total / 4, index))
    return min(scores)[1]


def _lines(parts: Sequence[_Part], max_width: int) -> tuple[str, ...]:
    lines = [""]
    for part in parts:
        if lines[-1] and _width((lines[-1] + part.text).strip()) > max_width:
            lines.append("")
        lines[-1] += part.text
    return tuple(text for line in lines if (text := " ".join(line.split())))


def _width(text: str) -> int:
    """Returns the columns that the text takes on a screen."""
    return sum(
        0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1
        for char in text
    )


def _clock(ms: int, point: str) -> str:
    seconds, ms = divmod(max(0, ms), 1_000)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours:02}:{minutes:02}:{seconds:02}{point}{ms:03}"
