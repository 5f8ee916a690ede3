"""A model in a process of its own: own memory, own threads, and a death that takes nobody along.

One task, `_supervise`, owns the child from spawn to reaping. When the child is gone it ends every op that
still waits with one RunnerCrashed. Everything here runs in the event loop's thread, so no state needs a lock.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, TypeVar, cast

from turbov2.errors import InvalidRequest, LoadFailed, RunnerCrashed
from turbov2.runners import arrays, child, frames
from turbov2.runners import messages as say
from turbov2.runners.channels import Ends, Stderr
from turbov2.runners.owed import Owed, Thread
from turbov2.types import Inputs, Loaded, LoadSpec, TokenBatch

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

log = logging.getLogger("turbov2.runners.process")
T = TypeVar("T")

_LINGER_S = 1.0  # between two signs of the child's end: hang-up, exit code, last output
_KILL_WAIT_S = 10.0  # SIGKILL waits only for a driver; then we go on without having reaped
_READ_AHEAD_BYTES = 1 << 20
_N_BEATS = 5  # within the shorter of the timeouts that they watch


class ProcessRunner:
    """Implements Runner with a child process. Starts once: after its end, build a new one.

    environment: variables set in the child on top of ours, e.g. OMP_NUM_THREADS.
    start_timeout_s: from spawn to the child's first frame. load_timeout_s: from there until it is loaded.
    op_timeout_s: computing time of one op. The clock starts anew with every answer, so time spent waiting
    behind other ops is not counted. When it runs out the child is hung, and is killed.
    heartbeat_timeout_s: a loaded child that shows no sign of life for so long, busy or idle, is killed: it
    was stopped, or a library keeps the interpreter's lock.
    cancel_grace_s: a child that still computes so long after its op was cancelled is killed if nobody waits
    for anything else of it: a forward cannot be interrupted in any other way.
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
        heartbeat_timeout_s: float = 10.0,
        cancel_grace_s: float = 0.2,
        on_exit: Callable[[str], None] | None = None,
    ) -> None:
        self._environment = dict(environment or {})
        self._executable = executable
        self._start_timeout_s = start_timeout_s
        self._load_timeout_s = load_timeout_s
        self._op_timeout_s = op_timeout_s
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._cancel_grace_s = cancel_grace_s
        self._on_exit = on_exit
        self._model = ""
        self._process: asyncio.subprocess.Process | None = None
        self._writer: asyncio.StreamWriter | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._was_loaded = False
        self._is_stopping = False
        self._end_reason = ""  # set once nothing may be asked any more: killed, stopped or dead
        self._owed = Owed()
        self._sending = asyncio.Lock()  # one frame at a time in the transport's buffer: that bounds it
        self._beat_s = min(op_timeout_s, heartbeat_timeout_s) / _N_BEATS
        self._next_beat: asyncio.TimerHandle | None = None
        self._n_unheard = 0  # pings since the child's last frame
        self._n_oom_kills = 0  # of the whole machine, before the child's start

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
        self._beat()
        return loaded

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the backend's tokens; the child has a thread for them beside the computing one.

        Raises: what the backend raises; InvalidRequest for inputs no frame can hold; RunnerCrashed.
        """
        op_id = self._owed.new_id()
        kind, buffers = arrays.pack_inputs(inputs)
        read = partial(arrays.unpack_tokens, n_rows=len(inputs))
        return await self._ask(say.Tokenize(op_id, kind), read, *buffers, thread="tokens")

    async def embed(self, tokens: TokenBatch, *, is_precise: bool = False) -> FloatMatrix:
        """Returns the backend's vectors. Cancelling drops the op; see `cancel_grace_s` for one that runs.

        Raises: what the backend raises; InvalidRequest for a batch no frame can hold; RunnerCrashed.
        """
        op_id = self._owed.new_id()
        read = partial(arrays.unpack_vectors, n_rows=len(tokens.lengths))
        try:
            return await self._ask(say.Embed(op_id, is_precise), read, *arrays.pack_tokens(tokens))
        except asyncio.CancelledError:
            asyncio.get_running_loop().call_later(self._cancel_grace_s, self._end_if_lonely, op_id)
            raise

    async def free_caches(self) -> None:
        """Afterwards the system has the memory that the child kept for reuse."""
        await self._ask(say.FreeCaches(self._owed.new_id()), partial(frames.message_of, kind=say.Done))

    async def stop(self, grace_s: float) -> None:
        """Afterwards the child is gone and reaped. What it finishes within `grace_s` is still answered."""
        self._is_stopping = True
        if not self._end_reason:
            self._end_reason = "was stopped"
            self._write(say.Stop())
        if self._supervisor is None or self._supervisor.done():
            return
        try:
            await self._wait_for_end(max(grace_s, 0))
        finally:  # also when whoever stops us is cancelled
            self._kill("was stopped")
        await self._wait_for_end(_KILL_WAIT_S)
        if not self._supervisor.done():
            log.error("process %d of model '%s' does not end on SIGKILL", self.pid, self._model)

    # --- start, step by step

    async def _spawn(self) -> None:
        """Afterwards the child runs, has said hello, and `_supervise` owns it."""
        hello = self._owed.open(self._owed.new_id(), "compute", partial(frames.message_of, kind=say.Hello))
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._create_child()
                greeting = cast(say.Hello, await hello)
        except TimeoutError as error:
            within = f"{self._start_timeout_s:g} s"
            raise RunnerCrashed(f"the process for model '{self._model}' did not start in {within}") from error
        if greeting.version != say.PROTOCOL_VERSION:
            raise RunnerCrashed(
                f"the process for model '{self._model}' speaks version {greeting.version} of our protocol, "
                f"not {say.PROTOCOL_VERSION}; install the same TurboV2 in both environments"
            )

    async def _create_child(self) -> None:
        self._n_oom_kills = child.n_oom_kills()
        try:
            self._process, ours = await child.spawn(self._executable, self._environment)
        except OSError as error:
            log.error("cannot run %s: %s", self._executable, error)
            raise RunnerCrashed(f"no process could be started for model '{self._model}'") from error
        self._supervisor = asyncio.create_task(
            self._supervise(self._process, ours), name=f"runner of {self._model}"
        )

    async def _load(self, spec: LoadSpec) -> Loaded:
        read = partial(frames.message_of, kind=say.LoadedReply)
        try:
            async with asyncio.timeout(self._load_timeout_s):
                reply = await self._ask(say.Load(self._owed.new_id(), spec), read)
        except TimeoutError as error:
            within = f"{self._load_timeout_s:g} s"
            raise LoadFailed(f"model '{spec.model}' did not load in {within}") from error
        return reply.loaded

    # --- ops

    async def _ask(
        self,
        op: say.Op,
        read: Callable[[frames.Frame], T],
        *buffers: frames.Array,
        thread: Thread = "compute",
    ) -> T:
        """Sends the op and returns what `read` makes of its answer. Raises: its error, or RunnerCrashed."""
        writer = self._require_open()
        try:
            parts = frames.encode(op, *buffers)
        except frames.FrameError as error:
            limit = frames.MAX_BUFFER_BYTES
            raise InvalidRequest(f"the inputs pass {limit} bytes; send fewer at once") from error
        try:
            async with self._sending:
                self._require_open()
                answer = self._owed.open(op.op_id, thread, read)
                frames.write_parts(writer, parts)
                with contextlib.suppress(OSError):  # the child is gone: `answer` will say so
                    await writer.drain()
            return cast(T, await answer)
        except asyncio.CancelledError:
            if self._owed.abandon(op.op_id):
                self._write(say.Cancel(op.op_id))
            raise

    def _write(self, message: say.Message) -> None:
        """Hands over a small frame without waiting; one to a dead child is lost, as it should be."""
        if self._writer is not None and not self._writer.is_closing():
            frames.write_parts(self._writer, frames.encode(message))

    def _require_open(self) -> asyncio.StreamWriter:
        if self._end_reason:
            raise self._crashed()
        if self._writer is None:
            raise RuntimeError("a ProcessRunner must be started first. This is a bug.")
        return self._writer

    def _crashed(self) -> RunnerCrashed:
        what = f"the process that ran model '{self._model}' {self._end_reason}"
        return RunnerCrashed(f"{what}; the next request starts it again", retry_after_s=1)

    # --- watching a loaded child

    def _beat(self) -> None:
        """Ends a child that is silent for too long, else asks it for a sign of life and comes again.

        Pings are counted, not seconds: a loop that was held up itself must not blame the child for it.
        """
        if self._end_reason:
            return
        if self._n_unheard * self._beat_s >= self._heartbeat_timeout_s:
            self._kill("stopped answering and was ended")
        elif self._owed.silent_s() >= self._op_timeout_s:
            self._kill(f"gave no answer for {self._op_timeout_s:g} s and was ended")
        else:
            self._n_unheard += 1
            self._write(say.Ping())
            self._next_beat = asyncio.get_running_loop().call_later(self._beat_s, self._beat)

    def _end_if_lonely(self, op_id: int) -> None:
        """Ends a child that computes this op and nothing that anybody waits for; else looks again later."""
        if self._end_reason or not self._owed.is_open(op_id):
            return
        if self._owed.is_anyone_waiting():
            asyncio.get_running_loop().call_later(self._cancel_grace_s, self._end_if_lonely, op_id)
        else:
            self._kill("was ended, because nobody waits for what it computes")

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
            child.end_group(process.pid)
            # What it sent before its end still counts; what left its group may hold both channels open.
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
                frame = await frames.read_frame(reader)
                self._n_unheard = 0
                if isinstance(frame.message, say.Pong):
                    self._owed.note_steps(frame.message.n_steps)
                else:
                    self._owed.settle(frame)
        except (EOFError, OSError):
            return
        except Exception:  # FrameError or a bug of ours: answers can no longer be told apart
            log.exception("cannot read the answers of model '%s'", self._model)
            self._kill("sent a malformed answer and was ended")

    def _ended(self, returncode: int | None, tail: deque[str]) -> None:
        """Ends what still waits, logs the end and tells whoever asked to know."""
        has_oom_killed = child.n_oom_kills() > self._n_oom_kills
        self._end_reason = self._end_reason or child.exit_words(returncode, has_oom_killed=has_oom_killed)
        if self._next_beat is not None:
            self._next_beat.cancel()
        self._owed.fail_all(self._crashed)
        if self._is_stopping:
            log.debug("process %d of model '%s' %s", self.pid, self._model, self._end_reason)
            return
        said = "".join(f"\n  {line}" for line in tail)
        log.error(
            "process %d of model '%s' %s; it last said:%s", self.pid, self._model, self._end_reason, said
        )
        if self._was_loaded and self._on_exit is not None:
            try:
                self._on_exit(self._end_reason)
            except Exception:
                log.exception("on_exit of model '%s' failed", self._model)

    def _kill(self, reason: str) -> None:
        """Cuts the child and all it started off, unless it already ended by itself."""
        if self._process is None:
            self._end_reason = self._end_reason or reason
        elif self._process.returncode is None:
            self._end_reason = self._end_reason or reason
            child.end_group(self._process.pid)

    async def _wait_for_end(self, timeout_s: float) -> None:
        if self._supervisor is not None:
            await asyncio.wait({self._supervisor}, timeout=timeout_s)
