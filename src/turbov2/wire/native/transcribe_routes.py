"""Transcripts over HTTP: whole, segment by segment as they are heard, or as a job."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import ExitStack, aclosing
from pathlib import Path
from typing import Any

import msgspec
from msgspec.structs import replace

from turbov2.engine.protocol import Engine
from turbov2.errors import InvalidRequest, TurboError
from turbov2.jobs import Jobs, Reached, Unit
from turbov2.spools import Spool, Spools
from turbov2.types import (
    Context,
    TranscribeEvent,
    TranscribeRequest,
    TranscribeResult,
    TranscribeStarted,
    TranscribeState,
    TranscribeStep,
)
from turbov2.wire._http import Request, Response
from turbov2.wire._lines import json_line
from turbov2.wire._silences import first_of, with_silences
from turbov2.wire._sse import HEARTBEAT, SSE
from turbov2.wire._transcripts import Events, closing_upload, whole_transcript
from turbov2.wire._uploads import UploadForm, read_upload
from turbov2.wire.native.audio_embed import (
    embed_request,
    parse_audio_embed,
    passages_of,
    render_audio_embed,
)
from turbov2.wire.native.job_transcripts import KIND
from turbov2.wire.native.jobs import render_status
from turbov2.wire.native.streams import frame, stream_kind
from turbov2.wire.native.transcribe import (
    FORMATS,
    Asked,
    language_fields,
    parse_transcribe,
    render_end,
    render_progress,
    render_started,
    render_transcript,
    segment_fields,
)

_NAMES = ("file", "audio", "base64")
_SILENCE_S = 10.0
_REQUEST = msgspec.msgpack.Decoder(TranscribeRequest)
_STATE = msgspec.msgpack.Decoder(TranscribeState)
_encode = msgspec.msgpack.Encoder().encode  # JSON has no infinity, which is a length of speech


class TranscribeJobs:
    """The kind of job that transcribes a file; a unit is what one window or chunk gave."""

    name = KIND

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def run(
        self, asked: bytes, payload: Path, reached: Reached, context: Context
    ) -> AsyncGenerator[Unit, None]:
        """Yields the windows that are not done; see JobKind."""
        request = _REQUEST.decode(asked)
        if reached.state:
            request = replace(request, state=_STATE.decode(reached.state))
        n_done = reached.n_done
        with payload.open("rb") as file:
            async with aclosing(self._engine.transcribe(request, file, context)) as events:
                async for event in events:
                    if isinstance(event, TranscribeStep):
                        n_done += 1
                        yield Unit(_unit(event), n_done + event.n_left, _encode(event.state))


class TranscribeRoutes:
    """The handlers of POST /api/transcribe and /api/audio/embed."""

    def __init__(self, engine: Engine, jobs: Jobs, uploads: Spools, default_embed_model: str) -> None:
        self._engine = engine
        self._jobs = jobs
        self._uploads = uploads
        self._default_embed_model = default_embed_model

    async def transcribe(self, request: Request) -> Response:
        """POST /api/transcribe, and below it /base64. The words of a file; as they are heard; or as a job."""
        form = await read_upload(request, _NAMES, self._uploads)
        with ExitStack() as on_error:
            on_error.callback(form.close)
            asked, file = parse_transcribe(form), form.required("file")
            if form.flag("job", False):
                return await self._begin_job(asked, file, request.context)
            kind = _kind(request, form, asked)
            on_error.pop_all()
        events = closing_upload(form, self._engine.transcribe(asked.request, file, request.context))
        if kind is None:
            transcript = await whole_transcript(events)
            body = await asyncio.to_thread(render_transcript, asked, transcript)
            return Response(body, media_type=FORMATS[asked.format])
        return await _streamed(events, kind)

    async def embed(self, request: Request) -> Response:
        """POST /api/audio/embed. The words of a file and their vectors, of all or of each part."""
        form = await read_upload(request, _NAMES, self._uploads)
        with ExitStack() as on_error:
            on_error.callback(form.close)
            asked, file = parse_audio_embed(form, self._default_embed_model), form.required("file")
            embed_model = self._engine.model(asked.embed_model).name  # a name that is wrong is told now
            on_error.pop_all()
        events = closing_upload(form, self._engine.transcribe(asked.request, file, request.context))
        transcript = await whole_transcript(events)
        passages = passages_of(transcript.segments, asked.per)
        vectors = (
            await self._engine.embed(embed_request(asked, passages), request.context) if passages else None
        )
        return Response(
            await asyncio.to_thread(render_audio_embed, asked, transcript, passages, vectors, embed_model)
        )

    async def _begin_job(self, asked: Asked, file: Spool, context: Context) -> Response:
        await self._engine.check_transcribe(asked.request)  # a model that is wrong is told now
        status = await self._jobs.submit(KIND, context.key_id, _encode(asked.request), file)
        where = f"/api/jobs/{status.id}".encode()
        body = msgspec.json.encode(render_status(status))
        return Response(body, status=202, headers=[(b"location", where)])


def _kind(request: Request, form: UploadForm, asked: Asked) -> bytes | None:
    """Returns the media type of a stream, None for a whole answer. Raises: InvalidRequest."""
    kind = stream_kind(request, form)
    if kind is not None and asked.format != "json":
        raise InvalidRequest(
            f"a stream tells segments, not {asked.format}; leave out format or stream", param="format"
        )
    return kind


def _unit(step: TranscribeStep) -> bytes:
    segments = [segment_fields(segment) for segment in step.segments]
    return msgspec.json.encode({**render_progress(step), "segments": segments})


async def _streamed(events: Events, kind: bytes) -> Response:
    """Returns the stream. Raises what fails before the first event; later failures become its last frame."""
    steps = with_silences(events, _SILENCE_S)
    return Response(_frames(await first_of(steps), steps, kind), media_type=kind)


class _Told:
    """A transcript as the fields of its frames."""

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._has_language = False
        self._progress: dict[str, Any] | None = None

    def frames(self, event: TranscribeEvent) -> Iterator[dict[str, Any]]:
        """Yields what is told of an event."""
        match event:
            case TranscribeStarted():
                self._has_language = event.language is not None
                yield {"event": "started", **render_started(event)}
            case TranscribeStep():
                if not self._has_language and event.state.language is not None:
                    self._has_language = True
                    yield {"event": "language", **language_fields(event.state.language)}
                for segment in event.segments:
                    self._texts.append(segment.text)
                    yield {"event": "segment", "segment": segment_fields(segment)}
                self._progress = {"event": "progress", **render_progress(event)}
                yield self._progress
            case TranscribeResult():
                yield {"event": "done", **render_end(event, "".join(self._texts).strip())}

    def silence(self, kind: bytes) -> bytes:
        """Returns a sign of life."""
        if kind == SSE:
            return HEARTBEAT
        return _frame(self._progress, kind) if self._progress is not None else b""


async def _frames(
    first: TranscribeEvent, rest: AsyncGenerator[TranscribeEvent | None, None], kind: bytes
) -> AsyncGenerator[bytes, None]:
    told = _Told()
    async with aclosing(rest):
        try:
            yield b"".join(_frame(fields, kind) for fields in told.frames(first))
            async for event in rest:
                if event is None:
                    yield told.silence(kind)
                else:
                    yield b"".join(_frame(fields, kind) for fields in told.frames(event))
        except TurboError as error:
            yield _frame({"event": "error", "error": error.message, "code": error.code}, kind)


def _frame(fields: dict[str, Any], kind: bytes) -> bytes:
    return frame(fields["event"], json_line(fields)[:-1], kind)
