"""What a child still has to answer."""

from __future__ import annotations

import asyncio
import itertools
from collections import Counter
from collections.abc import Callable
from typing import Literal, NamedTuple

from turbov2.errors import TurboError
from turbov2.runners import messages as say
from turbov2.runners.frames import Frame, FrameError
from turbov2.types import Written

Thread = Literal["compute", "tokens"]  # of the child; each answers its ops in order


class _Op(NamedTuple):
    thread: Thread
    read: Callable[[Frame], object]
    answer: asyncio.Future[object]
    is_closed: asyncio.Event
    on_piece: Callable[[Written], None] | None  # of an op that is answered bit by bit


class Owed:
    """Open ops by id, each answered exactly once.

    A cancelled op stays open, its future done, until the child has let go of it. Silence is measured per
    thread of the child, from its last answer or from the first op after idleness: so time that an op spends
    behind others does not count against the child.
    """

    def __init__(self) -> None:
        self._ops: dict[int, _Op] = {}
        self._n_open: Counter[Thread] = Counter()
        self._progress_at: dict[Thread, float] = {}  # loop time
        self._n_steps = 0
        self._op_ids = itertools.count(say.HELLO_ID + 1)

    def new_id(self) -> int:
        """Returns an id that no op had before."""
        return next(self._op_ids)

    def open(
        self,
        op_id: int,
        thread: Thread,
        read: Callable[[Frame], object],
        on_piece: Callable[[Written], None] | None = None,
    ) -> asyncio.Future[object]:
        """Returns the future that ends when the op is answered, with what `read` makes of the answer.

        `on_piece` is called before with each piece of it; only an op that has it may be sent any.
        """
        loop = asyncio.get_running_loop()
        if not self._n_open[thread]:
            self._progress_at[thread] = loop.time()
        answer: asyncio.Future[object] = loop.create_future()
        answer.add_done_callback(_mark_retrieved)
        self._ops[op_id] = _Op(thread, read, answer, asyncio.Event(), on_piece)
        self._n_open[thread] += 1
        return answer

    def settle(self, frame: Frame) -> None:
        """Ends the op this frame answers. Raises: FrameError when it answers none; the op stays open then."""
        message = frame.message
        if not isinstance(message, say.Answer):
            raise FrameError(f"a child does not send {type(message).__name__}")
        op = self._ops.get(message.op_id)
        if op is None:
            raise FrameError(f"answer to op {message.op_id}, which is not open")
        if op.answer.done():  # cancelled: nobody waits
            pass
        elif isinstance(message, say.Failure):
            op.answer.set_exception(say.error_of(message))
        else:
            op.answer.set_result(op.read(frame))
        op.is_closed.set()
        del self._ops[message.op_id]
        self._n_open[op.thread] -= 1
        self._progress_at[op.thread] = asyncio.get_running_loop().time()

    def take_piece(self, piece: say.Piece) -> None:
        """Hands on a piece of an answer. Raises: FrameError when none was asked for."""
        op = self._ops.get(piece.op_id)
        if op is None or op.on_piece is None:
            raise FrameError(f"a piece of op {piece.op_id}, which has none")
        self._progress_at[op.thread] = asyncio.get_running_loop().time()
        if not op.answer.done():
            op.on_piece(piece.written)

    def note_steps(self, n_steps: int) -> None:
        """Takes the compute thread's counter: if it rose, the thread is not silent."""
        if n_steps != self._n_steps:
            self._n_steps = n_steps
            self._progress_at["compute"] = asyncio.get_running_loop().time()

    def abandon(self, op_id: int) -> bool:
        """Returns whether the op is open; nobody waits for it any more."""
        op = self._ops.get(op_id)
        if op is not None:
            op.answer.cancel()
        return op is not None

    def is_open(self, op_id: int) -> bool:
        """Returns whether the child has not let go of this op yet."""
        return op_id in self._ops

    def is_anyone_waiting(self, thread: Thread) -> bool:
        """Returns whether an op of this thread is open that nobody abandoned."""
        return any(op.thread == thread and not op.answer.done() for op in self._ops.values())

    async def closed(self, op_id: int) -> None:
        """Returns once the child has let go of the op, or is gone."""
        if (op := self._ops.get(op_id)) is not None:
            await op.is_closed.wait()

    def silent_s(self) -> float:
        """Returns for how long the most silent thread that owes something has answered nothing."""
        now = asyncio.get_running_loop().time()
        return max((now - self._progress_at[t] for t, n_open in self._n_open.items() if n_open), default=0.0)

    def fail_all(self, make_error: Callable[[], TurboError]) -> None:
        """Afterwards nothing is open; each caller has an error of its own."""
        for op in self._ops.values():
            if not op.answer.done():
                op.answer.set_exception(make_error())
            op.is_closed.set()
        self._ops.clear()
        self._n_open.clear()


def _mark_retrieved(answer: asyncio.Future[object]) -> None:
    """Keeps asyncio from logging errors of ops whose caller was cancelled in the same moment."""
    if not answer.cancelled():
        answer.exception()
