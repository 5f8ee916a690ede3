"""One utterance: a few seconds of samples in memory, read to its end or as far as it goes."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from msgspec.structs import asdict, replace

from turbov2.engine.transcripts.recording import Hear, moved, peak_of_beginning
from turbov2.engine.transcripts.windows import read_windows
from turbov2.speech.doubts import doubts_about
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.speech.windows import Position, next_window, samples_of
from turbov2.types import (
    Segment,
    SpokenLanguage,
    TranscribeOptions,
    TranscribeState,
    Utterance,
    WindowResult,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples


class Piece:
    """Samples of a stream as if they were a file. Implements Track; `in_file` gives the stream's times."""

    def __init__(self, samples: Samples, start_s: float) -> None:
        self._samples = samples
        self.start_s = start_s

    @property
    def end_s(self) -> float:
        """The time in the stream at which it ends."""
        return self.file_s(len(self._samples))

    async def reach(self, n_samples: int) -> int:
        """Returns how many samples there are: all are known."""
        return len(self._samples)

    async def samples(self, start: int, stop: int) -> Samples:
        """Returns int16 samples; see Track."""
        return self._samples[start:stop]

    def in_file(self, segment: Segment) -> Segment:
        """Returns the segment with its times in the stream."""
        return moved(segment, self.start_s)

    def file_s(self, n_samples: int) -> float:
        """Returns the time in the stream of the piece's sample `n_samples`."""
        return self.start_s + n_samples / SAMPLE_RATE_HZ

    def spoken_s(self) -> float:
        """Returns how long it is."""
        return len(self._samples) / SAMPLE_RATE_HZ


async def read_whole(
    piece: Piece, options: TranscribeOptions, hear: Hear, n_mels: int, first_id: int
) -> tuple[tuple[Utterance, ...], SpokenLanguage]:
    """Returns what is said and in which language, as `transcribe` tells it of a file of these samples."""
    language = None if options.language is None else SpokenLanguage(options.language, 1.0)
    state = TranscribeState(language=language)
    found: list[Utterance] = []
    async with aclosing(read_windows(piece, options, hear, state, n_mels)) as passages:
        async for passage in passages:
            for segment in passage.segments:
                doubts = doubts_about(segment, [each.text for each in found], None, options)
                fields = asdict(piece.in_file(segment)) | {"id": first_id + len(found), "doubts": doubts}
                found.append(Utterance(**fields))
            state = passage.state
    assert state.language is not None, "what is read has a language. This is a bug."
    return tuple(found), state.language


async def read_so_far(
    piece: Piece, options: TranscribeOptions, language: SpokenLanguage | None, hear: Hear, n_mels: int
) -> tuple[str, SpokenLanguage]:
    """Returns what it seems to say by now, with the least that this can cost: one window, no second try.

    language: what is known of it; None: it is detected.
    """
    options = replace(options, temperatures=options.temperatures[:1], beam_size=1, word_timestamps=False)
    n_known = await piece.reach(0)
    peak = await peak_of_beginning(piece, n_mels)
    task = next_window(Position(language=language), options, n_known, peak)
    first, stop = samples_of(task)
    heard = await hear(task, await piece.samples(first, min(stop, n_known)))
    assert isinstance(heard, WindowResult), "a window was asked for. This is a bug."
    return "".join(segment.text for segment in heard.segments).strip(), heard.language
