"""Children that die, hang, lie or talk nonsense; parents that vanish. Every op still ends exactly once."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
import signal
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from turbov2.backends.fake import TRIGGERS, FakeBackend, vectors_of
from turbov2.errors import InferenceFailed, LoadFailed, OutOfMemory, RunnerCrashed, TurboError
from turbov2.runners import child
from turbov2.runners.channels import Stderr
from turbov2.runners.process import ProcessRunner
from turbov2.types import LoadSpec, TokenBatch, VoiceTask

pytestmark = pytest.mark.timeout(60)


def spec_of(backend: str = "fake", **options: Any) -> LoadSpec:
    return LoadSpec("demo", backend, {}, "r1", options=options)


# Fakes of these tests are told that FAIL triggers `fail_on`, and so on.
HAVOC = {name: name.removesuffix("_on").upper() for name in TRIGGERS}


def batch_of(*texts: str) -> TokenBatch:
    return FakeBackend(spec_of(**HAVOC)).tokenize(texts)


async def started(
    backend: str = "fake", options: dict[str, Any] | None = None, **kwargs: Any
) -> ProcessRunner:
    runner = ProcessRunner(**kwargs)
    await runner.start(spec_of(backend, **(options or {})))
    return runner


async def sent(runner: ProcessRunner, *texts: str) -> asyncio.Task[Any]:
    """Returns the forward once its frame is on the way: `embed` writes before it first waits."""
    task = asyncio.create_task(runner.embed(batch_of(*texts)))
    await asyncio.sleep(0)
    return task


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
    import ctypes, hashlib, subprocess
    import numpy as np
    from turbov2.backends import registry
    from turbov2.backends.tokens import to_batch
    from turbov2.runners import worker
    from turbov2.types import Loaded, Outputs, SpeechNeed

    class Odd:
        loaded = Loaded(capabilities=("embed",), dtype="float32", speech=SpeechNeed(80, ("en",)))

        def __init__(self, spec):
            if spec.options.get("load") == "odd":
                raise ValueError("/secret/path of the weights")

        def tokenize(self, inputs):
            self.inputs = inputs
            if inputs[0] == "raise while tokenizing": raise ValueError("/secret/path in tokens")
            if inputs[0] == "exit while tokenizing": sys.exit(3)
            return None if inputs[0] == "no tokens" else to_batch([b""] * len(inputs), None)

        def embed(self, tokens, task, *, is_precise=False):
            print("on stdout: /secret/print")
            match self.inputs[0]:
                case "raise": raise ValueError("/secret/path in an op")
                case "memory": raise MemoryError
                case "exit": sys.exit(3)
                case "nothing": return None
                case "busy":
                    end_s = time.monotonic() + float(self.inputs[1])
                    while time.monotonic() < end_s: hashlib.sha256(bytes(10_000_000))  # frees the lock
                case "stuck":
                    ctypes.PyDLL(None).usleep(int(float(self.inputs[1]) * 1e6))  # keeps the lock
                case "hang":
                    open(self.inputs[1], "w").close()
                    time.sleep(1000)
                case "escapee":
                    escapee = subprocess.Popen(["sleep", "50"], start_new_session=True)
                    print(escapee.pid, file=open(self.inputs[1], "w"), flush=True)
                    os.kill(os.getpid(), 9)
            return Outputs(np.zeros((len(self.inputs), 1), np.float32))

        def listen(self, samples, task, is_cancelled):
            open(self.inputs[1], "w").close()
            time.sleep(1000)

        def free_caches(self): pass

        def close(self): pass

    sys.modules["odd"] = sys.modules["__main__"]
    registry.BACKENDS["odd"] = registry.BackendEntry("odd:Odd")
    REQUESTS.detach(), ANSWERS.detach()
    worker.main(sys.argv[sys.argv.index("--requests"):])
"""


# --- death


async def test_a_killed_child_fails_every_pending_op_once_and_a_new_runner_works() -> None:
    ends: list[str] = []
    runner = await started(options=HAVOC, on_exit=ends.append)
    ops = [await sent(runner, f"HANG {i}") for i in range(20)]
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

    again = await started()
    np.testing.assert_array_equal((await again.embed(batch_of("a"))).dense, vectors_of(["a"]))
    await again.stop(5)


async def test_an_op_that_crashes_the_child_takes_its_neighbours_but_not_their_predecessors() -> None:
    runner = await started()
    before, crash, after = await asyncio.gather(
        *map(runner.embed, [batch_of("a"), batch_of("CRASH"), batch_of("b")]), return_exceptions=True
    )
    assert not isinstance(before, BaseException)
    assert isinstance(crash, RunnerCrashed)
    assert isinstance(after, RunnerCrashed)
    await runner.stop(5)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("CRASH", "ended (signal 9)"), ("SEGFAULT", "ended (signal 11)"), ("EXIT", "ended (exit code 3)")],
)
async def test_whatever_ends_a_child_is_told_once(
    text: str, reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    ends: list[str] = []
    runner = await started(options=HAVOC, on_exit=ends.append)
    with pytest.raises(RunnerCrashed) as caught:
        await runner.embed(batch_of("a", f"{text} b"))
    assert reason in str(caught.value)
    await runner.stop(5)
    assert ends == [reason]
    assert ("Segmentation fault" in caplog.text) == (text == "SEGFAULT")


async def test_an_idle_childs_death_is_noticed() -> None:
    ended = asyncio.Event()
    runner = await started(on_exit=lambda _: ended.set())
    os.kill(runner.pid, signal.SIGKILL)
    await asyncio.wait_for(ended.wait(), 10)
    assert not runner.is_alive
    assert is_gone(runner.pid)


async def test_a_failing_on_exit_does_not_keep_ops_waiting(caplog: pytest.LogCaptureFixture) -> None:
    def fail(reason: str) -> None:
        raise ValueError(reason)

    runner = await started(on_exit=fail)
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


async def test_the_kernels_choice_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    counts = itertools.count()
    monkeypatch.setattr(child, "n_oom_kills", lambda: next(counts))
    ends: list[str] = []
    runner = await started(on_exit=ends.append)
    with pytest.raises(RunnerCrashed, match="was ended by the kernel, probably out of memory"):
        await runner.embed(batch_of("CRASH"))
    await runner.stop(5)
    assert ends == ["was ended by the kernel, probably out of memory"]
    assert child.exit_words(-11, has_oom_killed=True) == "ended (signal 11)"


# --- what a child leaves behind


@pytest.mark.parametrize("end", ["stop", "CRASH", "EXIT"])
async def test_what_a_child_started_ends_with_it(end: str) -> None:
    runner = await started()
    np.testing.assert_array_equal((await runner.embed(batch_of("SPAWN", "a"))).dense[1:], vectors_of(["a"]))
    (grandchild,) = psutil.Process(runner.pid).children()
    async with asyncio.timeout(5):
        if end != "stop":
            with pytest.raises(RunnerCrashed):
                await runner.embed(batch_of(end))
        await runner.stop(5)
    await until(lambda: is_gone(grandchild.pid))
    assert is_gone(runner.pid)


async def test_a_process_that_left_the_group_and_holds_our_pipes_hides_nothing(tmp_path: Path) -> None:
    runner = await started("odd", executable=child_script(tmp_path, ODD_BACKEND))
    pid_file = tmp_path / "pid"
    try:
        async with asyncio.timeout(10):
            with pytest.raises(RunnerCrashed, match="signal 9"):
                await runner.embed(await runner.tokenize(["escapee", str(pid_file)]))
        await runner.stop(0)
    finally:
        os.kill(int(pid_file.read_text()), signal.SIGKILL)


# --- hanging


async def test_a_hung_op_ends_the_child_and_whatever_waits_behind() -> None:
    ends: list[str] = []
    runner = await started(op_timeout_s=0.5, on_exit=ends.append)
    assert len((await runner.embed(batch_of("fine"))).dense) == 1
    errors = await asyncio.gather(
        runner.embed(batch_of("HANG")), runner.embed(batch_of("behind")), return_exceptions=True
    )
    assert [type(error) for error in errors] == [RunnerCrashed] * 2
    assert "gave no answer for 0.5 s and was ended" in str(errors[0])
    assert ends == ["gave no answer for 0.5 s and was ended"]
    await runner.stop(5)
    assert is_gone(runner.pid)


async def tokenize_for_ever(runner: ProcessRunner) -> None:
    while True:
        await runner.tokenize(["a b"])


async def test_tokenizing_does_not_hide_a_hung_forward() -> None:
    runner = await started(op_timeout_s=0.5)
    forward = await sent(runner, "HANG")
    with pytest.raises(RunnerCrashed, match=r"no answer for 0\.5 s"):
        await tokenize_for_ever(runner)
    with pytest.raises(RunnerCrashed):
        await forward
    await runner.stop(5)


@pytest.mark.parametrize("is_busy", [True, False], ids=["busy", "idle"])
async def test_a_stopped_child_is_found_and_ended(is_busy: bool) -> None:
    ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    runner = await started(heartbeat_timeout_s=0.5, on_exit=ended.set_result)
    if is_busy:
        with pytest.raises(RunnerCrashed, match="stopped answering and was ended"):
            await runner.embed(batch_of("STOP"))
    else:
        os.kill(runner.pid, signal.SIGSTOP)
    assert await asyncio.wait_for(ended, 5) == "stopped answering and was ended"
    assert is_gone(runner.pid)
    await runner.stop(5)


async def test_a_library_that_keeps_the_interpreters_lock_is_ended(tmp_path: Path) -> None:
    runner = await started("odd", executable=child_script(tmp_path, ODD_BACKEND), heartbeat_timeout_s=0.5)
    tokens = await runner.tokenize(["stuck", "30"])
    with pytest.raises(RunnerCrashed, match="stopped answering"):
        await runner.embed(tokens)
    await runner.stop(5)


async def test_a_long_forward_that_frees_the_lock_is_left_alone(tmp_path: Path) -> None:
    runner = await started("odd", executable=child_script(tmp_path, ODD_BACKEND), heartbeat_timeout_s=0.5)
    assert len((await runner.embed(await runner.tokenize(["busy", "1.5"]))).dense) == 2
    await runner.stop(5)


async def test_a_loop_that_was_held_up_does_not_blame_the_child() -> None:
    runner = await started(heartbeat_timeout_s=0.5)
    time.sleep(1.5)  # noqa: ASYNC251  that is the fault
    await asyncio.sleep(0.2)  # several beats
    assert len((await runner.embed(batch_of("a"))).dense) == 1
    await runner.stop(5)


@pytest.mark.parametrize("text", ["HANG", "STOP"])
async def test_stop_cuts_a_hung_child(text: str) -> None:
    runner = await started()
    op = await sent(runner, text)
    await runner.stop(0.1)
    with pytest.raises(RunnerCrashed, match="was stopped"):
        await op
    assert is_gone(runner.pid)


async def test_a_load_past_its_deadline() -> None:
    runner = ProcessRunner(load_timeout_s=0.2)
    with pytest.raises(LoadFailed, match=r"did not load in 0\.2 s"):
        await runner.start(spec_of(load_delay_s=50))
    assert is_gone(runner.pid)


# --- forwards that nobody waits for


class Hanging:
    """A runner in the midst of a call that takes for ever, and its end."""

    def __init__(self, folder: Path) -> None:
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.runner = ProcessRunner(
            executable=child_script(folder, ODD_BACKEND), on_exit=self.ended.set_result
        )
        self._started = folder / "started"

    async def start(self, kind: str = "forward") -> asyncio.Task[Any]:
        """Returns the forward, or the window of speech, once the child computes it."""
        await self.runner.start(spec_of("odd"))
        tokens = await self.runner.tokenize(["hang", str(self._started)])
        if kind == "forward":
            call: asyncio.Task[Any] = asyncio.create_task(self.runner.embed(tokens))
        else:
            silence = np.zeros(16_000, np.int16)
            call = asyncio.create_task(self.runner.listen(silence, VoiceTask(is_last=True)))
        await until(self._started.exists)
        return call


ALONE = "was ended, because nobody waits for what it computes"


@pytest.mark.parametrize("kind", ["forward", "window"])
async def test_a_child_ends_when_nobody_waits_for_what_it_computes(tmp_path: Path, kind: str) -> None:
    hanging = Hanging(tmp_path)
    call = await hanging.start(kind)
    assert not hanging.runner.was_abandoned
    started_s = time.monotonic()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert hanging.runner.was_abandoned
    assert await asyncio.wait_for(hanging.ended, 5) == ALONE
    assert 0.15 < time.monotonic() - started_s < 0.6  # 0.2 and a kill; 0.21 on an idle machine
    assert is_gone(hanging.runner.pid)
    await hanging.runner.stop(5)


async def test_a_child_lives_while_somebody_else_waits(tmp_path: Path) -> None:
    hanging = Hanging(tmp_path)
    forward = await hanging.start()
    behind = await sent(hanging.runner, "behind")
    forward.cancel()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(asyncio.shield(hanging.ended), 0.5)
    behind.cancel()
    assert await asyncio.wait_for(hanging.ended, 5) == ALONE
    await asyncio.gather(forward, behind, return_exceptions=True)
    await hanging.runner.stop(5)


async def test_a_forward_that_ends_soon_after_its_cancel_costs_nothing() -> None:
    runner = await started(options={"delay_s": 0.1})
    forward = await sent(runner, "a")
    await runner.tokenize(["by now it was read"])
    forward.cancel()
    pid = runner.pid
    assert len((await runner.embed(batch_of("b"))).dense) == 1
    await asyncio.sleep(0.3)  # past the grace
    assert runner.is_alive
    assert runner.pid == pid
    await runner.stop(5)


# --- nonsense


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ("time.sleep(50)", r"did not start in 0\.5 s"),
        ("sys.exit(7)", r"ended \(exit code 7\)"),
        ("ANSWERS.close()\ntime.sleep(50)", "closed its connection"),
        ("ANSWERS.sendall(b'GET / HTTP/1.1')\ntime.sleep(50)", "malformed answer"),
        ("ANSWERS.sendall(b'TV2\\n' + b'\\xff' * 4)\ntime.sleep(50)", "malformed answer"),
        (
            "from turbov2.runners import frames\n"
            "from turbov2.runners import messages\n"
            "frames.send_frame(ANSWERS, messages.Hello(99, 1))\ntime.sleep(50)",
            "speaks version 99",
        ),
        (
            "from turbov2.runners import frames, messages\n"
            "frames.send_frame(ANSWERS, messages.Dropped(5))\ntime.sleep(50)",
            "malformed answer",
        ),
        (
            "from turbov2.runners import frames, messages\n"
            "frames.send_frame(ANSWERS, messages.Stop())\ntime.sleep(50)",
            "malformed answer",
        ),
    ],
    ids=["mute", "exits", "hangs up", "no frame", "too long", "version", "unasked", "parent's word"],
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


@pytest.mark.parametrize(
    "answer",
    [
        "LoadedReply(op_id, loaded)",
        "Dropped(op_id)",
        "OutputsReply(op_id)",
        "OutputsReply(op_id), np.zeros((2, 8), np.float32)",
        "OutputsReply(op_id), np.zeros((1, 8), np.int32)",
        "TokensReply(op_id), *3 * [np.zeros(1, np.int32)]",
        "OutputsReply(op_id + 1), np.zeros((1, 8), np.float32)",
    ],
)
async def test_an_answer_that_answers_something_else(tmp_path: Path, answer: str) -> None:
    body = """
        import numpy as np
        from turbov2.runners import frames, messages
        from turbov2.types import Loaded, Outputs
        stream = REQUESTS.makefile("rb")
        loaded = Loaded(capabilities=("embed",), dtype="float32")
        frames.send_frame(ANSWERS, messages.Hello(messages.PROTOCOL_VERSION, 1))
        op_id = frames.receive_frame(stream).message.op_id
        frames.send_frame(ANSWERS, messages.LoadedReply(op_id, loaded))
        while not isinstance(message := frames.receive_frame(stream).message, messages.Embed): pass
        op_id = message.op_id
        frames.send_frame(ANSWERS, messages.ANSWER)
        time.sleep(50)
    """
    runner = await started(executable=child_script(tmp_path, body.replace("ANSWER)", f"{answer})")))
    with pytest.raises(RunnerCrashed, match="malformed answer"):
        await runner.embed(batch_of("a"))
    await runner.stop(1)


async def test_garbage_on_every_socket_ends_the_child_and_nothing_else() -> None:
    ends: list[str] = []
    runner = await started(on_exit=ends.append)
    with pytest.raises(RunnerCrashed, match="sent a malformed answer and was ended"):
        await runner.embed(batch_of("GARBAGE"))
    await runner.stop(5)
    assert ends == ["sent a malformed answer and was ended"]


# --- foreign exceptions


@pytest.mark.parametrize(
    ("text", "error", "says"),
    [
        ("raise", InferenceFailed, "failed on this input; the server's log says why"),
        ("raise while tokenizing", InferenceFailed, "failed on this input; the server's log says why"),
        ("nothing", RunnerCrashed, r"ended \(exit code 1\)"),
        ("no tokens", RunnerCrashed, r"ended \(exit code 70\)"),
        ("memory", OutOfMemory, "ran out of memory on this input"),
        ("exit", RunnerCrashed, r"ended \(exit code 3\)"),
        ("exit while tokenizing", RunnerCrashed, r"ended \(exit code 70\)"),
    ],
)
async def test_foreign_exceptions_of_an_op_stay_in_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, error: type[TurboError], says: str
) -> None:
    caplog.set_level(logging.INFO, "turbov2.runners.process")
    runner = await started("odd", executable=child_script(tmp_path, ODD_BACKEND))
    with pytest.raises(error, match=says) as caught:
        await runner.embed(await runner.tokenize([text]))
    assert "secret" not in str(caught.value)
    await runner.stop(5)
    if text.startswith("raise"):
        assert "ValueError: /secret/path in" in caplog.text
    assert ("on stdout: /secret/print" in caplog.text) == ("token" not in text)


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


async def test_a_flood_of_lines_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "turbov2.runners.process")
    stderr = Stderr("model 'demo'")
    for start in range(0, 100_000, 1000):
        stderr.data_received(b"".join(b"line %d\n" % i for i in range(start, start + 1000)))
    stderr.data_received(b"\r50%\r100%")
    stderr.connection_lost(None)
    assert [*stderr.tail][-3:] == ["line 99999", "50%", "100%"]
    logged = [record.getMessage() for record in caplog.records]
    says = [line for line in logged if line.startswith("model 'demo' says: ")]
    n_left_out = sum(int(line.split()[3]) for line in logged if line.endswith("lines more"))
    assert len(says) <= 100 * 10
    assert len(says) + n_left_out == 100_002


# --- the parent dies

PARENT = """
import asyncio, sys
from turbov2.runners.process import ProcessRunner
from turbov2.backends.fake import FakeBackend
from turbov2.types import LoadSpec

async def main():
    runner = ProcessRunner()
    options = {"hang_on": "HANG"} | ({"load_delay_s": 50} if sys.argv[1] == "loading" else {})
    start = asyncio.create_task(runner.start(LoadSpec("demo", "fake", {}, "r1", options=options)))
    while runner.pid == 0:
        await asyncio.sleep(0.001)
    if sys.argv[1] != "loading":
        await start
    if sys.argv[1] == "computing":
        tokens = FakeBackend(LoadSpec("demo", "fake", {}, "", options=options)).tokenize(["HANG"])
        op = asyncio.create_task(runner.embed(tokens))
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
