"""A file's sound as the child's answers to one request. Loaded only there, with PyAV."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator

import numpy as np

from turbov2.errors import DeadlineExceeded
from turbov2.media import messages as say
from turbov2.media import sandbox
from turbov2.media.audio import AudioFileReader, Broken
from turbov2.media.limits import MediaLimits
from turbov2.media.memory import rss_bytes
from turbov2.runners import frames
from turbov2.speech.mel import SAMPLE_RATE_HZ

_SLOWEST = 10  # seconds of sound a second: ordinary files have hundreds


class Pace:
    """Ends what computes for long without getting on: so much for the start, and then by what was decoded."""

    def __init__(self, timeout_s: float) -> None:
        self._timeout_s = timeout_s
        self._started_s = time.process_time()

    def go_on(self, decoded_s: float) -> None:
        """Afterwards there is time for the next seconds of sound. Raises: DeadlineExceeded."""
        most_s = self._timeout_s + decoded_s / _SLOWEST
        left_s = most_s - (time.process_time() - self._started_s)
        if left_s <= 0:
            raise DeadlineExceeded(
                f"decoding the sound takes more than {most_s:g} s, the limit; send a simpler file"
            )
        sandbox.allow_cpu(left_s)


def audio_answers(descriptor: int, limits: MediaLimits) -> Iterator[frames.Frame]:
    """Yields the answers to a request for a file's sound."""
    pace = Pace(limits.timeout_s)
    with contextlib.closing(AudioFileReader(descriptor, limits)) as opened:
        yield frames.Frame(say.AudioStart(rss_bytes(), opened.facts, opened.claimed_s, opened.is_cut))
        broken = ""
        try:
            for samples in opened.blocks():
                yield frames.Frame(say.AudioSamples(rss_bytes()), (samples.view(np.uint8),))
                pace.go_on(opened.n_samples / SAMPLE_RATE_HZ)
        except Broken as error:
            broken = str(error)
        yield frames.Frame(say.AudioEnd(rss_bytes(), broken))
