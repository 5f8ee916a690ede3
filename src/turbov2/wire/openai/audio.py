"""OpenAI's audio routes: transcriptions, whole or as they are heard, and translations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import ExitStack, aclosing

import msgspec

from turbov2.engine.protocol import Engine
from turbov2.errors import TurboError
from turbov2.spools import Spools
from turbov2.types import SpeechGoal, TranscribeEvent, TranscribeResult, TranscribeStep
from turbov2.wire._errors import error_body
from turbov2.wire._http import Request, Response
from turbov2.wire._silences import first_of, with_silences
from turbov2.wire._sse import HEARTBEAT, SSE, sse_event
from turbov2.wire._transcripts import Events, closing_upload, whole_transcript
from turbov2.wire._uploads import read_upload
from turbov2.wire.openai.transcriptions import (
    FORMATS,
    delta_event,
    done_event,
    parse_transcription,
    render_transcription,
)

_SILENCE_S = 10.0


class AudioRoutes:
    """The handlers, around one engine."""

    def __init__(self, engine: Engine, uploads: Spools) -> None:
        self._engine = engine
        self._uploads = uploads

    async def transcriptions(self, request: Request) -> Response:
        """POST /v1/audio/transcriptions. The words of a file, in its language."""
        return await self._answer(request, "transcribe")

    async def translations(self, request: Request) -> Response:
        """POST /v1/audio/translations. The words of a file, in English."""
        return await self._answer(request, "translate")

    async def _answer(self, request: Request, task: SpeechGoal) -> Response:
        form = await read_upload(request, ("file",), self._uploads)
        with ExitStack() as on_error:
            on_error.callback(form.close)
            asked, file = parse_transcription(form, task), form.required("file")
            on_error.pop_all()
        events = closing_upload(form, self._engine.transcribe(asked.request, file, request.context))
        if asked.is_streamed:
            return await _streamed(events)
        transcript = await whole_transcript(events)
        body = await asyncio.to_thread(render_transcription, asked, transcript)
        return Response(body, media_type=FORMATS[asked.format])


Steps = AsyncGenerator[TranscribeEvent | None, None]


async def _streamed(events: Events) -> Response:
    """Returns the stream. Raises what fails before it begins; later failures become its last frame."""
    steps = with_silences(events, _SILENCE_S)
    await first_of(steps)  # it says that the file can be read, of which OpenAI's streams tell nothing
    return Response(_frames(steps), media_type=SSE)


async def _frames(steps: Steps) -> AsyncGenerator[bytes, None]:
    texts: list[str] = []
    n_tokens = 0
    async with aclosing(steps):
        try:
            async for event in steps:
                if event is None:
                    yield HEARTBEAT
                elif isinstance(event, TranscribeResult):
                    yield done_event("".join(texts), n_tokens, event)
                elif isinstance(event, TranscribeStep):
                    for segment in event.segments:
                        # The deltas add up to the text, which has no space before it.
                        texts.append(segment.text if texts else segment.text.lstrip())
                        n_tokens += len(segment.tokens)
                        yield delta_event(texts[-1])
        except TurboError as error:
            yield sse_event("error", msgspec.json.encode(error_body(error, "openai")))
