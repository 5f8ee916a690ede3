"""Window by window: each 30 s begin where the last one's text ended, and may know that text."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import NamedTuple

from msgspec.structs import replace

from turbov2.engine.transcripts.recording import Hear, Track, peak_of_beginning
from turbov2.speech.mel import FRAME_SAMPLES
from turbov2.speech.windows import Position, next_window, samples_of
from turbov2.types import Segment, TranscribeOptions, TranscribeState, WindowResult


class Passage(NamedTuple):
    """What one call of the model gave. n_read: samples of the track that are behind it."""

    segments: tuple[Segment, ...]
    n_read: int
    state: TranscribeState


async def read_windows(
    track: Track, options: TranscribeOptions, hear: Hear, state: TranscribeState, n_mels: int
) -> AsyncGenerator[Passage, None]:
    """Yields what each window gave, from `state` on; times are those of the track.

    Equal to faster-whisper's `WhisperModel.transcribe` of a track up to 10 minutes long.
    """
    peak = await peak_of_beginning(track, n_mels)
    at = Position(state.position, state.previous_tokens, state.last_speech_s, state.language)
    while True:
        n_known = await track.reach(at.n_samples_needed)
        if at.is_at_end(n_known):
            return
        task = next_window(at, options, n_known, peak)
        first, stop = samples_of(task)
        heard = await hear(task, await track.samples(first, min(stop, n_known)))
        assert isinstance(heard, WindowResult), "a window was asked for. This is a bug."
        at = at.after(heard)
        state = replace(
            state,
            position=at.next_frame,
            previous_tokens=at.previous_tokens,
            last_speech_s=at.last_speech_s,
            language=at.language,
        )
        n_read = n_known if at.is_at_end(n_known) else at.next_frame * FRAME_SAMPLES
        yield Passage(heard.segments, n_read, state)
