"""A recording as a model hears it: samples that may still be on their way, and the times they stand for."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Protocol

from msgspec.structs import replace

from turbov2.errors import InvalidRequest
from turbov2.media import AudioFile
from turbov2.speech.mel import SAMPLE_RATE_HZ, PeakMeter
from turbov2.types import Heard, Segment, SpeechTask

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

Hear = Callable[[SpeechTask, "Samples"], Awaitable[Heard]]  # asks the model, when its turn has come

# The greatest power of the whole recording decides what counts as silence (speech.mel). It is looked for in
# the first 10 minutes: recordings up to that length are read exactly as if all were known, of longer ones the
# first segment need not wait for the end, and the same file always gives the same text.
LOOKAHEAD_SAMPLES = 600 * SAMPLE_RATE_HZ
_PIECE_SAMPLES = 30 * SAMPLE_RATE_HZ


class Track(Protocol):
    """What a model reads: a whole recording, or what is left of it without silence."""

    async def reach(self, n_samples: int) -> int:
        """Returns how many samples there are: as many or more, or all. Waits for them."""

    async def samples(self, start: int, stop: int) -> Samples:
        """Returns int16 of what `reach` has told of."""

    def in_file(self, segment: Segment) -> Segment:
        """Returns the segment with its times in the file."""

    def file_s(self, n_samples: int) -> float:
        """Returns how much of the recording lies before its sample `n_samples`, in seconds."""

    def spoken_s(self) -> float:
        """Returns the seconds that are left of the recording, as far as is known."""


class Recording:
    """A file from `start_s` to `end_s`, as if that were all of it. Implements Track."""

    def __init__(self, sound: AudioFile, start_s: float, end_s: float | None) -> None:
        self._sound = sound
        self._start = round(start_s * SAMPLE_RATE_HZ)
        self._most = None if end_s is None else max(0, round(end_s * SAMPLE_RATE_HZ) - self._start)
        self.start_s = self._start / SAMPLE_RATE_HZ

    async def check(self) -> None:
        """Raises: InvalidRequest when it begins behind the file's end; what is wrong with the file."""
        await self._sound.window(self._start, 1)
        if self._start and self._sound.n_samples_decoded <= self._start:
            length_s = self._sound.n_samples_decoded / SAMPLE_RATE_HZ
            raise InvalidRequest(
                f"start is {self.start_s:g} s, but the file ends after {length_s:g} s", param="start"
            )

    async def reach(self, n_samples: int) -> int:
        """Returns how many samples there are; see Track."""
        wanted = n_samples if self._most is None else min(n_samples, self._most)
        if wanted and not self._sound.is_done and self._sound.n_samples_decoded < self._start + wanted:
            await self._sound.window(self._start + wanted - 1, 1)
        return self._n_known()

    async def samples(self, start: int, stop: int) -> Samples:
        """Returns int16 samples; see Track."""
        return await self._sound.window(self._start + start, stop - start)

    def in_file(self, segment: Segment) -> Segment:
        """Returns the segment with its times in the file."""
        return moved(segment, self.start_s) if self._start else segment

    def file_s(self, n_samples: int) -> float:
        """Returns how much of the recording lies before its sample `n_samples`, in seconds."""
        return n_samples / SAMPLE_RATE_HZ

    def spoken_s(self) -> float:
        """Returns the seconds that are known of it: nothing is left out."""
        return self._n_known() / SAMPLE_RATE_HZ

    async def whole_s(self) -> float:
        """Returns how long it is, once that is known."""
        return await self.reach(sys.maxsize // 4 - self._start) / SAMPLE_RATE_HZ

    @property
    def duration_s(self) -> float | None:
        """Returns how long it is, None while that is not known."""
        if self._sound.is_done or self._n_known() == self._most:
            return self._n_known() / SAMPLE_RATE_HZ
        claimed_s = self._sound.duration_s
        if claimed_s is None:
            return None
        most_s = float("inf") if self._most is None else self._most / SAMPLE_RATE_HZ
        return max(0.0, min(claimed_s - self.start_s, most_s))

    def _n_known(self) -> int:
        known = max(0, self._sound.n_samples_decoded - self._start)
        return known if self._most is None else min(known, self._most)


def moved(segment: Segment, by_s: float) -> Segment:
    """Returns the segment, later by so much."""
    words = None
    if segment.words is not None:
        words = tuple(replace(w, start_s=w.start_s + by_s, end_s=w.end_s + by_s) for w in segment.words)
    return replace(segment, start_s=segment.start_s + by_s, end_s=segment.end_s + by_s, words=words)


async def peak_of_beginning(track: Track, n_mels: int) -> float:
    """Returns the greatest log10 mel power of the first 10 minutes, or of all if there is no more."""
    meter, n_taken = PeakMeter(), 0
    while n_taken < LOOKAHEAD_SAMPLES:
        stop = min(n_taken + _PIECE_SAMPLES, LOOKAHEAD_SAMPLES)
        stop = min(stop, await track.reach(stop))
        if stop == n_taken:
            break
        piece = await track.samples(n_taken, stop)
        await asyncio.to_thread(meter.add, piece)
        n_taken = stop
    if await track.reach(n_taken + 1) == n_taken:
        meter.finish()
    return meter.peaks[n_mels]
