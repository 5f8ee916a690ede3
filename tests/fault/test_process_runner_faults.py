"""Children that die, hang, lie or talk nonsense; parents that vanish. Every op still ends exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from turbov2.backends.fake import FakeBackend
from turbov2.errors import InferenceFailed, LoadFailed, OutOfMemory, RunnerCrashed, TurboError
from turbov2.runners.process import ProcessRunner
from turbov2.types import EmbedBatch, LoadSpec

pytestmark = pytest.mark.timeout(60)


def spec_of(backend: str = "fake", **options: Any) -> LoadSpec:
    return LoadSpec("demo", backend, {}, "r1", options=options)


def batch_of(*texts: str) -> EmbedBatch:
    return EmbedBatch(list(texts))


def is_gone(pid: int) -> bool:
    """True when no such process runs; one that only waits to be reaped by init is gone too."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


async def until(condition: Callable[[], bool], deadline_s: float = 10) -> None:
    async with asyncio.timeout(deadline_s):
        while not condition():  # noqa: ASYNC110  the kernel's facts set no event
            await asyncio.sleep(0.005)


def child_script(folder: Path, body: str) -> str:
    """Returns an executable that stands in for Python; it has REQUESTS and ANSWERS, the sockets."""
    path = folder / "child"
    head = (
        f"#!{sys.executable}\n"
        "import os, socket, sys, time\n"
        "REQUESTS, ANSWERS = (\n"
        "    socket.socket(fileno=int(sys.argv[sys.argv.index(name) + 1]))\n"
        "    for name in ('--requests', '--answers')\n"
        ")\n"
    )
    path.write_text(head + textwrap.dedent(body))
    path.chmod(0o755)
    return str(path)


ODD_BACKEND = """
    import subprocess
    from turbov2.backends import registry
    from turbov2.runners import worker
    from turbov2.types import Loaded

    class Odd:
        loaded = Loaded(capabilities=("embed",), dtype="float32")

        def __init__(self, spec):
            if spec.options.get("load") == "odd":
                raise ValueError("/secret/path of the weights")

        def embed(self, batch):
            print("on stdout: /secret/print")
            match batch.inputs[0]:
                case "raise": raise ValueError("/secret/path in an op")
                case "memory": raise MemoryError
                case "exit": sys.exit(3)
                case "nothing": return None
                case "hang":
                    open(batch.inputs[1], "w").close()
                    time.sleep(1000)
                case "grandchild":
                    print(subprocess.Popen(["sleep", "50"]).pid, file=open(batch.inputs[1], "w"), flush=True)
                    os.kill(os.getpid(), 9)

        def close(self): pass

    sys.modules["odd"] = sys.modules["__main__"]
    registry.BACKENDS["odd"] = registry.BackendEntry("odd:Odd")
    REQUESTS.detach(), ANSWERS.detach()
    worker.main(sys.argv[sys.argv.index("--requests"):])
"""


# --- death


async def test_a_killed_child_fails_every_pending_op_once_and_a_new_runner_works() -> None:
    ends: list[str] = []
    runner = ProcessRunner(on_exit=ends.append)
    await runner.start(spec_of(hang_on="HANG"))
    ops = [asyncio.create_task(runner.embed(batch_of(f"HANG {i}"))) for i in range(20)]
    await asyncio.sleep(0)
    os.kill(runner.pid, signal.SIGKILL)
    errors = await asyncio.gather(*ops, return_exceptions=True)
    says = "the process that ran model 'demo' ended (signal 9); the next request starts it again"
    assert [(type(error), str(error)) for error in errors] == [(RunnerCrashed, says)] * 20
    assert len({id(error) for error in errors}) == 20
    assert ends == ["ended (signal 9)"]
    assert not runner.is_alive
    with pytest.raises(RunnerCrashed, match="signal 9"):
        await runner.embed(batch_of("late"))
    await runner.stop(5)
    assert is_gone(runner.pid)

    again = ProcessRunner()
    await again.start(spec_of())
    got = await again.embed(batch_of("a"))
    np.testing.assert_array_equal(got.vectors, FakeBackend(spec_of()).embed(batch_of("a")).vectors)
    await again.stop(5)


async def test_an_op_that_crashes_the_child_takes_its_neighbours_but_not_their_predecessors() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(crash_on="CRASH"))
    before, crash, after = await asyncio.gather(
        *map(runner.embed, [batch_of("a"), batch_of("CRASH"), batch_of("b")]),
        return_exceptions=True,
    )
    assert not isinstance(before, BaseException)
    assert isinstance(crash, RunnerCrashed)
    assert isinstance(after, RunnerCrashed)
    await runner.stop(5)


async def test_an_idle_childs_death_is_noticed() -> None:
    ended = asyncio.Event()
    runner = ProcessRunner(on_exit=lambda _: ended.set())
    await runner.start(spec_of())
    os.kill(runner.pid, signal.SIGKILL)
    await asyncio.wait_for(ended.wait(), 10)
    assert not runner.is_alive
    assert is_gone(runner.pid)


async def test_a_failing_on_exit_does_not_keep_ops_waiting(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fail(reason: str) -> None:
        raise ValueError(reason)

    runner = ProcessRunner(on_exit=fail)
    await runner.start(spec_of(crash_on="CRASH"))
    with pytest.raises(RunnerCrashed):
        await runner.embed(batch_of("CRASH"))
    await runner.stop(5)
    assert "on_exit of model 'demo' failed" in caplog.text


async def test_a_child_that_dies_while_loading() -> None:
    runner = ProcessRunner()
    start = asyncio.create_task(runner.start(spec_of(load_delay_s=50)))
    await until(lambda: runner.pid != 0)
    os.kill(runner.pid, signal.SIGKILL)
    with pytest.raises(RunnerCrashed, match="signal 9"):
        await start
    await runner.stop(1)


async def test_a_grandchild_that_holds_our_pipes_hides_nothing(tmp_path: Path) -> None:
    runner = ProcessRunner(executable=child_script(tmp_path, ODD_BACKEND))
    await runner.start(spec_of("odd"))
    pid_file = tmp_path / "pid"
    try:
        async with asyncio.timeout(10):
            with pytest.raises(RunnerCrashed, match="signal 9"):
                await runner.embed(batch_of("grandchild", str(pid_file)))
        await runner.stop(0)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


# --- hanging


async def test_a_hung_op_ends_the_child_and_whatever_waits_behind() -> None:
    ends: list[str] = []
    runner = ProcessRunner(op_timeout_s=0.5, on_exit=ends.append)
    await runner.start(spec_of(hang_on="HANG"))
    fine = await runner.embed(batch_of("fine"))
    assert len(fine.vectors) == 1
    errors = await asyncio.gather(
        runner.embed(batch_of("HANG")), runner.embed(batch_of("behind")), return_exceptions=True
    )
    assert [type(error) for error in errors] == [RunnerCrashed] * 2
    assert "gave no answer for 0.5 s and was ended" in str(errors[0])
    assert ends == ["gave no answer for 0.5 s and was ended"]
    await runner.stop(5)
    assert is_gone(runner.pid)


async def test_a_cancelled_hung_op_is_still_watched(tmp_path: Path) -> None:
    ended = asyncio.Event()
    runner = ProcessRunner(
        executable=child_script(tmp_path, ODD_BACKEND),
        op_timeout_s=0.5,
        on_exit=lambda _: ended.set(),
    )
    await runner.start(spec_of("odd"))
    started = tmp_path / "started"
    op = asyncio.create_task(runner.embed(batch_of("hang", str(started))))
    await until(started.exists)
    op.cancel()
    await asyncio.wait_for(ended.wait(), 10)
    with pytest.raises(asyncio.CancelledError):
        await op
    await runner.stop(5)


async def test_stop_cuts_a_hung_child() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(hang_on="HANG"))
    op = asyncio.create_task(runner.embed(batch_of("HANG")))
    await asyncio.sleep(0)
    await runner.stop(0.1)
    with pytest.raises(RunnerCrashed, match="was stopped"):
        await op
    assert is_gone(runner.pid)


async def test_a_load_past_its_deadline() -> None:
    runner = ProcessRunner(load_timeout_s=0.2)
    with pytest.raises(LoadFailed, match=r"did not load in 0\.2 s"):
        await runner.start(spec_of(load_delay_s=50))
    assert is_gone(runner.pid)


# --- nonsense


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("time.sleep(50)", r"did not start in 0\.5 s"),
        ("sys.exit(7)", r"ended \(exit code 7\)"),
        ("ANSWERS.close()\ntime.sleep(50)", "closed its connection"),
        ("ANSWERS.sendall(b'GET / HTTP/1.1')\ntime.sleep(50)", "malformed answer"),
        (
            "from turbov2.runners import frames\n"
            "frames.send_frame(ANSWERS, frames.Hello(99, 1))\ntime.sleep(50)",
            "speaks version 99",
        ),
        (
            "from turbov2.runners import frames\n"
            "frames.send_frame(ANSWERS, frames.Dropped(5))\ntime.sleep(50)",
            "malformed answer",
        ),
        (
            "from turbov2.runners import frames\nframes.send_frame(ANSWERS, frames.Stop())\ntime.sleep(50)",
            "malformed answer",
        ),
    ],
    ids=["mute", "exits", "hangs up", "no frame", "version", "unasked", "parent's word"],
)
async def test_a_child_that_does_not_say_hello(tmp_path: Path, body: str, says: str) -> None:
    is_mute = body == "time.sleep(50)"
    runner = ProcessRunner(executable=child_script(tmp_path, body), start_timeout_s=0.5 if is_mute else 20)
    with pytest.raises(RunnerCrashed, match=says):
        await runner.start(spec_of())
    assert not runner.is_alive
    assert is_gone(runner.pid)
    await runner.stop(1)


async def test_no_such_interpreter(caplog: pytest.LogCaptureFixture) -> None:
    runner = ProcessRunner(executable="/nowhere/python")
    n_fds = len(os.listdir("/proc/self/fd"))
    with pytest.raises(RunnerCrashed, match="no process could be started") as caught:
        await runner.start(spec_of())
    assert "/nowhere" not in str(caught.value)
    assert "/nowhere" in caplog.text
    assert len(os.listdir("/proc/self/fd")) == n_fds
    await runner.stop(1)


@pytest.mark.parametrize("answer", ["LoadedReply(op_id, loaded)", "Dropped(op_id)", "EmbedReply(op_id)"])
async def test_an_answer_that_answers_something_else(tmp_path: Path, answer: str) -> None:
    body = """
        from turbov2.runners import frames
        from turbov2.types import Loaded
        stream = REQUESTS.makefile("rb")
        loaded = Loaded(capabilities=("embed",), dtype="float32")
        frames.send_frame(ANSWERS, frames.Hello(frames.PROTOCOL_VERSION, 1))
        op_id = frames.receive_frame(stream).message.op_id
        frames.send_frame(ANSWERS, frames.LoadedReply(op_id, loaded))
        op_id = frames.receive_frame(stream).message.op_id
        frames.send_frame(ANSWERS, frames.ANSWER)
        time.sleep(50)
    """
    runner = ProcessRunner(executable=child_script(tmp_path, body.replace("ANSWER)", f"{answer})")))
    await runner.start(spec_of())
    with pytest.raises(RunnerCrashed, match="malformed answer"):
        await runner.embed(batch_of("a"))
    await runner.stop(1)


# --- foreign exceptions


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("raise", InferenceFailed, "failed on this input; the server's log says why"),
        ("nothing", RunnerCrashed, r"ended \(exit code 1\)"),
        ("memory", OutOfMemory, "ran out of memory on this input"),
        ("exit", RunnerCrashed, r"ended \(exit code 3\)"),
    ],
)
async def test_foreign_exceptions_of_an_op_stay_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, error: type[TurboError], says: str
) -> None:
    caplog.set_level(logging.INFO, "turbov2.runners.process")
    runner = ProcessRunner(executable=child_script(tmp_path, ODD_BACKEND))
    await runner.start(spec_of("odd"))
    with pytest.raises(error, match=says) as caught:
        await runner.embed(batch_of(text))
    assert "secret" not in str(caught.value)
    await runner.stop(5)
    if text == "raise":
        assert "ValueError: /secret/path in an op" in caplog.text
    assert "on stdout: /secret/print" in caplog.text


async def test_foreign_exceptions_of_a_load_stay_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    runner = ProcessRunner(executable=child_script(tmp_path, ODD_BACKEND))
    with pytest.raises(LoadFailed, match="'demo' could not be loaded; the server's log") as caught:
        await runner.start(spec_of("odd", load="odd"))
    assert "secret" not in str(caught.value)
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "ValueError: /secret/path of the weights" in record.getMessage()


async def test_a_model_too_large_for_memory() -> None:
    runner = ProcessRunner()
    with pytest.raises(OutOfMemory):
        await runner.start(spec_of(host_bytes=1 << 60))
    await runner.stop(1)


async def test_a_flood_on_stderr_is_bounded(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    body = "for i in range(200): print(i, 'x' * 100_000, file=sys.stderr)\nsys.exit(1)"
    runner = ProcessRunner(executable=child_script(tmp_path, body))
    with pytest.raises(RunnerCrashed, match="exit code 1"):
        await runner.start(spec_of())
    (record,) = (record for record in caplog.records if record.levelno == logging.ERROR)
    assert "199 xxx" in record.getMessage()
    assert len(record.getMessage()) < 40 * 600


# --- the parent dies

PARENT = """
import asyncio, sys
from turbov2.runners.process import ProcessRunner
from turbov2.types import EmbedBatch, LoadSpec

async def main():
    runner = ProcessRunner()
    options = {"hang_on": "HANG"} | ({"load_delay_s": 50} if sys.argv[1] == "loading" else {})
    start = asyncio.create_task(runner.start(LoadSpec("demo", "fake", {}, "r1", options=options)))
    while runner.pid == 0:
        await asyncio.sleep(0.001)
    if sys.argv[1] != "loading":
        await start
    if sys.argv[1] == "computing":
        op = asyncio.create_task(runner.embed(EmbedBatch(["HANG"])))
        await asyncio.sleep(0)
    print(runner.pid, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


@pytest.mark.parametrize("doing", ["idle", "computing", "loading"])
async def test_the_child_dies_with_a_killed_parent(doing: str) -> None:
    parent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", PARENT, doing, stdout=asyncio.subprocess.PIPE
    )
    assert parent.stdout is not None
    try:
        child = int(await asyncio.wait_for(parent.stdout.readline(), 20))
        assert not is_gone(child)
    finally:
        with contextlib.suppress(ProcessLookupError):
            parent.kill()
        await parent.wait()
    await until(lambda: is_gone(child))
