"""One session of live speech: utterances found while they are spoken, read then and once they end.

Two tasks share a session. One listens: it takes what comes in and finds where somebody speaks. The other
reads: what ended, in its order, and between that what goes on. So a turn is told while another is read.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable
from typing import TYPE_CHECKING

from turbov2.engine.checks import check_hears
from turbov2.engine.transcripts.hearing import Hearing
from turbov2.engine.transcripts.pace import Pace
from turbov2.engine.transcripts.rolling import RollingSound
from turbov2.engine.transcripts.utterances import Piece, read_so_far, read_whole
from turbov2.errors import MediaTooLarge, Stopping, TurboError
from turbov2.obs.ledger import Entry
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.speech.turns import MAX_UTTERANCE_SAMPLES, Started, Stopped, TurnFinder, quietest_cut
from turbov2.speech.voices import VOICE_SAMPLES
from turbov2.types import (
    Cleared,
    FinalText,
    LiveClear,
    LiveCommit,
    LiveEvent,
    LiveInput,
    LiveReady,
    LiveRequest,
    LiveResult,
    LiveSound,
    LiveUpdate,
    NothingSaid,
    PartialText,
    SpeechStarted,
    SpeechStopped,
    SpokenLanguage,
    UtteranceFailed,
    VoiceResult,
    VoiceTask,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples

MAX_BUFFERED_SAMPLES = 2 * MAX_UTTERANCE_SAMPLES  # of a session: one that is spoken, and what waits
_PIECE_SAMPLES = SAMPLE_RATE_HZ  # are listened to at a time
_MAX_EVENTS = 64  # that nobody has taken yet


def stopping() -> Stopping:
    """Returns what ends the sessions of a server that stops."""
    return Stopping("the server is stopping; begin the session again, with another", retry_after_s=5)


class _Utterance:
    """Somebody speaks. end: None while that goes on. n_read: samples of the stream that partials know."""

    __slots__ = ("end", "n_read", "number", "request", "start", "text")

    def __init__(self, number: int, start: int, request: LiveRequest) -> None:
        self.number = number
        self.start = self.n_read = start
        self.request = request
        self.end: int | None = None
        self.text = ""


class Session:
    """One stream of speech."""

    def __init__(
        self,
        request: LiveRequest,
        inputs: AsyncIterator[LiveInput],
        hear: Hearing,
        entry: Entry,
        max_samples: int,
    ) -> None:
        self._began_ns = time.perf_counter_ns()
        self._request = request
        self._inputs = inputs
        self._hear = hear
        self._entry = entry
        self._max_samples = max_samples
        self._n_mels = 0
        self._sound = RollingSound()
        self._n_heard = 0  # samples in which voices were looked for
        self._voice_state = b""
        self._finder = _finder_of(request, 0)
        self._speaking: _Utterance | None = None
        self._due: deque[_Utterance] = deque()
        self._partial: asyncio.Task[None] | None = None
        self._pace = Pace()
        self._language: SpokenLanguage | None = None  # of the last text; partials need not detect it again
        self._n_utterances = self._n_segments = 0
        self._events: asyncio.Queue[LiveEvent | None] = asyncio.Queue(_MAX_EVENTS)
        self._news = asyncio.Event()  # for the reader
        self._room = asyncio.Event()  # for the listener
        self._listener: asyncio.Task[None] | None = None
        self._has_ended = self._is_stopping = False
        self._error: Exception | None = None

    @property
    def owes_text(self) -> bool:
        """Whether something was said that nobody was told of yet."""
        return self._speaking is not None or bool(self._due)

    def stop(self) -> None:
        """Afterwards nothing is listened to any more; what was said is read, and then the session ends."""
        self._is_stopping = True
        if self._listener is not None:
            self._listener.cancel()

    async def events(self) -> AsyncGenerator[LiveEvent, None]:
        """Yields all events of the session. Raises: Stopping behind the last one, when told to stop."""
        need, _ = await self._hear.need()
        check_hears(self._hear.spec, need, self._request.options)
        if self._is_stopping:
            raise stopping()
        self._n_mels = need.n_mels
        yield LiveReady(self._hear.spec.name)
        self._listener = asyncio.create_task(self._guarded(self._listen()), name="listen to live speech")
        self._listener.add_done_callback(self._end_of_input)
        reader = asyncio.create_task(self._guarded(self._read()), name="read live speech")
        try:
            while (event := await self._events.get()) is not None:
                yield event
        finally:
            tasks = [task for task in (self._listener, reader, self._partial) if task is not None]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._error is not None:
            raise self._error
        if self._is_stopping:
            raise stopping()
        result = self.result()
        self._entry.answered(result)
        yield result

    def result(self) -> LiveResult:
        """Returns what the session was by now."""
        return LiveResult(
            model=self._hear.spec.name,
            duration_s=self._sound.end / SAMPLE_RATE_HZ,
            n_utterances=self._n_utterances,
            load_ns=self._hear.load_ns,
            total_ns=time.perf_counter_ns() - self._began_ns,
            queue_ns=self._hear.queue_ns,
            inference_ns=self._hear.inference_ns,
        )

    async def _guarded(self, work: Awaitable[None]) -> None:
        """Afterwards the work is done, or `events` raises what it raised."""
        try:
            await work
        except Exception as error:
            self._error = error
            await self._events.put(None)

    # Listening

    async def _listen(self) -> None:
        async for given in self._inputs:
            await self._take(given)

    def _end_of_input(self, _: asyncio.Task[None]) -> None:
        self._has_ended = True
        self._news.set()

    async def _take(self, given: LiveInput) -> None:
        match given:
            case LiveSound():
                for first in range(0, len(given.samples), _PIECE_SAMPLES):
                    await self._take_sound(given.samples[first : first + _PIECE_SAMPLES])
            case LiveCommit():
                await self._commit()
            case LiveClear():
                self._speaking = None
                self._drop_partial()
                self._skip()
                await self._events.put(Cleared())
            case LiveUpdate():
                await self._update(given.request)

    async def _take_sound(self, samples: Samples) -> None:
        while self._due and len(self._sound) > MAX_BUFFERED_SAMPLES - _PIECE_SAMPLES:
            self._room.clear()
            await self._room.wait()
        if self._sound.end + len(samples) > self._max_samples:
            most_s = self._max_samples / SAMPLE_RATE_HZ
            raise MediaTooLarge(
                f"the session has more than {most_s:g} s of sound; begin another, or raise "
                "TURBOV2_AUDIO_MAX_DURATION"
            )
        self._sound.add(samples)
        if self._finder is None:
            self._n_heard = self._sound.end
            if self._speaking is None:
                await self._begin_utterance(self._sound.end - len(samples))
        else:
            await self._find_turns(self._finder)
        await self._cut_long(self._n_heard)
        self._release()
        self._news.set()

    async def _find_turns(self, finder: TurnFinder) -> None:
        n_new = (self._sound.end - self._n_heard) // VOICE_SAMPLES * VOICE_SAMPLES
        if not n_new:
            return
        piece = self._sound.window(self._n_heard, self._n_heard + n_new)
        heard = await self._hear(VoiceTask(False, self._voice_state), piece)
        assert isinstance(heard, VoiceResult), "voices were asked for. This is a bug."
        self._voice_state = heard.state
        self._n_heard += n_new
        for turn in finder.feed(heard.probabilities):
            match turn:
                case Started():
                    await self._begin_utterance(turn.start)
                case Stopped():
                    await self._cut_long(turn.end)
                    await self._end_utterance(turn.end)

    async def _begin_utterance(self, start: int) -> None:
        self._speaking = _Utterance(self._n_utterances, start, self._request)
        self._n_utterances += 1
        await self._events.put(SpeechStarted(self._speaking.number, start / SAMPLE_RATE_HZ))

    async def _end_utterance(self, end: int, *, has_more: bool = False) -> None:
        assert self._speaking is not None, "only what began ends. This is a bug."
        ended, self._speaking = self._speaking, None
        ended.end = end
        self._due.append(ended)
        self._drop_partial()
        self._news.set()
        await self._events.put(SpeechStopped(ended.number, end / SAMPLE_RATE_HZ, has_more))

    def _drop_partial(self) -> None:
        """Afterwards nothing more is told of what was going on, not even what waits to be told."""
        if self._partial is not None:
            self._partial.cancel()

    async def _cut_long(self, end: int) -> None:
        """Afterwards the running utterance, up to `end`, is no longer than the model reads at once."""
        while self._speaking is not None and end - self._speaking.start > MAX_UTTERANCE_SAMPLES:
            start = self._speaking.start
            cut = start + quietest_cut(self._sound.window(start, start + MAX_UTTERANCE_SAMPLES))
            await self._end_utterance(cut, has_more=True)
            await self._begin_utterance(cut)

    async def _commit(self) -> None:
        if self._speaking is None:
            await self._events.put(NothingSaid())
            return
        await self._end_utterance(self._n_heard)
        if self._finder is not None:
            self._finder.end()

    async def _update(self, request: LiveRequest) -> None:
        had_turns, self._request = self._request.turns, request
        if request.turns != had_turns:
            if self._speaking is not None:
                await self._end_utterance(self._n_heard)
            self._skip()

    def _skip(self) -> None:
        """Afterwards nothing that was heard so far belongs to a turn to come."""
        self._n_heard, self._voice_state = self._sound.end, b""
        self._finder = _finder_of(self._request, self._n_heard)
        self._release()

    def _release(self) -> None:
        needed = [self._n_heard if self._finder is None else self._finder.earliest_start]
        needed += [each.start for each in (*self._due, self._speaking) if each is not None]
        self._sound.release(min(needed))
        self._room.set()

    # Reading

    async def _read(self) -> None:
        while True:
            await self._news.wait()
            self._news.clear()
            while self._due:
                await self._events.put(await self._final_of(self._due[0]))
                self._due.popleft()
                self._release()
            if not self._has_ended:
                self._begin_partial()
            elif self._speaking is not None:
                await self._cut_long(self._sound.end)
                await self._end_utterance(self._sound.end)
            else:
                await self._events.put(None)
                return

    async def _final_of(self, utterance: _Utterance) -> FinalText | UtteranceFailed:
        assert utterance.end is not None, "only what ended is due. This is a bug."
        start_s, end_s = utterance.start / SAMPLE_RATE_HZ, utterance.end / SAMPLE_RATE_HZ
        piece = Piece(self._sound.window(utterance.start, utterance.end), start_s)
        options = utterance.request.options
        try:
            segments, language = await read_whole(piece, options, self._hear, self._n_mels, self._n_segments)
        except TurboError as error:
            return UtteranceFailed(utterance.number, error)
        self._n_segments += len(segments)
        self._language = language
        self._entry.heard(end_s - start_s)
        return FinalText(utterance.number, start_s, end_s, segments, language)

    def _begin_partial(self) -> None:
        if self._partial is not None:
            if not self._partial.done():
                return
            done, self._partial = self._partial, None
            if not done.cancelled():
                done.result()
        utterance = self._speaking
        if utterance is None or not utterance.request.has_partials:
            return
        if self._pace.is_due(self._n_heard - utterance.n_read) and self._hear.running.is_free(
            self._hear.spec
        ):
            utterance.n_read = self._n_heard
            # Taken now: when the task begins, the sound may have been dropped.
            piece = Piece(
                self._sound.window(utterance.start, self._n_heard), utterance.start / SAMPLE_RATE_HZ
            )
            self._partial = asyncio.create_task(
                self._tell_partial(utterance, piece), name="read what goes on"
            )

    async def _tell_partial(self, utterance: _Utterance, piece: Piece) -> None:
        began_s = self._pace.now_s()
        options = utterance.request.options
        known = SpokenLanguage(options.language, 1.0) if options.language else self._language
        try:
            text, self._language = await read_so_far(piece, options, known, self._hear, self._n_mels)
        except TurboError:
            return  # the final text will tell
        finally:
            self._pace.read(began_s)
            self._news.set()
        if utterance.end is None and self._speaking is utterance and text != utterance.text:
            utterance.text = text
            await self._events.put(PartialText(utterance.number, piece.start_s, piece.end_s, text))


def _finder_of(request: LiveRequest, n_heard: int) -> TurnFinder | None:
    return None if request.turns is None else TurnFinder(request.turns, n_heard)
