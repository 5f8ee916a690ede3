"""The child of a process runner: `python -m turbov2.runners.worker --requests FD ...`.

Two threads. The reader takes frames off the requests socket, so that a Cancel reaches an op that still
waits and the end of the stream is seen at once. The main thread loads and computes, one op after the
other, and is the only one that writes answers. The child never outlives its parent: it asks the kernel
for SIGKILL on the parent's death, and ends when the requests do.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable

from turbov2.backends.protocol import Backend
from turbov2.errors import TurboError
from turbov2.runners import frames
from turbov2.runners.calls import load_backend, run_embed
from turbov2.types import EmbedBatch, LoadSpec

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class Inbox:
    """Frames in order of arrival, between the reader and the compute thread.

    A queued Embed whose Cancel arrives turns into that Cancel in place: its payload is freed at once, and
    the compute thread answers `Dropped` when its turn comes. Unbounded: the parent's batcher admits.
    """

    def __init__(self) -> None:
        self._frames: deque[frames.Frame] = deque()
        self._arrived = threading.Condition()

    def put(self, frame: frames.Frame) -> None:
        """Queues the frame; a Cancel takes the place of the Embed it cancels, or vanishes."""
        with self._arrived:
            if isinstance(frame.message, frames.Cancel):
                self._cancel(frame.message)
            else:
                self._frames.append(frame)
                self._arrived.notify()

    def _cancel(self, message: frames.Cancel) -> None:
        for index, queued in enumerate(self._frames):
            if isinstance(queued.message, frames.Embed) and queued.message.op_id == message.op_id:
                self._frames[index] = frames.Frame(message)
                return
        # Not here: it runs or has been answered, and its answer is the one the parent gets.

    def get(self) -> frames.Frame:
        """Returns the oldest frame; blocks until there is one."""
        with self._arrived:
            while not self._frames:
                self._arrived.wait()
            return self._frames.popleft()


class Worker:
    """Loads one backend and answers ops with it, until Stop."""

    def __init__(self, answers: socket.socket, inbox: Inbox) -> None:
        self._answers = answers
        self._inbox = inbox
        self._backend: Backend | None = None
        self._model = ""

    def serve(self) -> None:
        """Returns after Stop, with the weights released."""
        while self._serve_one(self._inbox.get()):
            pass
        if self._backend is not None:
            self._backend.close()

    def _serve_one(self, frame: frames.Frame) -> bool:
        match frame.message:
            case frames.Load(op_id, spec):
                self._answer(op_id, lambda: self._load(op_id, spec))
            case frames.Embed(op_id):
                batch = frames.unpack_batch(frame)  # out here: a malformed frame ends us, not just the op
                self._answer(op_id, lambda: self._embed(op_id, batch))
            case frames.Cancel(op_id):
                frames.send_frame(self._answers, frames.Dropped(op_id))
            case frames.Stop():
                return False
            case unexpected:
                raise frames.FrameError(f"a parent does not send {type(unexpected).__name__}")
        return True

    def _answer(self, op_id: int, work: Callable[[], frames.Frame]) -> None:
        """Sends what `work` returns, or its error."""
        try:
            answer = work()
        except TurboError as error:
            answer = frames.Frame(frames.failure(op_id, error))
        frames.send_parts(self._answers, frames.encode(answer.message, *answer.buffers))

    def _load(self, op_id: int, spec: LoadSpec) -> frames.Frame:
        self._model = spec.model
        self._backend = load_backend(spec)
        return frames.Frame(frames.LoadedReply(op_id, self._backend.loaded))

    def _embed(self, op_id: int, batch: EmbedBatch) -> frames.Frame:
        if self._backend is None:
            raise frames.FrameError("a parent loads before it asks")
        return frames.Frame(*frames.pack_output(op_id, run_embed(self._model, self._backend, batch)))


def read_into(inbox: Inbox, requests: socket.socket) -> None:
    """Fills `inbox` until the stream ends, then ends this process, whatever it computes."""
    stream = requests.makefile("rb")
    try:
        while True:
            inbox.put(frames.receive_frame(stream))
    except (EOFError, OSError):
        os._exit(0)  # the parent closed the socket or died: nobody is left to answer
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(os.EX_SOFTWARE)


def die_with(parent: int) -> None:
    """From here on the kernel kills this process when `parent` dies; ends it if that already happened.

    Linux ties this to the *thread* that spawned us: the parent's event loop must live as long as its runners.
    Elsewhere the end of the requests does the same, a moment later.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above: no signal will come
        os._exit(0)


def main(arguments: list[str] | None = None) -> None:
    """Serves the parent until it says Stop; in every other end the process is gone before this returns."""
    parser = argparse.ArgumentParser(prog="turbov2.runners.worker")
    parser.add_argument("--requests", type=int, required=True, help="socket to read frames from")
    parser.add_argument("--answers", type=int, required=True, help="socket to write frames to")
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    options = parser.parse_args(arguments)
    die_with(options.parent)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the whole group; the parent decides
    faulthandler.enable()
    os.dup2(2, 1)  # what libraries print belongs in the log
    requests, answers = (socket.socket(fileno=fd) for fd in (options.requests, options.answers))
    for sock in (requests, answers):
        sock.set_inheritable(False)  # a grandchild that held it would hide our death
    frames.send_frame(answers, frames.Hello(frames.PROTOCOL_VERSION, os.getpid()))
    inbox = Inbox()
    threading.Thread(target=read_into, args=(inbox, requests), name="frames", daemon=True).start()
    Worker(answers, inbox).serve()


if __name__ == "__main__":
    main()
