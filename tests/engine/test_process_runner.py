"""A model in a child process answers as the same model inline, and starts and stops cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from turbov2.backends.fake import FakeBackend
from turbov2.errors import (
    InferenceFailed,
    InputTooLong,
    InvalidRequest,
    LoadFailed,
    RequestError,
    RunnerCrashed,
)
from turbov2.runners import frames
from turbov2.runners.process import ProcessRunner
from turbov2.runners.worker import Inbox
from turbov2.types import EmbedBatch, EmbedOutput, LoadSpec

pytestmark = pytest.mark.timeout(60)


def spec_of(max_tokens: int | None = None, **options: Any) -> LoadSpec:
    return LoadSpec("fake", "fake", {}, "r1", max_tokens=max_tokens, options=options)


def is_reaped(pid: int) -> bool:
    return not Path(f"/proc/{pid}").exists()


def environment_of(pid: int) -> list[bytes]:
    return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")


async def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the kernel's facts set no event
            await asyncio.sleep(0.005)


async def sent(runner: ProcessRunner, *inputs: str) -> asyncio.Task[EmbedOutput]:
    """Returns the op once its frame is on the way: `embed` writes before it first waits."""
    task = asyncio.create_task(runner.embed(EmbedBatch(list(inputs))))
    await asyncio.sleep(0)
    return task


def assert_same(got: EmbedOutput, wanted: EmbedOutput) -> None:
    np.testing.assert_array_equal(got.vectors, wanted.vectors)
    np.testing.assert_array_equal(got.n_tokens, wanted.n_tokens)
    np.testing.assert_array_equal(got.truncated, wanted.truncated)
    assert got.vectors.dtype == np.float32


@pytest_asyncio.fixture
async def runner() -> AsyncIterator[ProcessRunner]:
    """A child with a model of 4 tokens that misbehaves when told to."""
    runner = ProcessRunner(op_timeout_s=30)
    await runner.start(spec_of(4, fail_on="FAIL", crash_on="CRASH", nan_on="NAN"))
    yield runner
    await runner.stop(5)


BATCHES = {
    "texts": EmbedBatch(["a b", "", "a b", "über 模型 🙂", "one two three four five"]),
    "ids": EmbedBatch([[1, 2], [], [31_999], [5, 6, 7, 8, 9]]),
    "nothing": EmbedBatch([]),
    "nan": EmbedBatch(["NAN", "b"]),
}


@pytest.mark.parametrize("batch", BATCHES.values(), ids=BATCHES.keys())
async def test_results_equal_the_inline_backend(runner: ProcessRunner, batch: EmbedBatch) -> None:
    assert_same(await runner.embed(batch), FakeBackend(spec_of(4, nan_on="NAN")).embed(batch))


async def test_start_tells_what_was_loaded() -> None:
    runner = ProcessRunner()
    was_alive = runner.is_alive
    loaded = await runner.start(spec_of(12, dimensions=3))
    assert (was_alive, runner.is_alive) == (False, True)
    assert loaded == FakeBackend(spec_of(12, dimensions=3)).loaded
    assert runner.pid not in (0, os.getpid())
    await runner.stop(5)


@pytest.mark.parametrize(
    ("batch", "error", "says"),
    [
        (
            EmbedBatch(["a", "1 2 3 4 5"], truncate=False),
            InputTooLong,
            "input 1 has 5 tokens.*reads 4",
        ),
        (EmbedBatch([[1], [1, 2, 3, 4, 5]], truncate=False), InputTooLong, "input 1 has 5 tokens"),
        (EmbedBatch([[32_000]]), RequestError, "32000.*31999"),
        (EmbedBatch([[2**40]]), InvalidRequest, str(2**40)),
        (EmbedBatch(["ok", "please FAIL"]), InferenceFailed, "told to fail"),
    ],
)
async def test_errors_cross(
    runner: ProcessRunner, batch: EmbedBatch, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        await runner.embed(batch)
    assert len((await runner.embed(EmbedBatch(["still", "here"]))).vectors) == 2


async def test_fifty_ops_at_once_get_their_own_answers(runner: ProcessRunner) -> None:
    batches = [EmbedBatch([f"op {i}", f"text {j}"]) for i, j in enumerate(range(50, 100))]
    inline = FakeBackend(spec_of(4))
    for got, batch in zip(await asyncio.gather(*map(runner.embed, batches)), batches, strict=True):
        assert_same(got, inline.embed(batch))


async def test_twenty_megabytes_of_text_pass_both_ways_at_once() -> None:
    spec = spec_of(dimensions=65_536)
    batch = EmbedBatch([f"{i} " + "x" * 100_000 for i in range(100)])
    runner = ProcessRunner()
    await runner.start(spec)
    wanted = FakeBackend(spec).embed(batch)
    for got in await asyncio.gather(runner.embed(batch), runner.embed(batch)):
        assert_same(got, wanted)
    await runner.stop(5)


async def test_a_batch_no_frame_can_hold_is_refused_and_harms_nobody(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_BUFFER_BYTES", 1000)
    with pytest.raises(InvalidRequest, match="passes 1000 bytes"):
        await runner.embed(EmbedBatch(["x" * 2000]))
    await runner.embed(EmbedBatch(["fits"]))


async def test_cancelling_drops_an_op_that_still_waits() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.2, crash_on="CRASH"))
    first = await sent(runner, "first")
    doomed = await sent(runner, "CRASH")  # ends the child if it is ever computed
    last = await sent(runner, "last")
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed
    assert_same(await first, FakeBackend(spec_of()).embed(EmbedBatch(["first"])))
    assert_same(await last, FakeBackend(spec_of()).embed(EmbedBatch(["last"])))
    assert runner.is_alive
    await runner.stop(5)


async def test_the_late_answer_of_a_cancelled_op_is_nobodys() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.1))
    running = await sent(runner, "running")
    running.cancel()
    after = await runner.embed(EmbedBatch(["after"]))
    assert_same(after, FakeBackend(spec_of()).embed(EmbedBatch(["after"])))
    await runner.stop(5)


def test_the_inbox_turns_a_queued_embed_into_its_cancel() -> None:
    inbox = Inbox()
    for op_id in (1, 2):
        inbox.put(frames.Frame(frames.Embed(op_id, "texts", truncate=True), (np.zeros(9, np.uint8),)))
    inbox.put(frames.Frame(frames.Cancel(2)))
    inbox.put(frames.Frame(frames.Cancel(7)))  # unknown: ran already
    inbox.put(frames.Frame(frames.Stop()))
    assert isinstance(inbox.get().message, frames.Embed)
    assert inbox.get() == frames.Frame(frames.Cancel(2))
    assert inbox.get() == frames.Frame(frames.Stop())


async def test_waiting_behind_other_ops_is_not_hanging() -> None:
    runner = ProcessRunner(op_timeout_s=1.0)
    await runner.start(spec_of(delay_s=0.1))
    await asyncio.gather(*(runner.embed(EmbedBatch([str(i)])) for i in range(14)))
    await runner.stop(5)


async def test_stop_lets_running_work_finish_within_its_grace() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.1))
    ops = [await sent(runner, "one"), await sent(runner, "two")]
    await runner.stop(10)
    assert [len((await op).vectors) for op in ops] == [1, 1]


async def test_stop_is_idempotent_and_final() -> None:
    runner = ProcessRunner()
    await runner.stop(1)
    runner = ProcessRunner()
    await runner.start(spec_of())
    pid = runner.pid
    await asyncio.gather(runner.stop(5), runner.stop(5))
    await runner.stop(0)
    assert not runner.is_alive
    assert is_reaped(pid)
    with pytest.raises(RunnerCrashed, match="was stopped"):
        await runner.embed(EmbedBatch(["a"]))
    with pytest.raises(RuntimeError, match="once"):
        await runner.start(spec_of())


async def test_secrets_stay_with_the_parent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("EMBEDDINGS_API_KEY", "s3cret-1")
    monkeypatch.setenv("EMBEDDINGS_API_KEYS_FILE", "s3cret-2")
    monkeypatch.setenv("TURBO_TEST_PLAIN", "inherited")
    runner = ProcessRunner(environment={"OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "passive"})
    await runner.start(spec_of())
    variables = environment_of(runner.pid)
    await runner.stop(5)
    assert not any(b"s3cret" in variable for variable in variables)
    assert {b"TURBO_TEST_PLAIN=inherited", b"OMP_NUM_THREADS=1", b"OMP_WAIT_POLICY=passive"} <= {*variables}


async def test_the_child_leaves_ctrl_c_to_the_parent(runner: ProcessRunner) -> None:
    os.kill(runner.pid, signal.SIGINT)
    await runner.embed(EmbedBatch(["a"]))


async def test_twenty_lives_leave_nothing_behind() -> None:
    async def live() -> int:
        runner = ProcessRunner()
        await runner.start(spec_of())
        await runner.embed(EmbedBatch(["a"]))
        await runner.stop(5)
        return runner.pid

    await live()  # what the loop opens once for all
    n_fds, n_tasks = len(os.listdir("/proc/self/fd")), len(asyncio.all_tasks())
    pids = [await live() for _ in range(20)]
    assert len(os.listdir("/proc/self/fd")) == n_fds
    assert len(asyncio.all_tasks()) == n_tasks
    assert all(map(is_reaped, pids))


def test_it_runs_under_uvloop() -> None:
    uvloop = pytest.importorskip("uvloop", reason="needs uvloop")

    async def live() -> None:
        ended = asyncio.Event()
        runner = ProcessRunner(on_exit=lambda _: ended.set())
        await runner.start(spec_of(crash_on="CRASH"))
        batch = EmbedBatch(["x" * 100_000] * 20)
        assert_same(await runner.embed(batch), FakeBackend(spec_of()).embed(batch))
        with pytest.raises(RunnerCrashed, match="signal 9"):
            await runner.embed(EmbedBatch(["CRASH"]))
        await asyncio.wait_for(ended.wait(), 5)
        await runner.stop(5)

    uvloop.run(live())


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"dimension": 8}, "no option 'dimension'"),
        ({"dimensions": 0}, "option 'dimensions'"),
        ({"delay_s": "long"}, "option 'delay_s'"),
        ({"load_fails": True}, "told not to load"),
    ],
)
async def test_a_model_that_does_not_load(options: dict[str, Any], says: str) -> None:
    runner = ProcessRunner()
    with pytest.raises(LoadFailed, match=says):
        await runner.start(spec_of(**options))
    assert not runner.is_alive
    assert is_reaped(runner.pid)
    await runner.stop(1)


async def test_cancelling_a_start_ends_the_child() -> None:
    runner = ProcessRunner()
    start = asyncio.create_task(runner.start(spec_of(load_delay_s=50)))
    await until(lambda: runner.pid != 0)
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert is_reaped(runner.pid)


async def test_stop_during_a_start_wins() -> None:
    runner = ProcessRunner()
    start = asyncio.create_task(runner.start(spec_of(load_delay_s=50)))
    await until(lambda: runner.pid != 0)
    await runner.stop(0)
    with pytest.raises(RunnerCrashed, match="was stopped"):
        await start
    assert is_reaped(runner.pid)
