"""The queue of a model in the loop's own process: whole calls, in turns."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.clock import now_s, on_clock, settle
from turbov2.batching import BatchRecord, Job, JobResult, RunnerLost, Slices
from turbov2.errors import InferenceFailed, InputTooLong, TurboError
from turbov2.types import Inputs, Lane, TokenBatch

SECONDS_PER_CHAR = 1e-6
MAX_TOKENS = 1000


class FakeInline:
    """An input's vector is its length and its first character; a call takes time by characters."""

    def __init__(self) -> None:
        self.calls: list[list[str]] = []
        self.n_running = self.max_running = 0
        self.fails: Callable[[Inputs], TurboError | None] = lambda inputs: None

    def embed_now(self, inputs: Inputs) -> tuple[TokenBatch, NDArray[np.float32]] | None:
        return None if sum(map(len, inputs)) > 100 else self._whole(inputs)

    async def embed_whole(self, inputs: Inputs) -> tuple[TokenBatch, NDArray[np.float32]]:
        self.calls.append([str(each) for each in inputs])
        self.n_running += 1
        self.max_running = max(self.max_running, self.n_running)
        try:
            await asyncio.sleep(SECONDS_PER_CHAR * sum(map(len, inputs)))
        finally:
            self.n_running -= 1
        return self._whole(inputs)

    def _whole(self, inputs: Inputs) -> tuple[TokenBatch, NDArray[np.float32]]:
        if (error := self.fails(inputs)) is not None:
            raise error
        full = np.array([len(each) for each in inputs], np.int32)
        lengths = np.minimum(full, MAX_TOKENS) if full.max(initial=0) > MAX_TOKENS else full
        ids = np.zeros(lengths.sum(), np.int32)
        firsts = [ord(str(each)[0]) if each else 0 for each in inputs]
        return TokenBatch(ids, lengths, full), np.array([full, firsts], np.float32).T


class Desk:
    """Slices before a FakeInline, and what both reported."""

    def __init__(self, n_slots: int = 2) -> None:
        self.runner = FakeInline()
        self.records: list[BatchRecord] = []
        self.slices = Slices(self.runner, n_slots=n_slots, on_batch=self.records.append, now_s=now_s)

    def ask(self, texts: list[str], lane: Lane = "bulk", key_id: str = "", **how: bool) -> Asked:
        return asyncio.create_task(self.slices.embed(Job(texts, lane=lane, key_id=key_id, **how)))


Asked = asyncio.Task[JobResult | None]


def rows(result: JobResult | None) -> list[list[float]]:
    assert result is not None
    found: list[list[float]] = result.vectors.tolist()
    return found


def texts(letter: str, n: int, n_chars: int = 100) -> list[str]:
    return [letter * n_chars for _ in range(n)]


@on_clock
async def test_a_job_is_one_call_and_a_large_one_several_in_its_own_order() -> None:
    desk = Desk()
    small, large = desk.ask(["ab", "", "c" * 200]), desk.ask([*texts("x", 1000), "y"])
    assert rows(await small) == [[2, ord("a")], [0, 0], [200, ord("c")]]
    assert rows(await large) == [[100, ord("x")]] * 1000 + [[1, ord("y")]]
    assert [len(call) for call in desk.runner.calls] == [3, 655, 346]
    result = await large
    assert result is not None
    assert result.inference_ns == pytest.approx(100_001 * SECONDS_PER_CHAR * 1e9)
    assert result.lengths.sum() == 100_001
    assert [record.n_items for record in desk.records] == [3, 655, 346]
    assert desk.slices.n_queued_items == 0


@on_clock
async def test_one_text_larger_than_a_slice_is_a_slice() -> None:
    desk = Desk()
    result = await desk.ask(["a", "b" * 1_000_000, "c"])
    assert result is not None
    assert [len(call) for call in desk.runner.calls] == [1, 1, 1]
    assert (result.lengths.tolist(), result.full_lengths.tolist()) == ([1, 1000, 1], [1, 1_000_000, 1])


@on_clock
async def test_empty_texts_are_bounded_by_number() -> None:
    desk = Desk()
    assert len(rows(await desk.ask([""] * 10_000))) == 10_000
    assert [len(call) for call in desk.runner.calls] == [4096, 4096, 1808]


@on_clock
async def test_as_many_calls_as_slots_and_one_short_one_while_interactive_requests_come() -> None:
    desk = Desk()
    calls = [desk.ask(texts(letter, 20_000)) for letter in "abcd"]
    await settle()
    assert desk.runner.n_running == 2
    for _ in range(2):  # a single one says nothing of the next
        desk.slices.embed_at_once(Job(["hello"], lane="interactive"))
    await asyncio.sleep(65_500 * SECONDS_PER_CHAR + 0.001)  # those that ran have ended
    n_before, desk.runner.max_running = len(desk.runner.calls), 0
    await asyncio.sleep(1)
    assert desk.runner.max_running == 1
    assert {len(call) for call in desk.runner.calls[n_before:]} == {20}
    await asyncio.sleep(1)
    assert desk.runner.max_running == 2
    assert {len(call) for call in desk.runner.calls[-2:]} == {655}
    await asyncio.gather(*calls)


@on_clock
async def test_lanes_share_8_to_4_to_1_and_keys_alike() -> None:
    desk = Desk(n_slots=1)
    asked: list[tuple[str, Lane, str]] = [("i", "interactive", ""), ("d", "default", ""), ("b", "bulk", "")]
    asked += [("e", "default", "second key")]
    calls = [desk.ask(texts(letter, 100_000), lane, key) for letter, lane, key in asked]
    await asyncio.sleep(10)
    spent: Counter[str] = Counter()
    for call in desk.runner.calls:
        spent[call[0][0]] += sum(map(len, call))
    total = spent.total()
    assert spent["i"] / total == pytest.approx(8 / 13, rel=0.1)
    assert (spent["d"] + spent["e"]) / total == pytest.approx(4 / 13, rel=0.1)
    assert spent["d"] == pytest.approx(spent["e"], rel=0.1)
    assert spent["b"] / total == pytest.approx(1 / 13, rel=0.15)
    for call in calls:
        call.cancel()
    await asyncio.gather(*calls, return_exceptions=True)


@on_clock
async def test_jobs_of_one_key_end_one_after_the_other() -> None:
    desk = Desk(n_slots=1)
    first, second = desk.ask(texts("a", 5000)), desk.ask(texts("b", 5000))
    await first
    assert not second.done()
    assert desk.runner.calls[-1][0][0] in "ab"
    assert [call[0][0] for call in desk.runner.calls].count("a") == 8
    await second


@on_clock
async def test_who_leaves_gives_the_turn_on() -> None:
    desk = Desk(n_slots=1)
    calls = [desk.ask(texts(letter, 5000)) for letter in "abcd"]
    await asyncio.sleep(0.1)
    for call in calls[:3]:
        call.cancel()
    assert len(rows(await calls[3])) == 5000
    assert "b" not in {call[0][0] for call in desk.runner.calls}
    assert desk.slices.n_queued_items == 0


@on_clock
async def test_what_fails_is_for_others_to_sort_out_and_disturbs_nobody() -> None:
    desk = Desk()
    desk.runner.fails = lambda inputs: InferenceFailed("no") if any("!" in str(i) for i in inputs) else None
    calls = [desk.ask(["a" * 200, "!"]), desk.ask(["b" * 200])]
    assert await calls[0] is None
    assert rows(await calls[1]) == [[200, ord("b")]]
    assert desk.slices.embed_at_once(Job(["!"])) is None


@on_clock
async def test_a_text_too_long_is_named_as_the_job_counts_it() -> None:
    desk = Desk()
    with pytest.raises(InputTooLong, match="input 900 has 2000 tokens"):
        await desk.ask([*texts("a", 900), "b" * 2000], truncate=False)


@on_clock
async def test_closing_ends_what_waits_and_what_comes() -> None:
    desk = Desk(n_slots=1)
    calls = [desk.ask(texts(letter, 2000)) for letter in "ab"]
    await settle()
    desk.slices.close()
    for call in (*calls, desk.ask(["late" * 50])):
        with pytest.raises(RunnerLost):
            await call


@pytest.mark.parametrize("seed", range(20))
def test_every_job_ends_whatever_comes(seed: int) -> None:
    @on_clock
    async def run() -> None:
        random_ = random.Random(seed)
        desk = Desk(random_.choice([1, 2, 3]))
        calls: list[Asked] = []
        for _ in range(200):
            lane: Lane = random_.choice(["interactive", "default", "bulk"])
            batch = texts(random_.choice("abc"), random_.randint(1, 2000))
            calls.append(desk.ask(batch, lane, random_.choice(["", "x", "y"])))
            await asyncio.sleep(random_.choice([0, 0, 0.01, 3]))
            if random_.random() < 0.2:
                random_.choice(calls).cancel()
        found = await asyncio.gather(*calls, return_exceptions=True)
        for result, call in zip(found, calls, strict=True):
            assert call.cancelled() or isinstance(result, JobResult)
        assert desk.runner.n_running == desk.slices.n_queued_items == 0
        assert desk.runner.max_running <= 3

    run()
