"""Jobs over HTTP: how they stand, what they gave so far, and their end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any

import msgspec

from turbov2.errors import InvalidRequest, RouteNotFound, TurboError
from turbov2.jobs import ENDED, Jobs, JobStatus
from turbov2.wire._http import Request, Response
from turbov2.wire._silences import first_of, with_silences
from turbov2.wire._sse import HEARTBEAT, SSE, sse_event
from turbov2.wire.native.job_transcripts import FORMATS, KIND, parse_format, render_units

_MAX_LISTED = 100
_DEFAULT_RESULTS, _MAX_RESULTS = 50, 500
_MAX_RESULT_BYTES = 16 << 20  # of one answer
_HEARTBEAT_S = 15.0
_EVENTS, _TRANSCRIPT = "/events", "/transcript"


class JobRoutes:
    """The handlers below /api/jobs."""

    def __init__(self, jobs: Jobs) -> None:
        self._jobs = jobs

    async def newest(self, request: Request) -> Response:
        """GET /api/jobs. The caller's own, newest first."""
        limit = _number(request, "limit", _MAX_LISTED, 1, _MAX_LISTED)
        listed = await self._jobs.newest(request.context.key_id, limit)
        return Response(msgspec.json.encode({"jobs": [render_status(status) for status in listed]}))

    async def one(self, request: Request) -> Response:
        """GET /api/jobs/{id}: state and results so far. Below it /events: as they come; /transcript."""
        job_id, key_id = request.path_rest, request.context.key_id
        if job_id.endswith(_TRANSCRIPT):
            return await self._transcript(job_id.removesuffix(_TRANSCRIPT), request)
        if job_id.endswith(_EVENTS):
            return await self._events(job_id.removesuffix(_EVENTS), key_id)
        after = _number(request, "after", 0, 0, 1_000_000_000)
        limit = _number(request, "limit", _DEFAULT_RESULTS, 1, _MAX_RESULTS)
        # First how it stands, then what it gave: so the last results are never missed.
        status = await self._jobs.status(job_id, key_id)
        results = await self._jobs.results(job_id, key_id, after, limit, _MAX_RESULT_BYTES)
        return Response(_with_results(status, after, results))

    async def remove(self, request: Request) -> Response:
        """DELETE /api/jobs/{id}. Its work stops, and nothing of it is kept."""
        if "/" in request.path_rest:
            raise RouteNotFound("no such route; delete a job at /api/jobs/{id}")
        await self._jobs.remove(request.path_rest, request.context.key_id)
        return Response(msgspec.json.encode({"id": request.path_rest, "deleted": True}))

    async def _transcript(self, job_id: str, request: Request) -> Response:
        """Returns what a job has heard so far, as `format` says."""
        name = parse_format(request.query().get("format", "text"))
        status = await self._jobs.status(job_id, request.context.key_id)
        if status.kind != KIND:
            raise InvalidRequest(
                f"job '{job_id[:64]}' is a {status.kind}, which has no transcript", param="id"
            )
        units: list[bytes] = []
        while found := await self._jobs.results(
            job_id, request.context.key_id, len(units), _MAX_RESULTS, _MAX_RESULT_BYTES
        ):
            units += found
        return Response(await asyncio.to_thread(render_units, units, name), media_type=FORMATS[name])

    async def _events(self, job_id: str, key_id: str) -> Response:
        steps = with_silences(self._jobs.watch(job_id, key_id), _HEARTBEAT_S)
        first = await first_of(steps)  # an unknown id is answered 404
        return Response(_frames(first, steps), media_type=SSE)


async def _frames(
    first: JobStatus, rest: AsyncGenerator[JobStatus | None, None]
) -> AsyncGenerator[bytes, None]:
    """Yields an event a change, the last one named as the job ended, and signs of life between them.

    Without such a last one the server stops; the job goes on with the next one.
    """
    async with aclosing(rest):
        try:
            yield _event(first)
            async for status in rest:
                yield HEARTBEAT if status is None else _event(status)
        except TurboError as error:
            yield sse_event("error", msgspec.json.encode({"error": error.message}))


def _event(status: JobStatus) -> bytes:
    name = status.state if status.state in ENDED else "progress"
    return sse_event(name, msgspec.json.encode(render_status(status)))


def render_status(status: JobStatus) -> dict[str, Any]:
    """Returns a job without its results."""
    return {
        "id": status.id,
        "kind": status.kind,
        "state": status.state,
        "done": status.n_done,
        "total": status.n_units,
        "created_at": _time(status.created_s),
        "started_at": _time(status.started_s),
        "ended_at": _time(status.ended_s),
        "error": status.error,
    }


def _with_results(status: JobStatus, after: int, results: list[bytes]) -> bytes:
    """Returns the job's JSON. next: the `after` of what follows, null once there can be no more."""
    reached = after + len(results)
    is_all = status.state in ENDED and reached >= status.n_done
    head = msgspec.json.encode({**render_status(status), "next": None if is_all else reached})
    return head[:-1] + b',"results":[%b]}' % b",".join(results)


def _time(seconds: float | None) -> str | None:
    return (
        None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    )


def _number(request: Request, name: str, default: int, low: int, high: int) -> int:
    value = request.query().get(name, "")
    if not value:
        return default
    if not (value.isascii() and value.isdigit() and len(value) < 12) or not low <= int(value) <= high:
        raise InvalidRequest(
            f"{name} is '{value[:40]}', expected a whole number from {low} to {high}", param=name
        )
    return int(value)
