"""Streams in which nothing may happen for a while."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")


async def with_silences(events: AsyncGenerator[T, None], silence_s: float) -> AsyncGenerator[T | None, None]:
    """Yields the events, and None whenever none came for so long. Closing it closes them."""
    async with aclosing(events):
        waiting = asyncio.ensure_future(anext(events))
        try:
            while True:
                done, _ = await asyncio.wait({waiting}, timeout=silence_s)
                if not done:
                    yield None
                    continue
                try:
                    event = waiting.result()
                except StopAsyncIteration:
                    return
                yield event
                waiting = asyncio.ensure_future(anext(events))
        finally:
            waiting.cancel()
            await asyncio.wait({waiting})
            if not waiting.cancelled():
                waiting.exception()  # told already, or nobody is left to tell


async def first_of(steps: AsyncGenerator[T | None, None]) -> T:
    """Returns the first event, however long it takes. When it fails, the steps are closed."""
    try:
        while (step := await anext(steps)) is None:
            pass
    except BaseException:
        await steps.aclose()
        raise
    return step
