"""Chunk by chunk: pieces of up to 30 s between pauses, each read for itself, several at once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator

from msgspec.structs import replace

from turbov2.engine.transcripts.recording import Hear, Recording
from turbov2.engine.transcripts.spoken import Spoken
from turbov2.engine.transcripts.windows import Passage
from turbov2.errors import InvalidRequest
from turbov2.speech.collected import ChunkMaker
from turbov2.speech.mel import SAMPLE_RATE_HZ, WINDOW_FRAMES, count_frames
from turbov2.speech.voices import Span
from turbov2.types import (
    ChunkResult,
    ChunkTask,
    LanguageTask,
    SpokenLanguage,
    TranscribeOptions,
    TranscribeState,
)

CHUNK_SAMPLES = 30 * SAMPLE_RATE_HZ


async def read_chunks(
    track: Recording | Spoken,
    options: TranscribeOptions,
    hear: Hear,
    state: TranscribeState,
    n_at_once: int,
) -> AsyncGenerator[Passage, None]:
    """Yields what each chunk gave, in their order, from `state` on; times are those of the track.

    Equal to faster-whisper's `BatchedInferencePipeline.transcribe`.
    """
    chunks = _Chunks(track)
    language = state.language or await chunks.language(hear)
    state = replace(state, language=language)
    for _ in range(state.position):
        await chunks.next()
    # Where a word begins depends on where the one before ended.
    reading = _Reading(track, replace(options, language=language.code), hear)
    n_at_once = 1 if options.word_timestamps else n_at_once
    try:
        while True:
            while len(reading) < n_at_once and (chunk := await chunks.next()) is not None:
                reading.begin(chunk, state.last_speech_s)
            if not len(reading):
                return
            chunk, found = await reading.first()
            state = replace(state, position=state.position + 1, last_speech_s=found.last_speech_s)
            yield Passage(found.segments, chunk.end, state)
    finally:
        await reading.end()
        await chunks.end()


class _Chunks:
    """The chunks of a track that are not read yet, as ranges of it; some may have been looked at."""

    def __init__(self, track: Recording | Spoken) -> None:
        self._track = track
        self._made = _chunks_of(track)
        self._ahead: deque[Span] = deque()

    async def next(self) -> Span | None:
        """Returns the next chunk, None behind the last one."""
        return self._ahead.popleft() if self._ahead else await anext(self._made, None)

    async def end(self) -> None:
        """Afterwards no more are made."""
        await self._made.aclose()

    async def language(self, hear: Hear) -> SpokenLanguage:
        """Returns the language of the first 30 s."""
        n_frames = 0
        while n_frames < WINDOW_FRAMES and (chunk := await anext(self._made, None)) is not None:
            self._ahead.append(chunk)
            n_frames += count_frames(chunk.end - chunk.start)
        samples = await self._track.samples(0, self._ahead[-1].end if self._ahead else 0)
        told = await hear(LanguageTask(tuple(chunk.end - chunk.start for chunk in self._ahead)), samples)
        assert isinstance(told, SpokenLanguage), "a language was asked for. This is a bug."
        return told


async def _chunks_of(track: Recording | Spoken) -> AsyncGenerator[Span, None]:
    """Yields the chunks of a track. Raises: InvalidRequest for 30 s or more in which no voices are found."""
    if isinstance(track, Recording):
        n_known = await track.reach(CHUNK_SAMPLES)
        if n_known >= CHUNK_SAMPLES:
            raise InvalidRequest(
                "batch_size reads chunks between pauses, so a file of 30 s or more needs vad_filter",
                param="vad_filter",
            )
        yield Span(0, n_known)
        return
    maker, n_spans, end = ChunkMaker(CHUNK_SAMPLES), 0, 0
    while (span := await track.span(n_spans)) is not None:
        n_spans += 1
        if made := maker.add(span):
            start, end = end, end + _n_samples(made)
            yield Span(start, end)
    if made := maker.finish():
        yield Span(end, end + _n_samples(made))


def _n_samples(spans: list[Span]) -> int:
    return sum(span.end - span.start for span in spans)


class _Reading:
    """Chunks that the model was asked for, in their order."""

    def __init__(self, track: Recording | Spoken, options: TranscribeOptions, hear: Hear) -> None:
        self._track = track
        self._options = options
        self._hear = hear
        self._tasks: deque[tuple[Span, asyncio.Task[ChunkResult]]] = deque()

    def __len__(self) -> int:
        return len(self._tasks)

    def begin(self, chunk: Span, last_speech_s: float) -> None:
        """Asks for a chunk that follows all others."""
        self._tasks.append((chunk, asyncio.create_task(self._read(chunk, last_speech_s))))

    async def first(self) -> tuple[Span, ChunkResult]:
        """Returns the first of them, which is done then."""
        chunk, task = self._tasks[0]
        found = await task
        self._tasks.popleft()
        return chunk, found

    async def end(self) -> None:
        """Afterwards nothing is asked for any more."""
        tasks = [task for _, task in self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _read(self, chunk: Span, last_speech_s: float) -> ChunkResult:
        samples = await self._track.samples(chunk.start, chunk.end)
        found = await self._hear(
            ChunkTask(chunk.start / SAMPLE_RATE_HZ, self._options, last_speech_s), samples
        )
        assert isinstance(found, ChunkResult), "a chunk was asked for. This is a bug."
        return found
