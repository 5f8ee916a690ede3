"""A pull as Ollama's clients follow it: NDJSON lines that end with "success"."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec

from turbov2.errors import TurboError
from turbov2.types import PullProgress
from turbov2.wire._http import NDJSON, Response

_STATUS = {
    "resolving": "pulling manifest",
    "verifying": "verifying sha256 digest",
    "publishing": "writing manifest",
    "done": "success",
}


def render_step(step: PullProgress) -> dict[str, Any]:
    """Returns one line's object."""
    if step.phase != "downloading":
        return {"status": _STATUS[step.phase]}
    # Files of a hub that have no sha256 are known by name.
    label = step.sha256[:12] or step.file
    return {
        "status": f"pulling {label}",
        "digest": f"sha256:{step.sha256}" if step.sha256 else step.file,
        "total": step.total_bytes,
        "completed": step.done_bytes,
    }


async def pull_whole(steps: AsyncIterator[PullProgress]) -> bytes:
    """Returns the last line alone, once the pull is complete. Raises: PullFailed."""
    async for _ in steps:
        pass
    return msgspec.json.encode({"status": "success"})


async def pull_frames(steps: AsyncIterator[PullProgress]) -> Response:
    """Returns the stream. Raises what fails before the first line; later failures become a line."""
    first = await anext(steps)
    return Response(_frames(first, steps), media_type=NDJSON)


async def _frames(first: PullProgress, steps: AsyncIterator[PullProgress]) -> AsyncGenerator[bytes, None]:
    yield msgspec.json.encode(render_step(first)) + b"\n"
    try:
        async for step in steps:
            yield msgspec.json.encode(render_step(step)) + b"\n"
    except TurboError as error:
        yield msgspec.json.encode({"error": error.message}) + b"\n"
