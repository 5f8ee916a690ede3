"""Transcripts without processes: how a file is cut, read on, resumed and ended, with a model that is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from typing import Any

import numpy as np
import pytest

from turbov2.backends.fake_speech import hear as hear_fake
from turbov2.engine.transcripts.chunks import read_chunks
from turbov2.engine.transcripts.recording import LOOKAHEAD_SAMPLES, Recording, peak_of_beginning
from turbov2.engine.transcripts.spoken import Spoken
from turbov2.engine.transcripts.windows import Passage, read_windows
from turbov2.errors import InvalidRequest
from turbov2.speech.mel import SAMPLE_RATE_HZ, peak_of
from turbov2.types import (
    ChunkTask,
    Heard,
    SpeechTask,
    TranscribeOptions,
    TranscribeState,
    VoiceOptions,
    VoiceTask,
    WindowTask,
)

ENGLISH = TranscribeOptions(language="en")
VOICES = VoiceOptions()
CHUNKED = VoiceOptions(min_silence_duration_ms=160, max_speech_duration_s=30.0)


class Decoded:
    """A file that is decoded as it is asked for, `step` samples at a time."""

    def __init__(self, sound: np.ndarray, step: int = 7 * SAMPLE_RATE_HZ) -> None:
        self._sound = sound
        self._step = step
        self.n_samples_decoded = 0
        self.n_most_asked = 0

    @property
    def is_done(self) -> bool:
        return self.n_samples_decoded == len(self._sound)

    @property
    def duration_s(self) -> float | None:
        return len(self._sound) / SAMPLE_RATE_HZ if self.is_done else None

    async def window(self, start: int, n_samples: int) -> np.ndarray:
        while not self.is_done and self.n_samples_decoded < start + n_samples:
            await asyncio.sleep(0)
            self.n_samples_decoded = min(len(self._sound), self.n_samples_decoded + self._step)
        found = self._sound[start : start + n_samples]
        self.n_most_asked = max(self.n_most_asked, len(found))
        return found


class Model:
    """Hears as the fake backend does, and keeps what it was asked."""

    def __init__(self) -> None:
        self.tasks: list[SpeechTask] = []
        self.n_running = self.n_most_running = 0

    async def __call__(self, task: SpeechTask, samples: np.ndarray) -> Heard:
        self.tasks.append(task)
        self.n_running += 1
        self.n_most_running = max(self.n_most_running, self.n_running)
        try:
            for _ in range(100 if isinstance(task, ChunkTask) else 1):  # listening for voices is fast
                await asyncio.sleep(0)
            return hear_fake(samples, task)
        finally:
            self.n_running -= 1


def tone(n_seconds: float, silent: tuple[int, ...] = (), loudness: int = 3000) -> np.ndarray:
    t = np.arange(round(n_seconds * SAMPLE_RATE_HZ))
    sound = (loudness * np.sin(2 * np.pi * 300 * t / SAMPLE_RATE_HZ)).astype(np.int16)
    for second in silent:
        sound[second * SAMPLE_RATE_HZ : (second + 1) * SAMPLE_RATE_HZ] = 0
    return sound


def recording(sound: np.ndarray, start_s: float = 0.0, end_s: float | None = None) -> Recording:
    return Recording(Decoded(sound), start_s, end_s)  # type: ignore[arg-type]


async def all_of(passages: AsyncGenerator[Passage, None]) -> list[Passage]:
    return [passage async for passage in passages]


def texts(passages: list[Passage]) -> list[str]:
    return [segment.text for passage in passages for segment in passage.segments]


def heard_words(passages: list[Passage]) -> str:
    return "".join(texts(passages)).strip()


def words(n_seconds: int) -> str:
    return " ".join(f"s{second}" for second in range(n_seconds))


async def test_a_long_file_is_read_window_by_window() -> None:
    model, track = Model(), recording(tone(95))
    passages = await all_of(read_windows(track, ENGLISH, model, TranscribeState(), 80))
    assert heard_words(passages) == words(95)
    assert [passage.n_read // SAMPLE_RATE_HZ for passage in passages] == [30, 60, 90, 95]
    assert [task.start_frame for task in model.tasks if isinstance(task, WindowTask)] == [0, 3000, 6000, 9000]
    assert [passage.state.position for passage in passages] == [3000, 6000, 9000, 9500]


@pytest.mark.parametrize("n_done", [1, 2, 3])
@pytest.mark.parametrize("mode", ["windows", "spoken", "chunks"])
async def test_it_goes_on_from_every_state_as_if_it_had_not_stopped(mode: str, n_done: int) -> None:
    sound = tone(150, silent=tuple(n for n in range(150) if n % 20 > 15))

    def read(state: TranscribeState) -> AsyncGenerator[Passage, None]:
        model, whole = Model(), recording(sound)
        if mode == "windows":
            return read_windows(whole, TranscribeOptions(), model, state, 80)
        spoken = Spoken(whole, CHUNKED if mode == "chunks" else VOICES, model)
        if mode == "spoken":
            return read_windows(spoken, TranscribeOptions(), model, state, 80)
        return read_chunks(spoken, TranscribeOptions(), model, state, 4)

    passages = await all_of(read(TranscribeState()))
    rest = await all_of(read(passages[n_done - 1].state))
    assert [*passages[:n_done], *rest] == passages
    assert len(passages) > 3
    assert passages[0].state.language is not None
    assert passages[0].state.language.code == "en"


async def test_the_peak_is_that_of_the_whole_file_up_to_ten_minutes() -> None:
    sound = np.concatenate((tone(400, loudness=200), tone(200, loudness=9000)))
    assert len(sound) == LOOKAHEAD_SAMPLES
    assert await peak_of_beginning(recording(sound), 80) == pytest.approx(peak_of(sound, 80), abs=1e-6)


async def test_of_longer_files_only_ten_minutes_are_waited_for() -> None:
    sound = np.concatenate((tone(700, loudness=200), tone(60, loudness=9000)))
    decoded = Decoded(sound)
    peak = await peak_of_beginning(Recording(decoded, 0.0, None), 128)  # type: ignore[arg-type]
    assert peak == pytest.approx(peak_of(sound[:LOOKAHEAD_SAMPLES], 128), abs=1e-4)
    assert decoded.n_samples_decoded < 620 * SAMPLE_RATE_HZ
    assert decoded.n_most_asked <= 30 * SAMPLE_RATE_HZ  # a piece at a time


async def test_a_part_of_a_file_is_as_if_it_were_all() -> None:
    track = recording(tone(100), 20, 65)
    passages = await all_of(read_windows(track, ENGLISH, Model(), TranscribeState(), 80))
    assert heard_words(passages) == words(45)
    segment = track.in_file(passages[0].segments[0])
    assert (segment.start_s, segment.end_s) == (20.0, 24.9)
    assert await track.whole_s() == 45.0
    assert track.duration_s == 45.0
    await track.check()
    with pytest.raises(InvalidRequest, match="ends after 100 s"):
        await recording(tone(100), 100).check()


async def test_silence_is_left_out_and_found_again() -> None:
    silent = tuple(range(20, 50))
    model = Model()
    track = Spoken(recording(tone(70, silent)), VOICES, model)
    passages = await all_of(read_windows(track, ENGLISH, model, TranscribeState(), 80))
    assert 40 <= track.spoken_s() < 42
    times = [(s.start_s, s.end_s) for p in passages for s in map(track.in_file, p.segments)]
    assert not [start for start, _ in times if 21 < start < 49]
    assert times[-1][0] < 70
    assert track.file_s(passages[-1].n_read) == 70
    assert track.file_s(25 * SAMPLE_RATE_HZ) == pytest.approx(54, abs=1)
    voices = [task for task in model.tasks if isinstance(task, VoiceTask)]
    assert [task.is_last for task in voices] == [False, False, True]


@pytest.mark.parametrize("options", [ENGLISH, TranscribeOptions()])
async def test_nobody_speaks(options: TranscribeOptions) -> None:
    sound = np.zeros(40 * SAMPLE_RATE_HZ, np.int16)
    for is_chunked in (False, True):
        model, whole = Model(), recording(sound)
        spoken = Spoken(whole, VOICES, model)
        state = TranscribeState()
        if is_chunked:
            passages = await all_of(read_chunks(spoken, options, model, state, 4))
        else:
            passages = await all_of(read_windows(spoken, options, model, state, 80))
        assert texts(passages) == []
        assert spoken.spoken_s() == 0


async def test_chunks_run_at_once_unless_they_tell_words() -> None:
    sound = tone(200, silent=tuple(n for n in range(200) if n % 20 > 15))
    for options, n_most in ((ENGLISH, 3), (TranscribeOptions(language="en", word_timestamps=True), 1)):
        model = Model()
        passages = await all_of(
            read_chunks(Spoken(recording(sound), CHUNKED, model), options, model, TranscribeState(), 3)
        )
        assert model.n_most_running == n_most
        tasks = [task for task in model.tasks if isinstance(task, ChunkTask)]
        assert [task.offset_s for task in tasks] == sorted(task.offset_s for task in tasks)
        assert len(passages) == len(tasks)


async def test_who_asks_where_voices_are_takes_nothing_from_the_chunks() -> None:
    """Voices behind a segment are looked for before the next chunk is made, and must not be lost to it."""
    sound = tone(200, silent=tuple(range(0, 200, 3)))

    async def read(*, asks: bool) -> tuple[list[str], float]:
        model = Model()
        track = Spoken(recording(sound), CHUNKED, model)
        heard = []
        async for passage in read_chunks(track, ENGLISH, model, TranscribeState(), 1):
            for segment in map(track.in_file, passage.segments):
                heard.append(f"{segment.start_s}{segment.text}")
                if asks:
                    await track.around(segment.start_s, segment.end_s)
        return heard, track.spoken_s()

    assert await read(asks=True) == await read(asks=False)


async def test_who_leaves_ends_what_runs() -> None:
    model = Model()
    never = asyncio.Event()

    async def hang(task: SpeechTask, samples: Any) -> Heard:
        if isinstance(task, ChunkTask) and task.offset_s > 0:
            model.n_running += 1
            try:
                await never.wait()
            finally:
                model.n_running -= 1
        return await model(task, samples)

    track = Spoken(recording(tone(200, silent=tuple(range(16, 200, 20)))), CHUNKED, hang)
    passages = read_chunks(track, ENGLISH, hang, TranscribeState(), 3)
    await anext(passages)
    await asyncio.sleep(0)
    assert model.n_running > 0
    await passages.aclose()
    assert model.n_running == 0


async def test_voices_around_a_part_are_told_in_the_files_time() -> None:
    model = Model()
    sound = tone(120, silent=(*range(10, 40), *range(70, 120)))
    track = Spoken(recording(sound, 5), VoiceOptions(max_speech_duration_s=30.0), model)
    (first,) = await track.around(6, 9)
    assert (first.start / SAMPLE_RATE_HZ, first.end / SAMPLE_RATE_HZ) == pytest.approx((5, 10.4), abs=0.1)
    assert await track.around(20, 30) == []
    assert len([task for task in model.tasks if isinstance(task, VoiceTask)]) == 2  # no further than needed
    spans = await track.around(39, 200)
    assert spans[0].start / SAMPLE_RATE_HZ == pytest.approx(39.6, abs=0.1)
    assert spans[-1].end / SAMPLE_RATE_HZ == pytest.approx(70.4, abs=0.1)


async def test_chunks_miss_nothing_that_others_listened_to() -> None:
    sound = tone(200, silent=tuple(n for n in range(200) if n % 20 > 15))
    options = TranscribeOptions(language="en", word_timestamps=True)
    alone = Spoken(recording(sound), CHUNKED, Model())
    expected = await all_of(read_chunks(alone, options, Model(), TranscribeState(), 4))
    watched = Spoken(recording(sound), CHUNKED, Model())
    passages = []
    async for passage in read_chunks(watched, options, Model(), TranscribeState(), 4):
        segment = watched.in_file(passage.segments[-1])
        assert await watched.around(segment.start_s, segment.end_s)
        passages.append(passage)
    assert passages == expected
    assert len(passages) > 4
