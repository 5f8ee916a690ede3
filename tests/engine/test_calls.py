"""The queue of a model that answers whole calls, and the way of a text from writer to reader."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import aclosing
from typing import Any

import pytest

from turbov2.batching import BatchRecord, Calls, GenerateJob, RunnerLost
from turbov2.engine.relay import relay
from turbov2.errors import InferenceFailed, RunnerCrashed
from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    Finish,
    GenerateTask,
    Lane,
    TextDelta,
    ThinkingDelta,
)

DONE = Finish("stop", 3, 2)


class Pen:
    """Writes when told to."""

    def __init__(self) -> None:
        self.writing: list[Callable[[str], None]] = []
        self.ends: list[asyncio.Future[Finish]] = []

    async def generate(
        self, task: GenerateTask, images: Sequence[Any], on_piece: Callable[[str], None]
    ) -> Finish:
        self.writing.append(on_piece)
        self.ends.append(asyncio.get_running_loop().create_future())
        return await self.ends[-1]


def job(pieces: list[str], lane: Lane = "default", key_id: str = "") -> GenerateJob:
    return GenerateJob(GenerateTask(()), (), pieces.append, lane, key_id)


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


@pytest.fixture
def records() -> list[BatchRecord]:
    return []


@pytest.fixture
def pen() -> Pen:
    return Pen()


@pytest.fixture
def queue(pen: Pen, records: list[BatchRecord]) -> Calls:
    return Calls(pen, n_slots=1, on_batch=records.append)


class TestTheQueue:
    async def test_one_writes_at_a_time(self, queue: Calls, pen: Pen, records: list[BatchRecord]) -> None:
        tasks = [asyncio.create_task(queue.generate(job([]))) for _ in range(2)]
        await settle()
        assert (len(pen.writing), queue.n_queued_items) == (1, 1)
        pen.ends[0].set_result(DONE)
        await settle()
        assert (len(pen.writing), queue.n_queued_items) == (2, 0)
        pen.ends[1].set_result(DONE)
        results = await asyncio.gather(*tasks)
        assert [result.finish for result in results] == [DONE, DONE]
        assert results[1].queue_ns > 0
        assert [(record.outcome, record.n_tokens) for record in records] == [("ok", 5), ("ok", 5)]

    async def test_a_person_goes_before_a_bulk_job(self, queue: Calls, pen: Pen) -> None:
        order: list[str] = []
        lanes: list[Lane] = ["default", "bulk", "bulk", "interactive"]

        async def write(lane: Lane) -> None:
            await queue.generate(job([], lane))
            order.append(lane)

        tasks = []
        for lane in lanes:
            tasks.append(asyncio.create_task(write(lane)))
            await settle()
        for index in range(len(lanes)):
            await asyncio.sleep(0.001)  # turns are shared by time
            pen.ends[index].set_result(DONE)
            await settle()
        await asyncio.gather(*tasks)
        assert order.index("interactive") < len(lanes) - 1

    async def test_a_cancel_gives_the_turn_to_the_next(
        self, queue: Calls, pen: Pen, records: list[BatchRecord]
    ) -> None:
        first, second = (asyncio.create_task(queue.generate(job([]))) for _ in range(2))
        await settle()
        first.cancel()
        await settle()
        assert len(pen.writing) == 2
        pen.ends[1].set_result(DONE)
        assert (await second).finish == DONE
        assert [record.outcome for record in records] == ["cancelled", "ok"]

    async def test_a_failure_is_its_own(self, queue: Calls, pen: Pen) -> None:
        first, second = (asyncio.create_task(queue.generate(job([]))) for _ in range(2))
        await settle()
        pen.ends[0].set_exception(InferenceFailed("no"))
        await settle()
        pen.ends[1].set_result(DONE)
        with pytest.raises(InferenceFailed):
            await first
        assert (await second).finish == DONE

    async def test_a_death_and_a_close_are_told_apart(self, queue: Calls, pen: Pen) -> None:
        first, second = (asyncio.create_task(queue.generate(job([]))) for _ in range(2))
        await settle()
        pen.ends[0].set_exception(RunnerCrashed("gone"))
        await queue.close()
        with pytest.raises(RunnerLost) as running:
            await first
        with pytest.raises(RunnerLost) as waiting:
            await second
        with pytest.raises(RunnerLost):
            await queue.generate(job([]))
        assert (running.value.was_running, waiting.value.was_running) == (True, False)
        assert not queue.is_open


class TestTheRelay:
    async def test_deltas_and_then_the_result(self) -> None:
        async def write(on_delta: Callable[[AnswerDelta], None]) -> int:
            for piece in ("a", " b"):
                on_delta(TextDelta(piece))
                await asyncio.sleep(0.001)
            return 7

        assert [event async for event in relay(write)] == [TextDelta("a"), TextDelta(" b"), 7]

    async def test_a_slow_reader_gets_what_waited_in_one_piece(self) -> None:
        written = asyncio.Event()

        async def write(on_delta: Callable[[AnswerDelta], None]) -> int:
            for number in range(1_000):
                on_delta(TextDelta(f"{number} "))
            await asyncio.sleep(0)
            for number in range(1_000):
                on_delta(TextDelta(f"{number} "))
            written.set()
            return 7

        events = relay(write)
        first = await anext(events)
        await written.wait()  # the writer waits for nobody
        assert first == TextDelta("".join(f"{number} " for number in range(1_000)))
        assert [event async for event in events] == [first, 7]

    async def test_only_words_of_one_kind_are_told_together(self) -> None:
        told = [
            ThinkingDelta("a"),
            ThinkingDelta("b"),
            TextDelta("c"),
            CallBegun("1", "f"),
            CallDelta("{"),
            CallDelta("}"),
            CallBegun("2", "f"),
        ]

        async def write(on_delta: Callable[[AnswerDelta], None]) -> int:
            for delta in told:
                on_delta(delta)
            return 7

        assert [event async for event in relay(write)] == [
            ThinkingDelta("ab"),
            TextDelta("c"),
            CallBegun("1", "f"),
            CallDelta("{}"),
            CallBegun("2", "f"),
            7,
        ]

    async def test_an_error_comes_after_the_text_before_it(self) -> None:
        async def write(on_delta: Callable[[AnswerDelta], None]) -> int:
            on_delta(TextDelta("a"))
            raise InferenceFailed("no")

        events = relay(write)
        assert await anext(events) == TextDelta("a")
        with pytest.raises(InferenceFailed):
            await anext(events)

    async def test_whoever_leaves_stops_the_writer_and_waits_for_it(self) -> None:
        ended: list[str] = []

        async def write(on_delta: Callable[[AnswerDelta], None]) -> int:
            try:
                on_delta(TextDelta("a"))
                await asyncio.sleep(60)
            finally:
                await asyncio.sleep(0.01)
                ended.append("writer")
            return 7

        async with aclosing(relay(write)) as events:
            assert await anext(events) == TextDelta("a")
        assert ended == ["writer"]

    async def test_a_cancelled_reader_stops_it_as_well(self) -> None:
        ended: list[str] = []

        async def write(on_delta: Callable[[AnswerDelta], None]) -> int:
            try:
                await asyncio.sleep(60)
            finally:
                ended.append("writer")
            return 7

        reader = asyncio.create_task(anext(relay(write)))  # type: ignore[arg-type]
        await settle()
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        assert ended == ["writer"]
