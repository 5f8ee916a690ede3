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
    PromptCounted,
    TextDelta,
    TextPart,
    ThinkingDelta,
    ThinkingPart,
    ToolCallPart,
)
from turbov2.wire._http import Response
from turbov2.wire._silences import with_silences
from turbov2.wire._sse import HEARTBEAT

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

    def head(self, prompt: PromptCounted | None) -> bytes:
        """Returns what comes before the first delta. prompt: None where its length is not known by then."""

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
            if not isinstance(event, PromptCounted):
                deltas.append(event)
    raise RuntimeError("a model's answer came without an end. This is a bug.")


async def stream_answer(events: Events, frames: Frames) -> Response:
    """Returns the stream. Raises what fails before it begins; later failures become its last frame.

    It begins with the first delta, or where a family has a sign of life with the first of those.
    """
    steps = with_silences(events, _SILENCE_S)
    prompt = None
    try:
        first = await anext(steps)
        while isinstance(first, PromptCounted) or (first is None and not frames.heartbeat):
            prompt = first or prompt
            first = await anext(steps)
    except BaseException:
        await steps.aclose()
        raise
    return Response(_told(prompt, first, steps, frames), media_type=frames.media_type)


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


async def _told(
    prompt: PromptCounted | None, first: ChatEvent | None, rest: Steps, frames: Frames
) -> AsyncGenerator[bytes, None]:
    """Yields the frames. Until the prompt is counted, or the first delta comes, silence is a bare comment."""
    head = b""
    async with aclosing(rest):
        try:
            step = first
            while step is None and prompt is None:
                yield HEARTBEAT
                step = await anext(rest)
                prompt = step if isinstance(step, PromptCounted) else None
            head = frames.head(prompt)
            yield head + _frame(step, frames)
            async for step in rest:
                if frame := _frame(step, frames):
                    yield frame
        except TurboError as error:
            yield (b"" if head else frames.head(prompt)) + frames.error(error)


def _frame(step: ChatEvent | None, frames: Frames) -> bytes:
    match step:
        case None:
            return frames.heartbeat
        case PromptCounted():
            return b""  # the head has told it
        case ChatResult():
            return frames.end(step)
        case _:
            return frames.delta(step)
