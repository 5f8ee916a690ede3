"""Relay: an answer as it is written, handed to a reader who may be slower than the writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

from turbov2.types import CallDelta, ChatNews, TextDelta, ThinkingDelta

T = TypeVar("T")


class _Deltas:
    """What nobody has read yet. All of it is taken at once: a slow reader gets fewer, longer deltas."""

    def __init__(self) -> None:
        self._waiting: list[tuple[type[ChatNews], list[ChatNews]]] = []  # those of one kind together
        self._changed = asyncio.Event()

    def add(self, delta: ChatNews) -> None:
        kind = type(delta)
        if not self._waiting or self._waiting[-1][0] is not kind:
            self._waiting.append((kind, []))
        self._waiting[-1][1].append(delta)
        self._changed.set()

    def wake(self, _: object = None) -> None:
        self._changed.set()

    def take(self) -> list[ChatNews]:
        waiting, self._waiting = self._waiting, []
        self._changed.clear()
        return [delta for _, alike in waiting for delta in _joined(alike)]

    async def wait(self) -> None:
        await self._changed.wait()


def _joined(alike: list[ChatNews]) -> list[ChatNews]:
    """Returns deltas of one kind as one, if they have words."""
    match alike:
        case [_]:
            return alike
        case [TextDelta(), *_]:
            return [TextDelta("".join(each.text for each in alike if isinstance(each, TextDelta)))]
        case [ThinkingDelta(), *_]:
            return [ThinkingDelta("".join(each.text for each in alike if isinstance(each, ThinkingDelta)))]
        case [CallDelta(), *_]:
            return [CallDelta("".join(each.arguments for each in alike if isinstance(each, CallDelta)))]
        case _:
            return alike


async def relay(
    write: Callable[[Callable[[ChatNews], None]], Awaitable[T]],
) -> AsyncGenerator[ChatNews | T, None]:
    """Yields the deltas that `write` hands to its argument, and at the end what it returns.

    `write` runs in a task of its own and waits for no reader: what it holds, a model's turn, is free as soon
    as the answer is written. So what may wait here is one answer, which `max_tokens` bounds. Whoever leaves
    early closes this generator, which cancels the task and waits for it. Raises: what `write` raises, after
    the deltas that came before.
    """
    deltas = _Deltas()
    task = asyncio.ensure_future(write(deltas.add))
    task.add_done_callback(deltas.wake)
    try:
        while True:
            await deltas.wait()
            is_done = task.done()  # before the last deltas are taken, not after
            for delta in deltas.take():
                yield delta
            if is_done:
                break
        yield task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # told already, or nobody is left to tell
