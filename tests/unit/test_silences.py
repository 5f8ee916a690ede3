"""Streams with silences give all events in order, signs of life between them, and close what they read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

import pytest

from turbov2.wire._silences import first_of, with_silences


class Stream:
    """Yields numbers; waits for `go` before those that are in `waits`."""

    def __init__(self, n_events: int, waits: tuple[int, ...] = (), error: Exception | None = None) -> None:
        self.go = asyncio.Event()
        self.n_told = 0
        self.is_closed = False
        self.events = self._tell(n_events, waits, error)

    async def _tell(
        self, n_events: int, waits: tuple[int, ...], error: Exception | None
    ) -> AsyncGenerator[int, None]:
        try:
            for number in range(n_events):
                if number in waits:
                    await self.go.wait()
                self.n_told += 1
                yield number
            if error is not None:
                raise error
        finally:
            self.is_closed = True


async def test_all_events_come_in_order() -> None:
    stream = Stream(1000)
    assert [each async for each in with_silences(stream.events, 60)] == list(range(1000))
    assert stream.is_closed


async def test_a_silence_is_told_again_and_again() -> None:
    stream = Stream(2, waits=(1,))
    steps = with_silences(stream.events, 0.001)
    assert [await anext(steps) for _ in range(3)] == [0, None, None]
    stream.go.set()
    assert [each async for each in steps if each is not None] == [1]


async def test_an_error_comes_behind_the_events_before_it() -> None:
    steps = with_silences(Stream(3, error=ValueError("no")).events, 60)
    assert [await anext(steps) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="no"):
        await anext(steps)


async def test_a_reader_who_is_slow_holds_the_stream_up() -> None:
    stream = Stream(1000)
    steps = with_silences(stream.events, 60)
    assert await anext(steps) == 0
    for _ in range(200):
        await asyncio.sleep(0)
    assert stream.n_told < 100
    assert [each async for each in steps] == list(range(1, 1000))


@pytest.mark.parametrize("n_read", [0, 1, 2])
async def test_who_leaves_early_closes_the_stream(n_read: int) -> None:
    stream = Stream(3, waits=(2,))
    steps = with_silences(stream.events, 0.001)
    for _ in range(n_read + 1):
        await anext(steps)
    await steps.aclose()
    assert stream.is_closed


async def test_the_first_event_may_take_long() -> None:
    stream = Stream(2, waits=(0,))
    steps = with_silences(stream.events, 0.001)
    asyncio.get_running_loop().call_later(0.02, stream.go.set)
    assert await first_of(steps) == 0
    await steps.aclose()
