"""Answers as models write them: folded into one, or told piece by piece in a family's own frames."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Protocol

from turbov2.errors import TurboError
from turbov2.types import ChatEvent, ChatResult
from turbov2.wire._http import Response
from turbov2.wire._silences import with_silences

Events = AsyncGenerator[ChatEvent, None]

_SILENCE_S = 5.0  # a long prompt gives no word for a while: then a sign of life, if the family has one


class Frames(Protocol):
    """How one family tells an answer; what is empty is not sent."""

    media_type: bytes
    heartbeat: bytes  # empty: the family has none, so its answer begins with the first piece

    def head(self) -> bytes:
        """Returns what comes before the first piece."""

    def piece(self, text: str) -> bytes:
        """Returns the frame of the answer's next words."""

    def end(self, result: ChatResult) -> bytes:
        """Returns what comes after the last piece."""

    def error(self, error: TurboError) -> bytes:
        """Returns the last frame of an answer that failed midway."""


async def whole_answer(events: Events) -> tuple[str, ChatResult]:
    """Returns what the stream's pieces add up to, and its end. Raises: what `events` raises."""
    pieces: list[str] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, ChatResult):
                return "".join(pieces), event
            pieces.append(event)
    raise RuntimeError("a model's answer came without an end. This is a bug.")


async def stream_answer(events: Events, frames: Frames) -> Response:
    """Returns the stream. Raises what fails before it begins; later failures become its last frame.

    It begins with the first piece, or where a family has a sign of life with the first of those.
    """
    steps = with_silences(events, _SILENCE_S)
    try:
        first = await anext(steps)
        while first is None and not frames.heartbeat:
            first = await anext(steps)
    except BaseException:
        await steps.aclose()
        raise
    return Response(_told(first, steps, frames), media_type=frames.media_type)


Steps = AsyncGenerator[ChatEvent | None, None]


async def _told(first: ChatEvent | None, rest: Steps, frames: Frames) -> AsyncGenerator[bytes, None]:
    async with aclosing(rest):
        try:
            yield frames.head() + _frame(first, frames)
            async for step in rest:
                if frame := _frame(step, frames):
                    yield frame
        except TurboError as error:
            yield frames.error(error)


def _frame(step: ChatEvent | None, frames: Frames) -> bytes:
    if step is None:
        return frames.heartbeat
    return frames.end(step) if isinstance(step, ChatResult) else frames.piece(step)
