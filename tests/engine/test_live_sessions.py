"""Sessions of live speech without processes: what is read when, what is kept, and how they end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.support.mouths import tones
from turbov2.backends.fake_speech import NEED
from turbov2.backends.fake_speech import hear as hear_fake
from turbov2.engine.transcripts import session
from turbov2.engine.transcripts.pace import Pace
from turbov2.engine.transcripts.session import MAX_BUFFERED_SAMPLES, Session
from turbov2.errors import InferenceFailed, InvalidRequest, Stopping
from turbov2.types import (
    Cleared,
    FinalText,
    Heard,
    LiveClear,
    LiveCommit,
    LiveEvent,
    LiveInput,
    LiveReady,
    LiveRequest,
    LiveResult,
    LiveSound,
    LiveUpdate,
    PartialText,
    SpeechStarted,
    SpeechTask,
    TranscribeOptions,
    UtteranceFailed,
    VoiceTask,
    WindowTask,
)

RATE_HZ = 16_000
FRAME = RATE_HZ // 20
ENGLISH = LiveRequest("any", TranscribeOptions(language="en"))
MANUAL = LiveRequest("any", TranscribeOptions(language="en"), turns=None)


class Model:
    """Hears as the fake backend does, a window only once `gate` is open; keeps what it was asked."""

    def __init__(self) -> None:
        self.running = self
        self.spec = SimpleNamespace(name="any")
        self.load_ns = self.queue_ns = self.inference_ns = 0
        self.gate = asyncio.Event()
        self.gate.set()
        self.is_busy = False
        self.windows: list[WindowTask] = []
        self.n_at_once = self.n_most_at_once = 0
        self.fails = False

    def is_free(self, _: Any) -> bool:
        return not self.is_busy

    async def need(self) -> tuple[Any, int]:
        return NEED, 1

    async def __call__(self, task: SpeechTask, samples: np.ndarray) -> Heard:
        if isinstance(task, VoiceTask):
            await asyncio.sleep(0)
            return hear_fake(samples, task)
        assert isinstance(task, WindowTask)
        self.windows.append(task)
        self.n_at_once += 1
        self.n_most_at_once = max(self.n_most_at_once, self.n_at_once)
        try:
            await self.gate.wait()
            if self.fails:
                raise InferenceFailed("told to fail")
            return hear_fake(samples, task)
        finally:
            self.n_at_once -= 1

    @property
    def partials(self) -> list[WindowTask]:
        return [task for task in self.windows if task.options.beam_size == 1]


class Entry:
    def heard(self, seconds: float) -> None:
        pass

    def answered(self, answer: LiveResult) -> None:
        self.answer = answer


class Mic:
    """Gives what is put into it; the end of the iterator is `None`."""

    def __init__(self) -> None:
        self.queue: asyncio.Queue[LiveInput | None] = asyncio.Queue()
        self.n_taken = 0

    def speak(self, samples: np.ndarray, step: int = FRAME) -> None:
        for first in range(0, len(samples), step):
            self.queue.put_nowait(LiveSound(samples[first : first + step]))

    def say(self, said: LiveInput | None) -> None:
        self.queue.put_nowait(said)

    def __aiter__(self) -> AsyncIterator[LiveInput]:
        return self

    async def __anext__(self) -> LiveInput:
        given = await self.queue.get()
        if given is None:
            raise StopAsyncIteration
        self.n_taken += 1
        return given


class Hall:
    """A session whose events are gathered by a task."""

    def __init__(self, request: LiveRequest, model: Model, max_s: float = 3600, now_s: Any = None) -> None:
        self.mic = Mic()
        self.told: list[LiveEvent] = []
        self.session = Session(request, self.mic, model, Entry(), round(max_s * RATE_HZ))  # type: ignore[arg-type]
        if now_s is not None:
            self.session._pace = Pace(now_s)
        self.task = asyncio.create_task(self._gather())

    async def _gather(self) -> None:
        async with aclosing(self.session.events()) as events:
            async for event in events:
                self.told.append(event)

    def of(self, kind: type) -> list[Any]:
        return [event for event in self.told if isinstance(event, kind)]

    async def until(self, condition: Callable[[], object]) -> None:
        for _ in range(10_000):
            if condition():
                return
            await asyncio.sleep(0.001)
        raise AssertionError("nothing happened")

    async def heard(self) -> None:
        """Returns once all that was put in was taken, and what follows from that had time to begin."""
        await self.until(lambda: self.mic.queue.empty())
        await asyncio.sleep(0.05)


async def test_partials_wait_for_new_sound_and_rest() -> None:
    now = [0.0]
    hall = Hall(ENGLISH, model := Model(), now_s=lambda: now[0])
    hall.mic.speak(tones(1)[: RATE_HZ * 45 // 100])
    await hall.heard()
    assert model.partials == []  # not half a second yet
    model.gate.clear()
    hall.mic.speak(tones(1)[: RATE_HZ // 4])
    await hall.until(lambda: model.partials)
    hall.mic.speak(tones(5))
    await hall.heard()
    assert len(model.partials) == 1  # never two in flight
    now[0] = 3.0  # it took 3 s
    model.gate.set()
    await hall.until(lambda: hall.of(PartialText))
    hall.mic.speak(tones(1))
    await hall.heard()
    assert len(model.partials) == 1  # it rests as long
    now[0] = 6.0
    hall.mic.speak(tones(1)[:FRAME])
    await hall.until(lambda: len(model.partials) == 2)
    assert hall.told[0] == LiveReady("any")
    hall.task.cancel()


async def test_partials_are_left_out_while_the_model_is_busy() -> None:
    model = Model()
    model.is_busy = True
    hall = Hall(ENGLISH, model)
    hall.mic.speak(tones(4, (2, 3)))
    hall.mic.say(None)
    await hall.task
    assert model.partials == []
    assert [final.segments[0].text.strip() for final in hall.of(FinalText)] == ["s0 s1"]


async def test_a_final_text_does_not_wait_for_a_partial_one() -> None:
    hall = Hall(ENGLISH, model := Model())
    model.gate.clear()
    hall.mic.speak(tones(1))
    await hall.until(lambda: model.partials)
    hall.mic.speak(np.zeros(RATE_HZ, np.int16))
    await hall.until(lambda: len(model.windows) == 2)  # the gate is still closed
    assert model.windows[1].options.beam_size == 5
    model.gate.set()
    await hall.until(lambda: hall.of(FinalText))
    assert hall.of(PartialText) == []  # nobody wants it any more
    hall.task.cancel()


async def test_turns_are_told_while_another_is_read() -> None:
    hall = Hall(ENGLISH, model := Model())
    model.is_busy = True
    model.gate.clear()
    hall.mic.speak(tones(6, (1, 3, 5)))
    await hall.until(lambda: len(hall.of(SpeechStarted)) == 3)
    await hall.until(lambda: model.windows)
    assert len(model.windows) == 1
    model.gate.set()
    await hall.until(lambda: len(hall.of(FinalText)) == 3)
    assert [final.utterance for final in hall.of(FinalText)] == [0, 1, 2]
    hall.task.cancel()


@pytest.mark.parametrize("request_", [ENGLISH, MANUAL])
async def test_what_comes_too_fast_is_not_taken(request_: LiveRequest) -> None:
    hall = Hall(request_, model := Model())
    model.is_busy = True
    model.gate.clear()
    hall.mic.speak(tones(300))
    await hall.until(lambda: len(hall.session._sound) > MAX_BUFFERED_SAMPLES - 2 * RATE_HZ)
    await asyncio.sleep(0.1)
    assert len(hall.session._sound) <= MAX_BUFFERED_SAMPLES
    assert hall.mic.n_taken <= MAX_BUFFERED_SAMPLES // FRAME
    model.gate.set()
    hall.mic.say(None)
    await hall.task
    finals = hall.of(FinalText)
    assert finals[-1].end_s == 300
    assert all(before.end_s == after.start_s for before, after in zip(finals, finals[1:], strict=False))


async def test_silence_keeps_nothing() -> None:
    hall = Hall(ENGLISH, Model())
    hall.mic.speak(np.zeros(600 * RATE_HZ, np.int16), RATE_HZ)
    await hall.heard()
    assert len(hall.session._sound) < RATE_HZ
    hall.task.cancel()


async def test_what_fails_alone() -> None:
    hall = Hall(MANUAL, model := Model())
    model.is_busy = True
    model.fails = True
    hall.mic.speak(tones(1))
    hall.mic.say(LiveCommit())
    await hall.until(lambda: hall.of(UtteranceFailed))
    model.fails = False
    hall.mic.speak(tones(2))
    hall.mic.say(None)
    await hall.task
    assert [final.segments[0].text.strip() for final in hall.of(FinalText)] == ["s0 s1"]


async def test_updates_hold_from_where_they_come() -> None:
    hall = Hall(MANUAL, model := Model())
    model.is_busy = True
    hall.mic.speak(tones(1))
    french = LiveRequest("any", TranscribeOptions(language="fr"), turns=None)
    hall.mic.say(LiveUpdate(french))
    hall.mic.speak(tones(1))
    hall.mic.say(LiveCommit())
    hall.mic.speak(tones(1))
    hall.mic.say(LiveUpdate(LiveRequest("any", french.options)))  # from now on turns are found
    hall.mic.speak(tones(3, (1, 2)))
    await hall.until(lambda: len(hall.of(FinalText)) == 3)
    assert [final.language.code for final in hall.of(FinalText)] == ["en", "fr", "fr"]
    assert [round(final.end_s, 1) for final in hall.of(FinalText)] == [2.0, 3.0, 4.5]
    hall.task.cancel()


async def test_clearing_drops_what_is_running_while_it_is_read() -> None:
    hall = Hall(ENGLISH, model := Model())
    model.gate.clear()
    hall.mic.speak(tones(2))
    await hall.until(lambda: model.partials)
    hall.mic.say(LiveClear())
    await hall.until(lambda: hall.of(Cleared))
    await hall.until(lambda: model.n_at_once == 0)  # the gate is still closed: it was given up
    model.gate.set()
    hall.mic.say(None)
    await hall.task
    assert hall.of(PartialText) == hall.of(FinalText) == []


async def test_a_stop_reads_what_was_said() -> None:
    hall = Hall(ENGLISH, Model())
    hall.mic.speak(tones(2))
    await hall.until(lambda: hall.session._sound.end == 2 * RATE_HZ)
    hall.session.stop()
    with pytest.raises(Stopping):
        await hall.task
    assert [final.segments[0].text.strip() for final in hall.of(FinalText)] == ["s0 s1"]


async def test_what_is_wrong_with_the_input_ends_it() -> None:
    class Wrong(Mic):
        async def __anext__(self) -> LiveInput:
            raise InvalidRequest("wrong")

    hall = Hall(ENGLISH, Model())
    hall.session._inputs = Wrong()
    with pytest.raises(InvalidRequest):
        await hall.task


async def test_nothing_is_left_when_nobody_listens() -> None:
    hall = Hall(ENGLISH, model := Model())
    model.gate.clear()
    hall.mic.speak(tones(3))
    await hall.until(lambda: model.partials)
    assert hall.session.owes_text
    hall.task.cancel()
    await asyncio.gather(hall.task, return_exceptions=True)
    assert model.n_at_once == 0
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_a_slow_reader_stops_the_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_MAX_EVENTS", 2)
    mic = Mic()
    spoken = Session(MANUAL, mic, Model(), Entry(), 10**9)  # type: ignore[arg-type]
    async with aclosing(spoken.events()) as events:
        await anext(events)
        for _ in range(100):
            mic.speak(tones(1)[:FRAME])
            mic.say(LiveCommit())
        waiting = asyncio.create_task(anext(events))
        await waiting
        await asyncio.sleep(0.1)
        assert mic.n_taken < 20
