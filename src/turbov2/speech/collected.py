"""A stream made of another's spans of speech, the silence between them left out."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator

from msgspec.structs import replace

from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.speech.voices import Span
from turbov2.types import Segment, Word

_N_DIGITS = 2  # of restored times, as faster-whisper rounds them


class Collected:
    """Spans one after the other; what is at which time in it, and in the stream that they are of."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._ends: list[int] = []  # in this stream

    @property
    def n_samples(self) -> int:
        """How long it is by now."""
        return self._ends[-1] if self._ends else 0

    def add(self, span: Span) -> None:
        """Afterwards it is longer by a span, which begins after all others."""
        self._spans.append(span)
        self._ends.append(self.n_samples + span.end - span.start)

    def sources(self, first: int, stop: int) -> Iterator[Span]:
        """Yields the spans of the original whose samples, joined, are those from `first` to before `stop`."""
        for index in range(bisect_right(self._ends, first), len(self._spans)):
            span, end = self._spans[index], self._ends[index]
            start = end - (span.end - span.start)
            if start >= stop:
                return
            yield Span(span.start + max(0, first - start), span.end - max(0, end - stop))

    def restore(self, segment: Segment) -> Segment:
        """Returns the segment with the times it has in the original."""
        if not segment.words:
            start = self._time(segment.start_s, self._index(segment.start_s))
            end = self._time(segment.end_s, self._index(segment.end_s, is_end=True))
            return replace(segment, start_s=start, end_s=end)
        words = tuple(map(self._restore_word, segment.words))
        return replace(segment, start_s=words[0].start_s, end_s=words[-1].end_s, words=words)

    def _restore_word(self, word: Word) -> Word:
        index = self._index((word.start_s + word.end_s) / 2)  # both of its ends belong to one span
        return replace(word, start_s=self._time(word.start_s, index), end_s=self._time(word.end_s, index))

    def _index(self, time_s: float, *, is_end: bool = False) -> int:
        sample = int(time_s * SAMPLE_RATE_HZ)
        index = bisect_right(self._ends, sample)
        if is_end and index and self._ends[index - 1] == sample:
            return index - 1
        return min(index, len(self._ends) - 1)

    def _time(self, time_s: float, index: int) -> float:
        left_out = self._spans[index].end - self._ends[index]
        return round(left_out / SAMPLE_RATE_HZ + time_s, _N_DIGITS)


class ChunkMaker:
    """Joins spans to chunks of at most `max_samples`, none of which begins within a span."""

    def __init__(self, max_samples: int) -> None:
        self._max_samples = max_samples
        self._spans: list[Span] = []
        self._n_samples = 0

    def add(self, span: Span) -> list[Span]:
        """Returns the spans of the chunk that is complete now; none if there is still room in it."""
        n_more = span.end - span.start
        if self._n_samples + n_more <= self._max_samples or not self._spans:
            self._spans.append(span)
            self._n_samples += n_more
            return []
        complete, self._spans, self._n_samples = self._spans, [span], n_more
        return complete

    def finish(self) -> list[Span]:
        """Returns the spans of the last chunk; none if there was no speech."""
        return self._spans
