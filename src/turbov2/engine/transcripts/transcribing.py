"""Transcribing: a file of any length as text, told while it is read.

The file is decoded ahead by a child; the model is asked for one window or chunk at a time, each in its turn
with what others want. So memory is that of a window, and who leaves stops the work at once.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing

from msgspec.structs import asdict, replace

from turbov2.catalog import ModelSpec
from turbov2.engine.checks import check_hears, check_transcribes
from turbov2.engine.lanes import lane_of
from turbov2.engine.running import Running
from turbov2.engine.shelf import Shelf
from turbov2.engine.transcripts.chunks import CHUNK_SAMPLES, read_chunks
from turbov2.engine.transcripts.hearing import Hearing
from turbov2.engine.transcripts.recording import Recording
from turbov2.engine.transcripts.spoken import Spoken
from turbov2.engine.transcripts.windows import Passage, read_windows
from turbov2.media import AudioFile, Decoder, OpenFile
from turbov2.obs.ledger import Entry, Ledger
from turbov2.speech.doubts import doubts_about, is_made_up
from turbov2.speech.mel import FRAMES_PER_S, WINDOW_FRAMES
from turbov2.types import (
    AudioFacts,
    Context,
    Doubt,
    Segment,
    SpokenLanguage,
    TranscribeEvent,
    TranscribeRequest,
    TranscribeResult,
    TranscribeStarted,
    TranscribeState,
    TranscribeStep,
    Utterance,
    VoiceOptions,
)

_WINDOW_S = WINDOW_FRAMES / FRAMES_PER_S
_N_RECENT = 8  # texts that a repeated one is known by
_SOON_CERTAIN = VoiceOptions(max_speech_duration_s=30.0)
_N_AHEAD = 2  # chunks for each call of the model: more would lie in memory, before others of the same key
_WINDOW_BYTES = CHUNK_SAMPLES * 2  # of each file that waits; the rest of it is on disk


class Transcribing:
    """The operation `transcribe` of one engine."""

    def __init__(self, shelf: Shelf, running: Running, decoder: Decoder, ledger: Ledger) -> None:
        self._shelf = shelf
        self._running = running
        self._decoder = decoder
        self._ledger = ledger

    async def check(self, request: TranscribeRequest) -> None:
        """Raises: ModelNotFound, NotCapable, ModelUnavailable; see Engine."""
        await asyncio.to_thread(self._shelf.check_here, self._spec(request))

    def _spec(self, request: TranscribeRequest) -> ModelSpec:
        spec = self._shelf.catalog.resolve(request.model)
        check_transcribes(spec, request.options.task)
        return spec

    async def __call__(
        self, request: TranscribeRequest, file: OpenFile, context: Context
    ) -> AsyncGenerator[TranscribeEvent, None]:
        """Yields what is heard; see Engine."""
        spec = self._spec(request)
        async with await self._decoder.audio(file) as sound:
            recording = Recording(sound, request.start_s, request.end_s)
            await recording.check()
            lane = lane_of(context.lane, _n_windows(recording.duration_s), 0)
            with (
                self._ledger.entry(spec.name, lane, 1, context, "transcribe") as entry,
                self._running.staying(spec, _WINDOW_BYTES, request.keep_alive_s),
            ):
                hearing = Hearing(self._running, spec, lane, context.key_id)
                work = _Transcript(request, recording, sound, hearing, entry)
                async with aclosing(work.events()) as events:
                    async for event in events:
                        yield event


class _Transcript:
    """One request's way through its file."""

    def __init__(
        self, request: TranscribeRequest, recording: Recording, sound: AudioFile, hear: Hearing, entry: Entry
    ) -> None:
        self._began_ns = time.perf_counter_ns()
        self._request = request
        self._recording = recording
        self._sound = sound
        self._hear = hear
        self._entry = entry
        self._done_s: float | None = None if request.state.position else 0.0
        self._track: Recording | Spoken = recording
        self._voices: Spoken | None = None  # where they are is known
        if request.voice is not None:
            self._track = self._voices = Spoken(recording, request.voice, hear)
        elif request.drops_made_up:
            self._voices = Spoken(recording, _SOON_CERTAIN, hear)

    async def events(self) -> AsyncGenerator[TranscribeEvent, None]:
        """Yields all events of the request."""
        state, options = self._request.state, self._request.options
        need, n_slots = await self._hear.need()
        check_hears(self._hear.spec, need, options)
        if options.language is not None:
            state = replace(state, language=SpokenLanguage(options.language, 1.0))
        yield TranscribeStarted(self._hear.spec.name, state.language, self._facts())
        async with aclosing(self._passages(state, need.n_mels, n_slots)) as passages:
            async for passage in passages:
                step = await self._step(passage, state)
                state = step.state
                yield step
        yield await self._result(state)

    def _passages(self, state: TranscribeState, n_mels: int, n_slots: int) -> AsyncGenerator[Passage, None]:
        request = self._request
        if request.batch_size:
            n_at_once = min(request.batch_size, _N_AHEAD * n_slots)
            return read_chunks(self._track, request.options, self._hear, state, n_at_once)
        return read_windows(self._track, request.options, self._hear, state, n_mels)

    async def _step(self, passage: Passage, before: TranscribeState) -> TranscribeStep:
        """Returns what is told of a passage that follows `before`."""
        recent = before.recent_texts
        utterances: list[Utterance] = []
        for segment in passage.segments:
            restored = self._track.in_file(segment)
            doubts = await self._doubts(restored, recent)
            recent = (*recent, segment.text)[-_N_RECENT:]
            if not (self._request.drops_made_up and is_made_up(doubts)):
                index = before.n_segments + len(utterances)
                utterances.append(Utterance(**asdict(restored) | {"id": index, "doubts": doubts}))
        state = replace(passage.state, n_segments=before.n_segments + len(utterances), recent_texts=recent)
        done_s = self._track.file_s(passage.n_read)
        self._entry.heard(0.0 if self._done_s is None else done_s - self._done_s)
        self._done_s = done_s
        duration_s = self._recording.duration_s
        return TranscribeStep(tuple(utterances), done_s, duration_s, _n_windows(duration_s, done_s), state)

    async def _doubts(self, segment: Segment, recent: Sequence[str]) -> tuple[Doubt, ...]:
        """Returns what speaks against a segment, whose times are those of the file."""
        speech = None
        if self._voices is not None:
            speech = await self._voices.around(segment.start_s, segment.end_s)
        return doubts_about(segment, recent, speech, self._request.options)

    async def _result(self, state: TranscribeState) -> TranscribeResult:
        duration_s = await self._recording.whole_s()
        assert state.language is not None, "what is read has a language. This is a bug."
        result = TranscribeResult(
            model=self._hear.spec.name,
            task=self._request.options.task,
            language=state.language,
            audio=self._facts(),
            duration_s=duration_s,
            spoken_s=self._track.spoken_s(),
            load_ns=self._hear.load_ns,
            total_ns=time.perf_counter_ns() - self._began_ns,
            queue_ns=self._hear.queue_ns,
            inference_ns=self._hear.inference_ns,
        )
        self._entry.answered(result)
        return result

    def _facts(self) -> AudioFacts:
        found = self._sound.facts
        return AudioFacts(
            found.container, found.codec, found.sample_rate_hz, found.n_channels, self._recording.duration_s
        )


def _n_windows(duration_s: float | None, done_s: float = 0.0) -> int:
    """Returns about how many windows are left; where nobody knows how long it is, one."""
    return 1 if duration_s is None else math.ceil(max(0.0, duration_s - done_s) / _WINDOW_S)
