"""A model in a process of its own: own memory, own threads, and a death that takes nobody along.

One task, `_supervise`, owns the child from spawn to reaping. When the child is gone it ends every op that
still waits with one RunnerCrashed. Everything here runs in the event loop's thread, so no state needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from typing import NamedTuple, TypeVar, cast

from turbov2.errors import InvalidRequest, LoadFailed, RunnerCrashed
from turbov2.runners import frames
from turbov2.runners.channels import Ends, Stderr, open_channels
from turbov2.types import EmbedBatch, EmbedOutput, Loaded, LoadSpec

log = logging.getLogger("turbov2.runners.process")
T = TypeVar("T")

# Variables a child never sees: it serves nobody but us and fetches nothing.
SECRET_PREFIXES = ("EMBEDDINGS_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN")

_LINGER_S = 1.0  # between two signs of the child's end: hang-up, signal, exit code, last output
_KILL_WAIT_S = 10.0  # SIGKILL waits only for a driver; then we go on without having reaped
_READ_AHEAD_BYTES = 1 << 20


class _Owed(NamedTuple):
    """An op the child has to answer. Cancelled ones stay, future done, until the child let go of them."""

    expects: type
    answer: asyncio.Future[object]


class ProcessRunner:
    """Implements Runner with a child process. Starts once: after its end, build a new one.

    environment: variables set in the child on top of ours, e.g. OMP_NUM_THREADS.
    start_timeout_s: from spawn to the child's first frame. load_timeout_s: from there until it is loaded.
    op_timeout_s: computing time of one op. The clock starts anew with every answer, so time spent waiting
    behind other ops is not counted. When it runs out the child is hung, and is killed.
    on_exit: called once, in the loop, with the reason, when a loaded child ends and nobody called `stop`.
    """

    def __init__(
        self,
        environment: Mapping[str, str] | None = None,
        executable: str = sys.executable,
        *,
        start_timeout_s: float = 60.0,
        load_timeout_s: float = 600.0,
        op_timeout_s: float = 120.0,
        on_exit: Callable[[str], None] | None = None,
    ) -> None:
        self._environment = dict(environment or {})
        self._executable = executable
        self._start_timeout_s = start_timeout_s
        self._load_timeout_s = load_timeout_s
        self._op_timeout_s = op_timeout_s
        self._on_exit = on_exit
        self._model = ""
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._was_loaded = False
        self._is_stopping = False
        self._end_reason = ""  # set once nothing may be asked any more: killed, stopped or dead
        self._owed: dict[int, _Owed] = {}
        self._last_op_id = frames.HELLO_ID
        self._sending = asyncio.Lock()  # one frame at a time in the transport's buffer: that bounds it
        self._progress_at = 0.0  # loop time of the last answer, or of the first op after idleness
        self._watchdog: asyncio.TimerHandle | None = None

    @property
    def is_alive(self) -> bool:
        """True from a successful `start` until `stop`, a kill, or the moment we learn of its death."""
        return self._was_loaded and not self._end_reason

    @property
    def pid(self) -> int:
        """The child's process id, 0 before `start`. After the child's end it may name another process."""
        return self._process.pid if self._process is not None else 0

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what the child loaded. After an error, or a cancel, there is no child.

        Raises: what the backend's factory raises; LoadFailed past `load_timeout_s`; RunnerCrashed.
        """
        if self._model or self._is_stopping:
            raise RuntimeError("a ProcessRunner starts once. This is a bug.")
        self._model = spec.model
        try:
            await self._spawn()
            loaded = await self._load(spec)
            self._require_open()  # `stop` may have come meanwhile
        except BaseException as error:
            # Someone who cancels a start wants no entry in the log; everybody else does.
            self._is_stopping |= isinstance(error, asyncio.CancelledError)
            self._kill("was ended, because its start failed")
            await self._wait_for_end(_KILL_WAIT_S)
            raise
        self._was_loaded = True
        return loaded

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the backend's output. Cancelling drops the op, unless the child is already computing it.

        Raises: what the backend raises; InvalidRequest for a batch no frame can hold; RunnerCrashed.
        """
        self._require_open()
        op_id = self._next_op_id()
        try:
            message, arrays = frames.pack_batch(op_id, batch)
            parts = frames.encode(message, *arrays)
        except frames.FrameError as error:
            limit = frames.MAX_BUFFER_BYTES
            raise InvalidRequest(f"the batch passes {limit} bytes; send fewer inputs at once") from error
        return await self._ask(op_id, parts, EmbedOutput, is_timed=True)

    async def stop(self, grace_s: float) -> None:
        """Afterwards the child is gone and reaped. What it finishes within `grace_s` is still answered."""
        self._is_stopping = True
        if not self._end_reason:
            self._end_reason = "was stopped"
            self._write(frames.Stop())
        if self._supervisor is None or self._supervisor.done():
            return
        try:
            await self._wait_for_end(max(grace_s, 0))
            self._signal(signal.SIGTERM)
            await self._wait_for_end(_LINGER_S)
        finally:  # also when whoever stops us is cancelled
            self._signal(signal.SIGKILL)
        await self._wait_for_end(_KILL_WAIT_S)
        if not self._supervisor.done():
            log.error("process %d of model '%s' does not end on SIGKILL", self.pid, self._model)

    # --- start, step by step

    async def _spawn(self) -> None:
        """Afterwards the child runs, has said hello, and `_supervise` owns it."""
        hello = self._owe(frames.HELLO_ID, frames.Hello)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._create_child()
                greeting = cast(frames.Hello, await hello)
        except TimeoutError as error:
            within = f"{self._start_timeout_s:g} s"
            raise RunnerCrashed(f"the process for model '{self._model}' did not start in {within}") from error
        if greeting.version != frames.PROTOCOL_VERSION:
            raise RunnerCrashed(
                f"the process for model '{self._model}' speaks version {greeting.version} of our protocol, "
                f"not {frames.PROTOCOL_VERSION}; install the same TurboV2 in both environments"
            )

    async def _create_child(self) -> None:
        with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
            try:
                ours, theirs = open_channels()
                on_error.callback(ours.close)
                always.callback(theirs.close)
                self._process = await asyncio.create_subprocess_exec(
                    *self._command(theirs),
                    stdin=asyncio.subprocess.DEVNULL,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=theirs.stderr,
                    pass_fds=(theirs.requests.fileno(), theirs.answers.fileno()),
                    env=self._child_environment(),
                )
            except OSError as error:
                log.error("cannot run %s: %s", self._executable, error)
                message = f"no process could be started for model '{self._model}'"
                raise RunnerCrashed(message) from error
            on_error.pop_all()
        self._supervisor = asyncio.create_task(
            self._supervise(self._process, ours), name=f"runner of {self._model}"
        )

    def _command(self, ends: Ends) -> list[str]:
        # -P: the folder the server was started in is no place to import from.
        command = [self._executable, "-P", "-m", "turbov2.runners.worker"]
        command += ["--requests", str(ends.requests.fileno())]
        command += ["--answers", str(ends.answers.fileno())]
        return [*command, "--parent", str(os.getpid())]

    def _child_environment(self) -> dict[str, str]:
        inherited = {k: v for k, v in os.environ.items() if not k.startswith(SECRET_PREFIXES)}
        return inherited | self._environment

    async def _load(self, spec: LoadSpec) -> Loaded:
        op_id = self._next_op_id()
        parts = frames.encode(frames.Load(op_id, spec))
        try:
            async with asyncio.timeout(self._load_timeout_s):
                reply = await self._ask(op_id, parts, frames.LoadedReply, is_timed=False)
        except TimeoutError as error:
            within = f"{self._load_timeout_s:g} s"
            raise LoadFailed(f"model '{spec.model}' did not load in {within}") from error
        return reply.loaded

    # --- ops

    def _next_op_id(self) -> int:
        self._last_op_id += 1
        return self._last_op_id

    def _owe(self, op_id: int, expects: type) -> asyncio.Future[object]:
        loop = asyncio.get_running_loop()
        if not self._owed:
            self._progress_at = loop.time()
        answer: asyncio.Future[object] = loop.create_future()
        answer.add_done_callback(_mark_retrieved)
        self._owed[op_id] = _Owed(expects, answer)
        return answer

    async def _ask(
        self, op_id: int, parts: list[bytes | memoryview], expects: type[T], *, is_timed: bool
    ) -> T:
        """Sends the frame and returns its answer. Raises: the answer's error, or RunnerCrashed."""
        writer = cast(asyncio.StreamWriter, self._writer)
        try:
            async with self._sending:
                self._require_open()
                answer = self._owe(op_id, expects)
                if is_timed and self._watchdog is None:
                    self._check_progress()
                frames.write_parts(writer, parts)
                with contextlib.suppress(OSError):  # the child is gone: `answer` will say so
                    await writer.drain()
            return cast(T, await answer)
        except asyncio.CancelledError:
            self._abandon(op_id)
            raise

    def _abandon(self, op_id: int) -> None:
        if (owed := self._owed.get(op_id)) is not None and not self._end_reason:
            owed.answer.cancel()
            self._write(frames.Cancel(op_id))

    def _write(self, message: frames.Message) -> None:
        """Hands over a small frame without waiting; one to a dead child is lost, as it should be."""
        if self._writer is not None and not self._writer.is_closing():
            frames.write_parts(self._writer, frames.encode(message))

    def _require_open(self) -> None:
        if self._end_reason:
            raise self._crashed()
        if self._writer is None:
            raise RuntimeError("a ProcessRunner must be started first. This is a bug.")

    def _crashed(self) -> RunnerCrashed:
        what = f"the process that ran model '{self._model}' {self._end_reason}"
        return RunnerCrashed(f"{what}; the next request starts it again", retry_after_s=1)

    def _settle(self, frame: frames.Frame) -> None:
        """Ends the op this frame answers. Raises: FrameError when it answers none; the op stays open then."""
        message = frame.message
        if isinstance(message, frames.Load | frames.Embed | frames.Cancel | frames.Stop):
            raise frames.FrameError(f"a child does not send {type(message).__name__}")
        owed = self._owed.get(message.op_id)
        if owed is None:
            raise frames.FrameError(f"answer to op {message.op_id}, which is not open")
        if isinstance(message, frames.Failure) or owed.answer.done():
            result: object = message
        else:
            result = frames.unpack_output(frame) if isinstance(message, frames.EmbedReply) else message
            if not isinstance(result, owed.expects):
                raise frames.FrameError(f"{type(message).__name__} came instead of {owed.expects.__name__}")
        del self._owed[message.op_id]
        self._progress_at = asyncio.get_running_loop().time()
        if owed.answer.done():  # cancelled: nobody waits
            return
        if isinstance(message, frames.Failure):
            owed.answer.set_exception(frames.error_of(message))
        else:
            owed.answer.set_result(result)

    def _check_progress(self) -> None:
        """Ends a child that is silent for too long, else looks again when that could be so."""
        self._watchdog = None
        if not self._owed or self._end_reason:
            return
        loop = asyncio.get_running_loop()
        left_s = self._progress_at + self._op_timeout_s - loop.time()
        if left_s > 0:
            self._watchdog = loop.call_later(left_s, self._check_progress)
        else:
            self._kill(f"gave no answer for {self._op_timeout_s:g} s and was ended")

    # --- the child's life and end

    async def _supervise(self, process: asyncio.subprocess.Process, ours: Ends) -> None:
        """Reads what the child says until it is gone, reaps it and closes everything."""
        loop = asyncio.get_running_loop()
        _, self._writer = await asyncio.open_unix_connection(sock=ours.requests)
        reader, hangs_up = await asyncio.open_unix_connection(sock=ours.answers, limit=_READ_AHEAD_BYTES)
        pipe, output = await loop.connect_read_pipe(lambda: Stderr(self._model), ours.stderr)
        answers = asyncio.create_task(self._read_answers(reader))
        exited = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({answers, exited}, return_when=asyncio.FIRST_COMPLETED)
            await asyncio.wait({exited}, timeout=_LINGER_S)
            self._kill("closed its connection and was ended")
            await exited
            # What it sent before its end still counts; a grandchild may hold both channels open, though.
            await asyncio.wait({answers, output.closed}, timeout=_LINGER_S)
        finally:
            self._kill("was ended with the event loop")
            for channel in (pipe, hangs_up, self._writer):
                channel.close()
            for task in (answers, exited):
                task.cancel()
            self._ended(process.returncode, output.tail)
        await asyncio.gather(answers, exited, return_exceptions=True)

    async def _read_answers(self, reader: asyncio.StreamReader) -> None:
        """Settles ops until the stream ends; a child that breaks the protocol is killed."""
        try:
            while True:
                self._settle(await frames.read_frame(reader))
        except (EOFError, OSError):
            return
        except Exception:  # FrameError or a bug of ours: answers can no longer be told apart
            log.exception("cannot read the answers of model '%s'", self._model)
            self._kill("sent a malformed answer and was ended")

    def _ended(self, returncode: int | None, tail: deque[str]) -> None:
        """Ends what still waits, logs the end and tells whoever asked to know."""
        self._end_reason = self._end_reason or _exit_words(returncode)
        if self._watchdog is not None:
            self._watchdog.cancel()
        for owed in self._owed.values():
            if not owed.answer.done():
                owed.answer.set_exception(self._crashed())
        self._owed.clear()
        if self._is_stopping:
            log.debug("process %d of model '%s' %s", self.pid, self._model, self._end_reason)
            return
        said = "".join(f"\n  {line}" for line in tail)
        log.error(
            "process %d of model '%s' %s; it last said:%s",
            self.pid,
            self._model,
            self._end_reason,
            said,
        )
        if self._was_loaded and self._on_exit is not None:
            try:
                self._on_exit(self._end_reason)
            except Exception:
                log.exception("on_exit of model '%s' failed", self._model)

    def _kill(self, reason: str) -> None:
        """Cuts the child off, unless it already ended by itself."""
        if self._process is None or self._process.returncode is None:
            self._end_reason = self._end_reason or reason
            self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        if self._process is not None and self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._process.send_signal(number)

    async def _wait_for_end(self, timeout_s: float) -> None:
        if self._supervisor is not None:
            await asyncio.wait({self._supervisor}, timeout=timeout_s)


def _exit_words(returncode: int | None) -> str:
    if returncode is None:
        return "was given up"
    return f"ended (signal {-returncode})" if returncode < 0 else f"ended (exit code {returncode})"


def _mark_retrieved(answer: asyncio.Future[object]) -> None:
    """Keeps asyncio from logging errors of ops whose caller was cancelled in the same moment."""
    if not answer.cancelled():
        answer.exception()
