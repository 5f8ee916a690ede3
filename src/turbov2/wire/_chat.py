"""Answers as models write them: folded into one, or told piece by piece in a family's own frames."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator, Sequence
from contextlib import aclosing
from itertools import groupby
from typing import Protocol

import msgspec

from turbov2.errors import TurboError
from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    ChatEvent,
    ChatResult,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallPart,
)
from turbov2.wire._http import Response
from turbov2.wire._silences import with_silences

Events = AsyncGenerator[ChatEvent, None]

_SILENCE_S = 5.0  # a long prompt gives no word for a while: then a sign of life, if the family has one


class Answer(msgspec.Struct, frozen=True):
    """A whole answer: its parts in their order, no two texts or thoughts side by side."""

    parts: tuple[TextPart | ThinkingPart | ToolCallPart, ...]
    result: ChatResult

    @property
    def text(self) -> str:
        """All that is said."""
        return "".join(part.text for part in self.parts if isinstance(part, TextPart))

    @property
    def thinking(self) -> str:
        """All that is thought."""
        return "".join(part.text for part in self.parts if isinstance(part, ThinkingPart))

    @property
    def calls(self) -> list[ToolCallPart]:
        """The calls of tools."""
        return [part for part in self.parts if isinstance(part, ToolCallPart)]


class Frames(Protocol):
    """How one family tells an answer; what is empty is not sent."""

    media_type: bytes
    heartbeat: bytes  # empty: the family has none, so its answer begins with the first delta

    def head(self) -> bytes:
        """Returns what comes before the first delta."""

    def delta(self, delta: AnswerDelta) -> bytes:
        """Returns the frame of what the answer goes on with."""

    def end(self, result: ChatResult) -> bytes:
        """Returns what comes after the last delta."""

    def error(self, error: TurboError) -> bytes:
        """Returns the last frame of an answer that failed midway."""


async def whole_answer(events: Events) -> Answer:
    """Returns what the stream's deltas add up to. Raises: what `events` raises."""
    deltas: list[AnswerDelta] = []
    async with aclosing(events):
        async for event in events:
            if isinstance(event, ChatResult):
                return Answer(tuple(_folded(deltas)), event)
            deltas.append(event)
    raise RuntimeError("a model's answer came without an end. This is a bug.")


async def stream_answer(events: Events, frames: Frames) -> Response:
    """Returns the stream. Raises what fails before it begins; later failures become its last frame.

    It begins with the first delta, or where a family has a sign of life with the first of those.
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


def _folded(deltas: Sequence[AnswerDelta]) -> Iterator[TextPart | ThinkingPart | ToolCallPart]:
    """Yields the parts that the deltas make."""
    call = CallBegun("", "")
    for kind, group in groupby(deltas, key=type):
        alike = list(group)
        if kind is TextDelta:
            yield TextPart("".join(each.text for each in alike if isinstance(each, TextDelta)))
        elif kind is ThinkingDelta:
            yield ThinkingPart("".join(each.text for each in alike if isinstance(each, ThinkingDelta)))
        elif kind is CallDelta:
            arguments = "".join(each.arguments for each in alike if isinstance(each, CallDelta))
            yield ToolCallPart(call.id, call.name, arguments)
        elif isinstance(alike[-1], CallBegun):
            call = alike[-1]


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
    return frames.end(step) if isinstance(step, ChatResult) else frames.delta(step)
