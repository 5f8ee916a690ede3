"""Streams in which nothing may happen for a while."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TypeVar

T = TypeVar("T")

_N_AHEAD = 32  # events that wait for a slow reader; behind them the stream itself waits


async def with_silences(events: AsyncGenerator[T, None], silence_s: float) -> AsyncGenerator[T | None, None]:
    """Yields the events, and None whenever none came for so long. Closing it closes them."""
    loop, changed, has_room = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
    ahead: deque[T] = deque()

    async def read() -> None:
        async for event in events:
            ahead.append(event)
            changed.set()
            while len(ahead) >= _N_AHEAD:
                has_room.clear()
                await has_room.wait()

    # One task for the whole stream: one for each event takes longer than all else that is done with it.
    async with aclosing(events):
        reading = asyncio.ensure_future(read())
        reading.add_done_callback(lambda _: changed.set())
        try:
            while True:
                while ahead:
                    yield ahead.popleft()
                    has_room.set()
                if reading.done():
                    reading.result()
                    return
                changed.clear()
                silence = loop.call_later(silence_s, changed.set)
                await changed.wait()
                silence.cancel()
                if not ahead and not reading.done():
                    yield None
        finally:
            reading.cancel()
            await asyncio.wait({reading})
            if not reading.cancelled():
                reading.exception()  # told already, or nobody is left to tell


async def first_of(steps: AsyncGenerator[T | None, None]) -> T:
    """Returns the first event, however long it takes. When it fails, the steps are closed."""
    try:
        while (step := await anext(steps)) is None:
            pass
    except BaseException:
        await steps.aclose()
        raise
    return step
