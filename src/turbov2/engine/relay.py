"""Relay: a text as it is written, handed to a reader who may be slower than the writer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class _Pieces:
    """What nobody has read yet. All of it is taken at once: a slow reader gets fewer, longer pieces."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._changed = asyncio.Event()

    def add(self, piece: str) -> None:
        self._waiting.append(piece)
        self._changed.set()

    def wake(self, _: object = None) -> None:
        self._changed.set()

    def take(self) -> str:
        text = "".join(self._waiting)
        self._waiting.clear()
        self._changed.clear()
        return text

    async def wait(self) -> None:
        await self._changed.wait()


async def relay(write: Callable[[Callable[[str], None]], Awaitable[T]]) -> AsyncGenerator[str | T, None]:
    """Yields the text that `write` hands to its argument, and at the end what it returns.

    `write` runs in a task of its own and waits for no reader: what it holds, a model's turn, is free as soon
    as the text is written. So what may wait here is one answer, which `max_tokens` bounds. Whoever leaves
    early closes this generator, which cancels the task and waits for it. Raises: what `write` raises, after
    the text that came before.
    """
    pieces = _Pieces()
    task = asyncio.ensure_future(write(pieces.add))
    task.add_done_callback(pieces.wake)
    try:
        while True:
            await pieces.wait()
            is_done = task.done()  # before the last pieces are taken, not after
            if text := pieces.take():
                yield text
            if is_done:
                break
        yield task.result()
    finally:
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()  # told already, or nobody is left to tell
