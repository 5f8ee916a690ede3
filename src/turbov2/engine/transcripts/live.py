"""Live speech: who may begin a session, how it is counted, and when all of them end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing

from turbov2.engine.checks import check_transcribes
from turbov2.engine.running import Running
from turbov2.engine.shelf import Shelf
from turbov2.engine.transcripts.hearing import Hearing
from turbov2.engine.transcripts.session import MAX_BUFFERED_SAMPLES, Session, stopping
from turbov2.obs.ledger import Ledger
from turbov2.obs.request_meters import outcome_of
from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.types import Context, LiveEvent, LiveInput, LiveRequest


class Live:
    """The operation `live` of one engine."""

    def __init__(self, shelf: Shelf, running: Running, ledger: Ledger, max_duration_s: float) -> None:
        self._shelf = shelf
        self._running = running
        self._ledger = ledger
        self._max_samples = round(max_duration_s * SAMPLE_RATE_HZ)
        self._sessions: set[Session] = set()
        self._is_stopping = False

    def stop(self) -> None:
        """Afterwards no session begins, and those that run read what was said so far and end."""
        self._is_stopping = True
        for session in self._sessions:
            session.stop()

    async def __call__(
        self, request: LiveRequest, inputs: AsyncIterator[LiveInput], context: Context
    ) -> AsyncGenerator[LiveEvent, None]:
        """Yields what is heard; see Engine."""
        if self._is_stopping:
            raise stopping()
        spec = self._shelf.catalog.resolve(request.model)
        check_transcribes(spec, request.options.task)
        lane = context.lane or "interactive"
        with (
            self._ledger.entry(spec.name, lane, 1, context, "transcribe") as entry,
            self._running.staying(spec, MAX_BUFFERED_SAMPLES * 2, request.keep_alive_s),
        ):
            hearing = Hearing(self._running, spec, lane, context.key_id)
            session = Session(request, inputs, hearing, entry, self._max_samples)
            self._sessions.add(session)
            left: BaseException | None = None
            try:
                async with aclosing(session.events()) as events:
                    async for event in events:
                        yield event
            except (asyncio.CancelledError, GeneratorExit) as error:
                # Most clients end a session by leaving; what they were owed was told.
                if session.owes_text or outcome_of(error)[0] != "cancelled":
                    raise
                left = error
                entry.answered(session.result())
            finally:
                self._sessions.discard(session)
        if left is not None:
            raise left
