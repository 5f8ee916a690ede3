"""What is left of a recording without silence: the spans in which somebody speaks, one behind the other."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from turbov2.engine.transcripts.recording import Hear, Recording
from turbov2.speech.collected import Collected
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.speech.voices import VOICE_SAMPLES, Span, SpeechFinder
from turbov2.types import Segment, VoiceOptions, VoiceResult, VoiceTask

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

_CERTAIN_SAMPLES = 35 * SAMPLE_RATE_HZ  # behind a sample: what is found in so much more changes nothing there
_PIECE_SAMPLES = VOICE_SAMPLES * 1024  # 33 s are listened to in one turn of the model


class Spoken:
    """Implements Track over the spans of a recording with a voice; they are found as they are asked for."""

    def __init__(self, recording: Recording, options: VoiceOptions, hear: Hear) -> None:
        self._recording = recording
        self._hear = hear
        self._finder = SpeechFinder(options)
        self._collected = Collected()
        self._spans: list[Span] = []  # a few thousand in the longest file
        self._state = b""
        self._n_heard = 0
        self._is_done = False

    async def reach(self, n_samples: int) -> int:
        """Returns how many samples there are; see Track."""
        while self._collected.n_samples < n_samples and not self._is_done:
            await self._listen()
        return self._collected.n_samples

    async def span(self, index: int) -> Span | None:
        """Returns the span at `index`, once it is certain; None behind the last one."""
        while len(self._spans) <= index and not self._is_done:
            await self._listen()
        return self._spans[index] if index < len(self._spans) else None

    async def around(self, start_s: float, end_s: float) -> Sequence[Span]:
        """Returns the spans, in the file's samples, that touch this part of the file."""
        shift = round(self._recording.start_s * SAMPLE_RATE_HZ)
        start, end = (round(time_s * SAMPLE_RATE_HZ) - shift for time_s in (start_s, end_s))
        while self._n_heard < end + _CERTAIN_SAMPLES and not self._is_done:
            await self._listen()
        first = bisect_right(self._spans, start, key=lambda span: span.end)
        last = bisect_left(self._spans, end, key=lambda span: span.start)
        return [Span(span.start + shift, span.end + shift) for span in self._spans[first:last]]

    async def samples(self, start: int, stop: int) -> Samples:
        """Returns int16 samples; see Track."""
        spans = self._collected.sources(start, stop)
        pieces = [await self._recording.samples(*span) for span in spans]
        return np.concatenate(pieces) if pieces else np.zeros(0, np.int16)

    def in_file(self, segment: Segment) -> Segment:
        """Returns the segment with its times in the file."""
        return self._recording.in_file(self._collected.restore(segment))

    def file_s(self, n_samples: int) -> float:
        """Returns how much of the recording lies before the track's sample; all, behind its last one."""
        if self._is_done and n_samples >= self._collected.n_samples:
            return self._n_heard / SAMPLE_RATE_HZ
        span = next(self._collected.sources(n_samples, n_samples + 1), Span(self._n_heard, self._n_heard))
        return span.start / SAMPLE_RATE_HZ

    def spoken_s(self) -> float:
        """Returns how long all spans are that were found."""
        return self._collected.n_samples / SAMPLE_RATE_HZ

    async def _listen(self) -> None:
        """Afterwards the next piece of the recording was heard, and what it made certain is known."""
        n_known = await self._recording.reach(self._n_heard + _PIECE_SAMPLES + 1)
        stop = min(n_known, self._n_heard + _PIECE_SAMPLES)
        is_last = n_known <= stop
        piece = await self._recording.samples(self._n_heard, stop)
        heard = await self._hear(VoiceTask(is_last, self._state), piece)
        assert isinstance(heard, VoiceResult), "voices were asked for. This is a bug."
        self._state, self._n_heard, self._is_done = heard.state, stop, is_last
        found = self._finder.feed(heard.probabilities) + (self._finder.finish(stop) if is_last else [])
        for span in found:
            self._collected.add(span)
        self._spans += found
