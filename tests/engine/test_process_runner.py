"""A model in a child process answers as the same model inline, and starts and stops cleanly."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from turbov2.backends.fake import FakeBackend
from turbov2.errors import InferenceFailed, InvalidRequest, LoadFailed, RunnerCrashed
from turbov2.runners import arrays, frames, messages, worker
from turbov2.runners.process import ProcessRunner
from turbov2.runners.worker import Inbox
from turbov2.types import (
    DENSE,
    Finish,
    GenerateTask,
    Inputs,
    LoadSpec,
    PromptMessage,
    Sampling,
    TextPart,
    TokenBatch,
)

Output = tuple[TokenBatch, np.ndarray[Any, np.dtype[np.float32]]]

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


async def embed(runner: ProcessRunner, inputs: Inputs) -> Output:
    tokens = await runner.tokenize(inputs)
    return tokens, (await runner.embed(tokens)).dense


def inline(inputs: Inputs, max_tokens: int | None = None, **options: Any) -> Output:
    backend = FakeBackend(spec_of(max_tokens, **options))
    tokens = backend.tokenize(inputs)
    return tokens, backend.embed(tokens).dense


async def sent(runner: ProcessRunner, *inputs: str, **options: Any) -> asyncio.Task[Any]:
    """Returns the forward once its frame is on the way: `embed` writes before it first waits."""
    tokens = FakeBackend(spec_of(**options)).tokenize(inputs)
    task = asyncio.create_task(runner.embed(tokens))
    await asyncio.sleep(0)
    return task


def assert_same(got: Output, wanted: Output) -> None:
    for name in ("ids", "lengths", "full_lengths"):
        np.testing.assert_array_equal(getattr(got[0], name), getattr(wanted[0], name))
        assert getattr(got[0], name).dtype == np.int32
    np.testing.assert_array_equal(got[1], wanted[1])
    assert got[1].dtype == np.float32


@pytest_asyncio.fixture
async def runner() -> AsyncIterator[ProcessRunner]:
    """A child with a model of 4 tokens that misbehaves when told to."""
    runner = ProcessRunner(op_timeout_s=30)
    await runner.start(spec_of(4, fail_on="FAIL", crash_on="CRASH", nan_on="NAN"))
    yield runner
    await runner.stop(5)


INPUTS: dict[str, Inputs] = {
    "texts": ["a b", "", "a b", "über 模型 🙂", "one two three four five"],
    "ids": [[1, 2], [], [31_999], [5, 6, 7, 8, 9]],
    "nothing": [],
    "nan": ["NAN", "b"],
}


@pytest.mark.parametrize("inputs", INPUTS.values(), ids=INPUTS.keys())
async def test_results_equal_the_inline_backend(runner: ProcessRunner, inputs: Inputs) -> None:
    assert_same(await embed(runner, inputs), inline(inputs, 4, nan_on="NAN"))


async def test_a_precise_forward_is_asked_for() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(nan_on="NAN", nan_heals=True))
    tokens, vectors = await embed(runner, ["NAN", "b"])
    precise = (await runner.embed(tokens, is_precise=True)).dense
    assert [np.isnan(each).any(axis=1).tolist() for each in (vectors, precise)] == [
        [True, False],
        [False] * 2,
    ]
    await runner.stop(5)


async def test_start_tells_what_was_loaded() -> None:
    runner = ProcessRunner()
    was_alive = runner.is_alive
    loaded = await runner.start(spec_of(12, dimensions=3))
    assert (was_alive, runner.is_alive) == (False, True)
    assert loaded == FakeBackend(spec_of(12, dimensions=3)).loaded
    assert runner.pid not in (0, os.getpid())
    await runner.stop(5)


@pytest.mark.parametrize(
    ("inputs", "error", "says"),
    [
        ([[1], [32_000]], InvalidRequest, "input 1 has token id 32000.*31999"),
        ([[2**40]], InvalidRequest, str(2**40)),
        (["\ud800"], InvalidRequest, "surrogate"),
        (["ok", "please FAIL"], InferenceFailed, "told to fail"),
    ],
)
async def test_errors_cross(runner: ProcessRunner, inputs: Inputs, error: type[Exception], says: str) -> None:
    with pytest.raises(error, match=says) as caught:
        await embed(runner, inputs)
    assert getattr(caught.value, "param", None) == ("input" if error is InvalidRequest else None)
    assert len((await embed(runner, ["still", "here"]))[1]) == 2


async def test_fifty_ops_at_once_get_their_own_answers(runner: ProcessRunner) -> None:
    batches = [[f"op {i}", f"text {j}"] for i, j in enumerate(range(50, 100))]
    answers = await asyncio.gather(*(embed(runner, batch) for batch in batches))
    for got, batch in zip(answers, batches, strict=True):
        assert_same(got, inline(batch, 4))


async def test_twenty_megabytes_pass_both_ways_at_once() -> None:
    options = {"dimensions": 65_536}
    texts = [f"{i} " + "x" * 100_000 for i in range(100)]
    runner = ProcessRunner()
    await runner.start(spec_of(**options))
    wanted = inline(texts, **options)
    for got in await asyncio.gather(embed(runner, texts), embed(runner, texts)):
        assert_same(got, wanted)
    await runner.stop(5)


async def test_a_batch_no_frame_can_hold_is_refused_and_harms_nobody(
    runner: ProcessRunner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(frames, "MAX_BUFFER_BYTES", 1000)
    with pytest.raises(InvalidRequest, match="pass 1000 bytes"):
        await runner.tokenize(["x" * 2000])
    await embed(runner, ["fits"])


async def test_caches_are_freed_and_come_back(runner: ProcessRunner) -> None:
    await runner.free_caches()
    assert_same(await embed(runner, ["a b"]), inline(["a b"]))


async def test_tokenizing_does_not_wait_for_a_forward() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.5))
    forward = await sent(runner, "slow")
    for n_words in (1, 2, 3):
        assert (await runner.tokenize(["word " * n_words])).lengths.tolist() == [n_words]
    assert not forward.done()
    assert len((await forward).dense) == 1
    await runner.stop(5)


async def test_cancelling_drops_an_op_that_still_waits() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.2, crash_on="CRASH"))
    first = await sent(runner, "first")
    doomed = await sent(runner, "CRASH", crash_on="CRASH")  # ends the child if it is ever computed
    last = await sent(runner, "last")
    doomed.cancel()
    with pytest.raises(asyncio.CancelledError):
        await doomed
    np.testing.assert_array_equal((await first).dense, inline(["first"])[1])
    np.testing.assert_array_equal((await last).dense, inline(["last"])[1])
    assert runner.is_alive
    await runner.stop(5)


async def test_the_late_answer_of_a_cancelled_op_is_nobodys() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.1))
    running = await sent(runner, "running")
    running.cancel()
    assert_same(await embed(runner, ["after"]), inline(["after"]))
    await runner.stop(5)


def test_the_inbox_drops_what_still_waits() -> None:
    inbox = Inbox()
    for op_id in (1, 2):
        inbox.put(frames.Frame(messages.Embed(op_id, DENSE, is_precise=False), (np.zeros(9, np.uint8),)))
    inbox.put(frames.Frame(messages.Stop()))
    assert inbox.drop(2)
    assert not inbox.drop(2)
    assert not inbox.drop(7)  # unknown: ran already
    assert inbox.get().message == messages.Embed(1, DENSE, is_precise=False)
    assert inbox.get() == frames.Frame(messages.Stop())


def test_an_idle_child_gives_back_what_it_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    was_given_back = threading.Event()
    monkeypatch.setattr(worker, "_IDLE_S", 0.01)
    monkeypatch.setattr(worker, "return_freed_memory", was_given_back.set)
    ours, its = socket.socketpair()
    with ours, its:
        serving = worker.Worker(worker.Answers(its))
        thread = threading.Thread(target=serving.serve)
        thread.start()
        serving.receive(frames.Frame(messages.Load(1, spec_of())))
        assert was_given_back.wait(10)
        serving.receive(frames.Frame(messages.Stop()))
        thread.join(10)
        assert not thread.is_alive()


class Silent(FakeBackend):
    """Asks nobody whether an answer is still wanted until it is told to."""

    def __init__(self, spec: LoadSpec) -> None:
        super().__init__(spec)
        self.is_writing, self.look = threading.Event(), threading.Event()

    def generate(self, task: Any, images: Any, on_written: Any, is_cancelled: Callable[[], bool]) -> Finish:
        self.is_writing.set()
        assert self.look.wait(10)
        return Finish("cancelled" if is_cancelled() else "stop", 1, 0)

    def end_cancelled(self) -> None:
        self.look.set()


def test_a_cancel_reaches_a_backend_that_waits_for_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    backend = Silent(spec_of(is_writer=True))
    monkeypatch.setattr(worker, "load_backend", lambda _: backend)
    task = GenerateTask((PromptMessage("user", (TextPart("a"),)),), Sampling(max_tokens=5))
    ours, its = socket.socketpair()
    with ours, its:
        serving = worker.Worker(worker.Answers(its))
        thread = threading.Thread(target=serving.serve)
        thread.start()
        serving.receive(frames.Frame(messages.Load(1, spec_of())))
        serving.receive(frames.Frame(messages.Generate(2), arrays.pack_prompt(task, ())))
        assert backend.is_writing.wait(10)
        serving.receive(frames.Frame(messages.Cancel(2)))
        with ours.makefile("rb") as stream:
            assert frames.receive_frame(stream).message == messages.LoadedReply(1, backend.loaded)
            assert frames.receive_frame(stream).message == messages.FinishReply(2, Finish("cancelled", 1, 0))
        serving.receive(frames.Frame(messages.Stop()))
        thread.join(10)


async def test_waiting_behind_other_ops_is_not_hanging() -> None:
    runner = ProcessRunner(op_timeout_s=1.0)
    await runner.start(spec_of(delay_s=0.1))
    await asyncio.gather(*(embed(runner, [str(i)]) for i in range(14)))
    await runner.stop(5)


async def test_stop_lets_running_work_finish_within_its_grace() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s=0.1))
    ops = [await sent(runner, "one"), await sent(runner, "two")]
    await runner.stop(10)
    assert [len((await op).dense) for op in ops] == [1, 1]


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
        await runner.tokenize(["a"])
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


async def test_the_child_leaves_its_end_to_the_parent(runner: ProcessRunner) -> None:
    os.kill(runner.pid, signal.SIGINT)
    os.kill(runner.pid, signal.SIGTERM)
    await embed(runner, ["a"])


async def test_twenty_lives_leave_nothing_behind() -> None:
    async def live() -> int:
        runner = ProcessRunner()
        await runner.start(spec_of())
        await embed(runner, ["a"])
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
        texts = ["x" * 100_000] * 20
        assert_same(await embed(runner, texts), inline(texts))
        with pytest.raises(RunnerCrashed, match="signal 9"):
            await embed(runner, ["CRASH"])
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


async def test_the_kernel_takes_a_model_before_the_server(runner: ProcessRunner) -> None:
    ours, childs = (int(Path(f"/proc/{pid}/oom_score_adj").read_text()) for pid in ("self", runner.pid))
    assert childs == min(ours + 500, 1000)


async def test_the_child_leads_a_group_of_its_own(runner: ProcessRunner) -> None:
    assert os.getpgid(runner.pid) == os.getsid(runner.pid) == runner.pid
