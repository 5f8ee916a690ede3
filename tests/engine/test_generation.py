"""Runners that write: pieces as they come, cancels, deaths, and readers that take their time."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from tests.support.words import Words
from turbov2.errors import InferenceFailed, InvalidRequest, NotCapable, RunnerCrashed
from turbov2.runners.process import ProcessRunner
from turbov2.runners.thread import ThreadRunner
from turbov2.types import (
    Finish,
    GenerateTask,
    ImagePart,
    LoadSpec,
    PromptMessage,
    Sampling,
    TextPart,
    Written,
)

pytestmark = [pytest.mark.timeout(60), pytest.mark.asyncio(loop_scope="module")]

Runner = ProcessRunner | ThreadRunner
WORD_S = 0.02
LONG = " ".join(f"w{number}" for number in range(2_000))


def spec_of(**options: Any) -> LoadSpec:
    return LoadSpec("fake", "fake", {}, "r1", options={"is_writer": True, **options})


def ask(text: str, **sampling: Any) -> GenerateTask:
    return GenerateTask((PromptMessage("user", (TextPart(text),)),), Sampling(**sampling))


@pytest_asyncio.fixture(params=["process", "thread"], scope="module", loop_scope="module")
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[Runner]:
    runner: Runner = ProcessRunner(op_timeout_s=30) if request.param == "process" else ThreadRunner()
    await runner.start(spec_of(delay_s_per_token=WORD_S, fail_on="FAIL"))
    yield runner
    await runner.stop(5)


class Pieces(Words):
    """What was written, and an event for its first word."""

    def __init__(self) -> None:
        super().__init__()
        self.began = asyncio.Event()

    def take(self, written: Written) -> None:
        super().take(written)
        if self:
            self.began.set()


async def write(runner: Runner, task: GenerateTask, *images: Any) -> tuple[list[str], Finish]:
    pieces = Pieces()
    finish = await runner.generate(task, images, pieces.take)
    await asyncio.sleep(0)
    pieces.check(finish)
    return pieces, finish


async def test_pieces_come_one_by_one_and_then_the_end(runner: Runner) -> None:
    pieces, finish = await write(runner, ask("über 模型 🙂"))
    assert pieces == ["über", " 模型", " 🙂"]
    assert finish == Finish("stop", 3, 3)


async def test_they_come_while_the_rest_is_written(runner: Runner) -> None:
    at_s: list[float] = []
    await runner.generate(ask("a b c d e"), (), lambda _: at_s.append(time.perf_counter()))
    assert at_s[-1] - at_s[0] > 3 * WORD_S


async def test_messages_and_images_arrive_as_they_are(runner: Runner) -> None:
    images = [np.zeros((3, 5, 3), np.uint8), np.zeros((7, 2, 3), np.uint8)]
    parts = (TextPart("of"), ImagePart(1), TextPart("and"), ImagePart(0))
    task = GenerateTask((PromptMessage("system", (TextPart("be brief"),)), PromptMessage("user", parts)))
    pieces, finish = await write(runner, task, *images)
    assert "".join(pieces) == "be brief of 2x7 and 5x3"
    assert finish.n_tiles == 2


async def test_a_limit_and_a_stop_end_it(runner: Runner) -> None:
    assert await write(runner, ask("a b c", max_tokens=2)) == (["a", " b"], Finish("length", 3, 2))
    assert await write(runner, ask("a END c", stop=("END",))) == (
        ["a"],
        Finish("stop", 3, 1, stopped_by="END"),
    )


async def test_a_failure_comes_after_the_pieces_before_it(runner: Runner) -> None:
    pieces = Pieces()
    with pytest.raises(InferenceFailed):
        await runner.generate(ask("a FAIL c"), (), pieces.take)
    assert pieces == ["a"]
    assert (await write(runner, ask("b")))[0] == ["b"]


async def test_a_cancel_ends_it_within_one_token(runner: Runner) -> None:
    pieces = Pieces()
    task = asyncio.create_task(runner.generate(ask(LONG, max_tokens=2_000), (), pieces.take))
    await pieces.began.wait()
    task.cancel()
    began_s, n_pieces = time.perf_counter(), len(pieces)
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.perf_counter() - began_s < 0.2
    assert len(pieces) == n_pieces
    assert (await write(runner, ask("b")))[0] == ["b"]  # the same runner, at once
    assert runner.is_alive


async def test_two_at_once_do_not_mix(runner: Runner) -> None:
    first, second = await asyncio.gather(write(runner, ask("a b c")), write(runner, ask("d e f")))
    assert ("".join(first[0]), "".join(second[0])) == ("a b c", "d e f")


async def test_tokens_are_counted_beside_an_answer_that_is_written(runner: Runner) -> None:
    pieces = Pieces()
    writing = asyncio.create_task(runner.generate(ask(LONG, max_tokens=2_000), (), pieces.take))
    await pieces.began.wait()
    image = np.zeros((3, 5, 3), np.uint8)
    shown = GenerateTask((PromptMessage("user", (TextPart("a b"), ImagePart(0))),))
    assert await asyncio.wait_for(runner.count(shown, [image]), 5) == 3
    assert not writing.done()
    writing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await writing


async def test_a_waiting_one_is_dropped(runner: Runner) -> None:
    running = asyncio.create_task(write(runner, ask("a b c d")))
    waiting = asyncio.create_task(write(runner, ask("e")))
    await asyncio.sleep(WORD_S)
    waiting.cancel()
    assert "".join((await running)[0]) == "a b c d"
    with pytest.raises(asyncio.CancelledError):
        await waiting


async def test_a_model_that_writes_does_nothing_else_and_no_other_writes() -> None:
    writer, other = ThreadRunner(), ThreadRunner()
    await writer.start(spec_of())
    await other.start(LoadSpec("fake", "fake", {}, "r1"))
    with pytest.raises(NotCapable):
        await writer.tokenize(["a"])
    with pytest.raises(NotCapable):
        await other.generate(ask("a"), (), lambda _: None)
    with pytest.raises(NotCapable):
        await other.count(ask("a"), ())
    await writer.stop(1)
    await other.stop(1)


class TestInAProcess:
    async def test_a_death_midway_ends_it_with_what_had_come(self) -> None:
        runner = ProcessRunner()
        await runner.start(spec_of(crash_on="CRASH"))
        pieces = Pieces()
        with pytest.raises(RunnerCrashed, match="signal 9"):
            await runner.generate(ask("a b CRASH c"), (), pieces.take)
        assert pieces == ["a", " b"]
        await runner.stop(1)

    async def test_a_long_prompt_that_gives_no_word_yet_is_no_silence(self) -> None:
        """Each word takes longer than half the time an op may be silent."""
        runner = ProcessRunner(op_timeout_s=1.0)
        await runner.start(spec_of(delay_s_per_token=0.6))
        assert (await write(runner, ask("a b c d")))[1].reason == "stop"
        await runner.stop(1)

    async def test_one_that_does_not_heed_a_cancel_is_ended(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr("turbov2.runners.dialogue._STOP_GRACE_S", 0.2)
        runner = ProcessRunner()
        await runner.start(spec_of(hang_on="HANG"))
        pieces = Pieces()
        task = asyncio.create_task(runner.generate(ask("a HANG"), (), pieces.take))
        await pieces.began.wait()
        await asyncio.sleep(0.1)  # it hangs by now
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not runner.is_alive
        await runner.stop(1)

    async def test_a_prompt_beyond_the_headers_limit(self) -> None:
        runner = ProcessRunner()
        await runner.start(spec_of())
        pieces, finish = await write(runner, ask("x " * (1 << 20), max_tokens=1))
        assert (pieces, finish.n_prompt_tokens) == (["x"], 1 << 20)
        with pytest.raises(InvalidRequest, match="surrogate"):
            await write(runner, ask("\ud800"))
        await runner.stop(1)
