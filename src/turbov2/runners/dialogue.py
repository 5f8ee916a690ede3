"""Ops asked of a child and their answers, and the watch over a child that owes some."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import TypeVar, cast

from turbov2.errors import InvalidRequest, RunnerCrashed
from turbov2.runners import frames
from turbov2.runners import messages as say
from turbov2.runners.owed import Owed, Thread
from turbov2.types import Written

log = logging.getLogger("turbov2.runners.process")
T = TypeVar("T")

# For a cancelled generation, whose backend looks for that at least once a token.
_STOP_GRACE_S = 5.0
_N_BEATS = 5  # within the shorter of the two timeouts that they watch


class Dialogue:
    """Asks one child, over `connect`ed streams, until `close`; `kill` is called with why it has to end.

    op_timeout_s: computing time of one op; time spent waiting behind other ops is not counted.
    heartbeat_timeout_s: between two signs of life of a watched child, busy or idle.
    cancel_grace_s: for an op that runs on though nobody waits for it, nor for anything else of the child.
    """

    def __init__(
        self,
        kill: Callable[[str], None],
        *,
        op_timeout_s: float,
        heartbeat_timeout_s: float,
        cancel_grace_s: float,
    ) -> None:
        self.model = ""  # for messages; known from the start on
        self.owed = Owed()
        self.end_reason = ""  # set once nothing may be asked any more
        self.was_abandoned = False
        self._kill = kill
        self._op_timeout_s = op_timeout_s
        self._heartbeat_timeout_s = heartbeat_timeout_s
        self._cancel_grace_s = cancel_grace_s
        self._writer: asyncio.StreamWriter | None = None
        self._sending = asyncio.Lock()  # one frame at a time in the transport's buffer: that bounds it
        self._beat_s = min(op_timeout_s, heartbeat_timeout_s) / _N_BEATS
        self._n_unheard = 0  # pings since the child's last frame

    def connect(self, writer: asyncio.StreamWriter) -> None:
        """Afterwards ops leave by `writer`."""
        self._writer = writer

    def close(self, reason: str) -> None:
        """Afterwards nothing more is asked, for this reason; an earlier one stays."""
        self.end_reason = self.end_reason or reason

    async def ask(
        self,
        make_op: Callable[[int], say.Op],
        read: Callable[[frames.Frame], T],
        *buffers: frames.Array,
        thread: Thread = "compute",
        on_piece: Callable[[Written], None] | None = None,
    ) -> T:
        """Sends what `make_op` makes of a fresh id, and returns what `read` makes of the answer.

        `on_piece` is called meanwhile with each piece of an answer that comes bit by bit; it must not raise.
        Cancelled, a forward, a generation or a window lasts until the child has let go of it, or was ended.
        Raises: the answer's error; InvalidRequest for what no frame can hold; RunnerCrashed.
        """
        writer = self.require_open()
        op = make_op(self.owed.new_id())
        parts = _encode(op, *buffers)
        try:
            async with self._sending:
                self.require_open()
                answer = self.owed.open(op.op_id, thread, read, on_piece)
                if not writer.is_closing():  # else the child is gone: `answer` will say so
                    frames.write_parts(writer, parts)
                    with contextlib.suppress(OSError):
                        await writer.drain()
            return cast(T, await answer)
        except asyncio.CancelledError:
            self._abandon(op)
            if isinstance(
                op, say.Embed | say.Generate | say.Listen
            ):  # only then is the child free for the next
                await self.owed.closed(op.op_id)
            raise

    def write(self, message: say.Message) -> None:
        """Hands over a small frame without waiting; one to a dead child is lost, as it should be."""
        if self._writer is not None and not self._writer.is_closing():
            frames.write_parts(self._writer, frames.encode(message))

    def require_open(self) -> asyncio.StreamWriter:
        """Returns the writer. Raises: RunnerCrashed, saying why nothing may be asked any more."""
        if self.end_reason:
            raise self.crashed()
        if self._writer is None:
            raise RuntimeError("a ProcessRunner must be started first. This is a bug.")
        return self._writer

    def crashed(self) -> RunnerCrashed:
        """Returns the error of an op that the child's end leaves unanswered."""
        what = f"the process that ran model '{self.model}' {self.end_reason}"
        return RunnerCrashed(f"{what}; the next request starts it again", retry_after_s=1)

    async def read_answers(self, reader: asyncio.StreamReader) -> None:
        """Settles ops until the stream ends; a child that breaks the protocol is killed."""
        try:
            while True:
                frame = await frames.read_frame(reader)
                self._n_unheard = 0
                if isinstance(frame.message, say.Pong):
                    self.owed.note_steps(frame.message.n_steps)
                elif isinstance(frame.message, say.Piece):
                    self.owed.take_piece(frame.message)
                else:
                    self.owed.settle(frame)
        except (EOFError, OSError):
            return
        except Exception:  # FrameError or a bug of ours: answers can no longer be told apart
            log.exception("cannot read the answers of model '%s'", self.model)
            self._kill("sent a malformed answer and was ended")

    def watch(self) -> None:
        """From here on a child that is silent for too long is killed.

        Pings are counted, not seconds: a loop that was held up itself must not blame the child for it.
        """
        if self.end_reason:
            return
        if self._n_unheard * self._beat_s >= self._heartbeat_timeout_s:
            self._kill("stopped answering and was ended")
        elif self.owed.silent_s() >= self._op_timeout_s:
            self._kill(f"gave no answer for {self._op_timeout_s:g} s and was ended")
        else:
            self._n_unheard += 1
            self.write(say.Ping())
            asyncio.get_running_loop().call_later(self._beat_s, self.watch)

    def _abandon(self, op: say.Op) -> None:
        if self.owed.abandon(op.op_id) and not self.end_reason:
            self.write(say.Cancel(op.op_id))
            if isinstance(
                op, say.Embed | say.Listen
            ):  # everything else is short, or has a deadline of its own
                self._end_if_lonely_later(op.op_id, self._cancel_grace_s)
            elif isinstance(op, say.Generate):  # it stops by itself
                self._end_if_lonely_later(op.op_id, max(_STOP_GRACE_S, self._cancel_grace_s))

    def _end_if_lonely_later(self, op_id: int, grace_s: float) -> None:
        asyncio.get_running_loop().call_later(grace_s, self._end_if_lonely, op_id, grace_s)

    def _end_if_lonely(self, op_id: int, grace_s: float) -> None:
        """Ends a child that computes this op and owes nobody another; else looks again later."""
        if self.end_reason or not self.owed.is_open(op_id):
            return
        if self.owed.is_anyone_waiting("compute"):
            self._end_if_lonely_later(op_id, grace_s)
        else:
            self.was_abandoned = True
            self._kill("was ended, because nobody waits for what it computes")


def _encode(op: say.Op, *buffers: frames.Array) -> list[bytes | memoryview]:
    try:
        return frames.encode(op, *buffers)
    except frames.FrameError as error:
        limit = frames.MAX_BUFFER_BYTES
        raise InvalidRequest(f"the inputs pass {limit} bytes; send fewer at once") from error
