"""A model in a process of its own: own memory, own threads, and a death that takes nobody along.

One task, `_supervise`, owns the child from spawn to reaping. When the child is gone it ends every op that
still waits with one RunnerCrashed. Everything here runs in the event loop's thread, so no state needs a lock.
"""

from __future__ import annotations

import asyncio
import logging
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, cast

from turbov2.errors import LoadFailed, RunnerCrashed
from turbov2.runners import arrays, child, frames
from turbov2.runners import messages as say
from turbov2.runners.channels import Ends, Stderr
from turbov2.runners.dialogue import Dialogue
from turbov2.types import (
    DENSE,
    EmbedTask,
    Finish,
    GenerateTask,
    Heard,
    ImageTask,
    Inputs,
    Loaded,
    LoadSpec,
    Outputs,
    Seen,
    SpeechTask,
    TokenBatch,
    Written,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples
    from turbov2.types.images import Pixels

log = logging.getLogger("turbov2.runners.process")

_LINGER_S = 1.0  # between two signs of the child's end: hang-up, exit code, last output
_KILL_WAIT_S = 10.0  # SIGKILL waits only for a driver; then we go on without having reaped
_READ_AHEAD_BYTES = 1 << 20


class ProcessRunner:
    """Implements Runner with a child process. Starts once: after its end, build a new one.

    environment: variables set in the child on top of ours, e.g. OMP_NUM_THREADS.
    start_timeout_s: from spawn to the child's first frame. load_timeout_s: from there until it is loaded.
    op_timeout_s: computing time of one op. The clock starts anew with every answer, so time spent waiting
    behind other ops is not counted. When it runs out the child is hung, and is killed.
    heartbeat_timeout_s: a loaded child that shows no sign of life for so long, busy or idle, is killed: it
    was stopped, or a library keeps the interpreter's lock.
    cancel_grace_s: a child that still computes so long after its op was cancelled is killed if nobody waits
    for anything else of it: a forward, or a step of a window, cannot be interrupted in any other way.
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
        cancel_grace_s: float = 0.15,
        on_exit: Callable[[str], None] | None = None,
    ) -> None:
        self._environment = dict(environment or {})
        self._executable = executable
        self._start_timeout_s = start_timeout_s
        self._load_timeout_s = load_timeout_s
        self._on_exit = on_exit
        self._process: asyncio.subprocess.Process | None = None
        self._supervisor: asyncio.Task[None] | None = None
        self._was_loaded = False
        self._is_stopping = False
        self._n_oom_kills = 0  # of the whole machine, before the child's start
        self._dialogue = Dialogue(
            self._kill,
            op_timeout_s=op_timeout_s,
            heartbeat_timeout_s=heartbeat_timeout_s,
            cancel_grace_s=cancel_grace_s,
        )

    @property
    def is_alive(self) -> bool:
        """True from a successful `start` until `stop`, a kill, or the moment we learn of its death."""
        return self._was_loaded and not self._dialogue.end_reason

    @property
    def end_reason(self) -> str:
        """How the child came to its end; empty while it lives."""
        return self._dialogue.end_reason

    @property
    def was_abandoned(self) -> bool:
        """True once the child was ended because nobody waited for what it computed."""
        return self._dialogue.was_abandoned

    @property
    def pid(self) -> int:
        """The child's process id, 0 before `start`. After the child's end it may name another process."""
        return self._process.pid if self._process is not None else 0

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what the child loaded. After an error, or a cancel, there is no child.

        Raises: what the backend's factory raises; LoadFailed past `load_timeout_s`; RunnerCrashed.
        """
        if self._dialogue.model or self._is_stopping:
            raise RuntimeError("a ProcessRunner starts once. This is a bug.")
        self._dialogue.model = spec.model
        try:
            await self._spawn()
            loaded = await self._load(spec)
            self._dialogue.require_open()  # `stop` may have come meanwhile
        except BaseException as error:
            # Someone who cancels a start wants no entry in the log; everybody else does.
            self._is_stopping |= isinstance(error, asyncio.CancelledError)
            self._kill("was ended, because its start failed")
            await self._wait_for_end(_KILL_WAIT_S)
            raise
        self._was_loaded = True
        self._dialogue.watch()
        return loaded

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the backend's tokens; the child has a thread for them beside the computing one.

        Raises: what the backend raises; InvalidRequest for inputs no frame can hold; RunnerCrashed.
        """
        kind, buffers = arrays.pack_inputs(inputs)
        read = partial(arrays.unpack_tokens, n_rows=len(inputs))
        return await self._dialogue.ask(partial(say.Tokenize, kind=kind), read, *buffers, thread="tokens")

    async def embed(
        self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False
    ) -> Outputs:
        """Returns the backend's outputs. Cancelling drops the op; see `cancel_grace_s` for one that runs.

        Raises: what the backend raises; InvalidRequest for a batch no frame can hold; RunnerCrashed.
        """
        make = partial(say.Embed, task=task, is_precise=is_precise)
        read = partial(arrays.unpack_outputs, task=task, n_rows=len(tokens.lengths))
        return await self._dialogue.ask(make, read, *arrays.pack_tokens(tokens))

    async def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns what the backend sees. Cancelling is as for `embed`. Raises: as `embed`."""
        read = partial(frames.message_of, kind=say.SeenReply)
        n_channels, rows = arrays.pack_pixels(pixels)
        make = partial(say.Look, task=task, n_channels=n_channels)
        return (await self._dialogue.ask(make, read, rows)).seen

    async def generate(
        self, task: GenerateTask, images: Sequence[Pixels], on_piece: Callable[[Written], None]
    ) -> Finish:
        """Returns how the answer ended; see Runner. `op_timeout_s` is between two steps of the backend.

        Raises: as `embed`.
        """
        read = partial(frames.message_of, kind=say.FinishReply)
        buffers = arrays.pack_prompt(task, images)
        return (await self._dialogue.ask(say.Generate, read, *buffers, on_piece=on_piece)).finish

    async def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; see Runner. Raises: as `embed`."""
        read = partial(frames.message_of, kind=say.CountReply)
        buffers = arrays.pack_prompt(task, images)
        return (await self._dialogue.ask(say.Count, read, *buffers, thread="tokens")).n_tokens

    async def listen(self, samples: Samples, task: SpeechTask) -> Heard:
        """Returns what the backend hears; see Runner. `op_timeout_s` is between two steps of the backend.

        Raises: as `embed`.
        """
        read = partial(frames.message_of, kind=say.HeardReply)
        make = partial(say.Listen, task=task)
        return (await self._dialogue.ask(make, read, arrays.pack_samples(samples))).heard

    async def free_caches(self) -> None:
        """Afterwards the system has the memory that the child kept for reuse."""
        await self._dialogue.ask(say.FreeCaches, partial(frames.message_of, kind=say.Done))

    async def stop(self, grace_s: float) -> None:
        """Afterwards the child is gone and reaped. What it finishes within `grace_s` is still answered."""
        self._is_stopping = True
        if not self._dialogue.end_reason:
            self._dialogue.close("was stopped")
            self._dialogue.write(say.Stop())
        if self._supervisor is None or self._supervisor.done():
            return
        try:
            await self._wait_for_end(max(grace_s, 0))
        finally:  # also when whoever stops us is cancelled
            self._kill("was stopped")
        await self._wait_for_end(_KILL_WAIT_S)
        if not self._supervisor.done():
            log.error("process %d of model '%s' does not end on SIGKILL", self.pid, self._dialogue.model)

    # --- start, step by step

    async def _spawn(self) -> None:
        """Afterwards the child runs, has said hello, and `_supervise` owns it."""
        model, read = self._dialogue.model, partial(frames.message_of, kind=say.Hello)
        hello = self._dialogue.owed.open(say.HELLO_ID, "compute", read)
        try:
            async with asyncio.timeout(self._start_timeout_s):
                await self._create_child()
                greeting = cast(say.Hello, await hello)
        except TimeoutError as error:
            within = f"{self._start_timeout_s:g} s"
            raise RunnerCrashed(f"the process for model '{model}' did not start in {within}") from error
        if greeting.version != say.PROTOCOL_VERSION:
            raise RunnerCrashed(
                f"the process for model '{model}' speaks version {greeting.version} of our protocol, "
                f"not {say.PROTOCOL_VERSION}; install the same TurboV2 in both environments"
            )

    async def _create_child(self) -> None:
        self._n_oom_kills = child.n_oom_kills()
        try:
            self._process, ours = await child.spawn(
                self._executable, "turbov2.runners.worker", child.inherited(self._environment)
            )
        except OSError as error:
            log.error("cannot run %s: %s", self._executable, error)
            raise RunnerCrashed(f"no process could be started for model '{self._dialogue.model}'") from error
        self._supervisor = asyncio.create_task(
            self._supervise(self._process, ours), name=f"runner of {self._dialogue.model}"
        )

    async def _load(self, spec: LoadSpec) -> Loaded:
        read = partial(frames.message_of, kind=say.LoadedReply)
        try:
            async with asyncio.timeout(self._load_timeout_s):
                reply = await self._dialogue.ask(partial(say.Load, spec=spec), read)
        except TimeoutError as error:
            within = f"{self._load_timeout_s:g} s"
            raise LoadFailed(f"model '{spec.model}' did not load in {within}") from error
        return reply.loaded

    # --- the child's life and end

    async def _supervise(self, process: asyncio.subprocess.Process, ours: Ends) -> None:
        """Reads what the child says until it is gone, reaps it and closes everything."""
        loop = asyncio.get_running_loop()
        _, writer = await asyncio.open_unix_connection(sock=ours.requests)
        self._dialogue.connect(writer)
        reader, hangs_up = await asyncio.open_unix_connection(sock=ours.answers, limit=_READ_AHEAD_BYTES)
        pipe, output = await loop.connect_read_pipe(
            lambda: Stderr(f"model '{self._dialogue.model}'"), ours.stderr
        )
        answers = asyncio.create_task(self._dialogue.read_answers(reader))
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
            for channel in (pipe, hangs_up, writer):
                channel.close()
            for task in (answers, exited):
                task.cancel()
            self._ended(process.returncode, output.tail)
        await asyncio.gather(answers, exited, return_exceptions=True)

    def _ended(self, returncode: int | None, tail: deque[str]) -> None:
        """Ends what still waits, logs the end and tells whoever asked to know."""
        has_oom_killed = child.n_oom_kills() > self._n_oom_kills
        self._dialogue.close(child.exit_words(returncode, has_oom_killed=has_oom_killed))
        self._dialogue.owed.fail_all(self._dialogue.crashed)
        model, reason = self._dialogue.model, self._dialogue.end_reason
        if self._is_stopping:
            log.debug("process %d of model '%s' %s", self.pid, model, reason)
            return
        said = "".join(f"\n  {line}" for line in tail)
        log.error("process %d of model '%s' %s; it last said:%s", self.pid, model, reason, said)
        if self._was_loaded and self._on_exit is not None:
            try:
                self._on_exit(reason)
            except Exception:
                log.exception("on_exit of model '%s' failed", model)

    def _kill(self, reason: str) -> None:
        """Cuts the child and all it started off, unless it already ended by itself."""
        if self._process is None:
            self._dialogue.close(reason)
        elif self._process.returncode is None:
            self._dialogue.close(reason)
            child.end_group(self._process.pid)

    async def _wait_for_end(self, timeout_s: float) -> None:
        if self._supervisor is not None:
            await asyncio.wait({self._supervisor}, timeout=timeout_s)
