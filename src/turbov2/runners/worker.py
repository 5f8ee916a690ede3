"""The child of a process runner: `python -m turbov2.runners.worker --requests FD ...`.

Three threads. The reader takes frames off the requests socket, so that a Cancel reaches an op that still
waits, a Ping is answered whatever is computed, and the end of the stream is seen at once. The main thread
loads and computes, one op after the other, and so do others beside it if the model gains from that; the
tokenizing thread prepares the next ones meanwhile. The child never outlives its parent: see `entry`, and it
ends when the requests do.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Iterator
from typing import cast

import msgspec

from turbov2.backends.protocol import Backend, Interruptible
from turbov2.errors import TurboError
from turbov2.runners import arrays, frames
from turbov2.runners import messages as say
from turbov2.runners.calls import (
    load_backend,
    return_freed_memory,
    run_close,
    run_count,
    run_embed,
    run_free_caches,
    run_generate,
    run_listen,
    run_look,
    run_tokenize,
)
from turbov2.runners.entry import enter
from turbov2.types import Written

_IDLE_S = 10.0  # without anything to compute; then memory that is kept for the next op goes back


class Inbox:
    """Frames in order of arrival, between the reader and one thread. Unbounded: the parent's queue admits."""

    def __init__(self) -> None:
        self._frames: deque[frames.Frame] = deque()
        self._arrived = threading.Condition()

    def put(self, frame: frames.Frame) -> None:
        """Queues the frame."""
        with self._arrived:
            self._frames.append(frame)
            self._arrived.notify()

    def drop(self, op_id: int) -> bool:
        """Returns whether the op still waited here; afterwards it does not."""
        with self._arrived:
            for index, queued in enumerate(self._frames):
                if getattr(queued.message, "op_id", None) == op_id:
                    del self._frames[index]
                    return True
        return False  # it runs or has been answered, and its answer is the one the parent gets

    def get(self) -> frames.Frame:
        """Returns the oldest frame; blocks until there is one."""
        with self._arrived:
            while not self._frames:
                self._arrived.wait()
            return self._frames.popleft()

    def has_one_within(self, seconds: float) -> bool:
        """Returns whether a frame waits; blocks until one does, for no longer than that."""
        with self._arrived:
            return self._arrived.wait_for(lambda: bool(self._frames), seconds)


class Answers:
    """The socket that answers leave by, whole frames in order, from any thread.

    What several threads say at the same time leaves together: one of them sends, the others go on.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._guard = threading.Condition()
        self._waiting: list[bytes | memoryview] = []
        self._is_sending = False

    def send(self, message: msgspec.Struct, *buffers: frames.Array) -> None:
        """Sends one frame, or leaves it to the thread that is sending. Blocks in the first case."""
        parts = frames.encode(message, *buffers)
        with self._guard:
            self._waiting += parts
            if self._is_sending:
                return
            self._is_sending = True
        while parts := self._take():
            frames.send_parts(self._sock, parts)

    def wait(self) -> None:
        """Returns once all that was said has left."""
        with self._guard:
            self._guard.wait_for(lambda: not self._is_sending)

    def _take(self) -> list[bytes | memoryview]:
        with self._guard:
            parts, self._waiting = self._waiting, []
            self._is_sending = bool(parts)
            self._guard.notify_all()
        return parts


class Worker:
    """Loads one backend and answers ops with it, until Stop."""

    def __init__(self, answers: Answers) -> None:
        self._answers = answers
        self._to_compute = Inbox()
        self._to_tokenize = Inbox()
        self._backend: Backend | None = None
        self._model = ""
        self._n_steps = 0
        self._cancels: dict[int, threading.Event] = {}  # of what looks for that; each call on it is atomic
        self._helpers: list[threading.Thread] = []  # that compute beside the main thread

    def serve(self) -> None:
        """Returns after Stop, with the weights released and all answers sent."""
        tokenizing = threading.Thread(target=self._serve_tokens, name="tokens", daemon=True)
        tokenizing.start()
        self._answer_all(self._to_compute, self._rest)
        for thread in (tokenizing, *self._helpers):
            thread.join()
        if self._backend is not None:
            run_close(self._model, self._backend)
        self._answers.wait()  # the reader may be sending some, and ends with this process

    def receive(self, frame: frames.Frame) -> None:
        """Hands the frame to the thread it is for, or answers it. Called by the reader."""
        match frame.message:
            case say.Ping():
                self._answers.send(say.Pong(self._n_steps))
            case say.Cancel(op_id):
                if self._to_compute.drop(op_id) or self._to_tokenize.drop(op_id):
                    self._cancels.pop(op_id, None)
                    self._answers.send(say.Dropped(op_id))
                elif (cancelled := self._cancels.get(op_id)) is not None:
                    cancelled.set()
                    if isinstance(self._backend, Interruptible):
                        self._backend.end_cancelled()
            case say.Generate(op_id) | say.Listen(op_id):
                self._cancels[op_id] = threading.Event()
                self._to_compute.put(frame)
            case say.Tokenize() | say.Count():
                self._to_tokenize.put(frame)
            case say.Stop():
                self._to_tokenize.put(frame)
                self._to_compute.put(frame)
            case _:
                self._to_compute.put(frame)

    def _serve_tokens(self) -> None:
        with ending_the_process():
            self._answer_all(self._to_tokenize)

    def _help(self) -> None:
        with ending_the_process():
            self._answer_all(self._to_compute)

    def _rest(self) -> None:
        """Afterwards, if nothing came for a while, the system has what was kept for the next op."""
        if not self._to_compute.has_one_within(_IDLE_S):
            return_freed_memory()

    def _answer_all(self, inbox: Inbox, rest: Callable[[], None] = lambda: None) -> None:
        """Answers ops until Stop; after each, `rest` may wait for the next one."""
        while not isinstance((frame := inbox.get()).message, say.Stop):
            try:
                answer = self._run(frame)
            except TurboError as error:
                answer = frames.Frame(say.failure(cast(say.Op, frame.message).op_id, error))
            self._answers.send(answer.message, *answer.buffers)
            self._n_steps += inbox is self._to_compute
            rest()
        inbox.put(frame)  # for the other threads that serve it

    def _run(self, frame: frames.Frame) -> frames.Frame:
        """Returns the answer. Raises: TurboError; FrameError, which ends the child and not just the op."""
        match frame.message:
            case say.Load(op_id, spec):
                self._model = spec.model
                self._backend = load_backend(spec)
                self._start_helpers(self._backend.loaded.n_slots - 1)
                return frames.Frame(say.LoadedReply(op_id, self._backend.loaded))
            case say.Tokenize(op_id, kind):
                tokens = run_tokenize(self._model, self._loaded(), arrays.unpack_inputs(frame, kind))
                return frames.Frame(say.TokensReply(op_id), arrays.pack_tokens(tokens))
            case say.Embed(op_id, task, is_precise):
                tokens = arrays.unpack_tokens(frame)
                outputs = run_embed(self._model, self._loaded(), tokens, task, is_precise)
                return frames.Frame(say.OutputsReply(op_id), arrays.pack_outputs(outputs))
            case say.Look(op_id, task, n_channels):
                pixels = arrays.unpack_pixels(frame, n_channels)
                return frames.Frame(say.SeenReply(op_id, run_look(self._model, self._loaded(), pixels, task)))
            case say.Generate():
                return self._generate(frame, frame.message)
            case say.Count(op_id):
                n_tokens = run_count(self._model, self._loaded(), *arrays.unpack_prompt(frame))
                return frames.Frame(say.CountReply(op_id, n_tokens))
            case say.Listen():
                return self._listen(frame, frame.message)
            case say.FreeCaches(op_id):
                run_free_caches(self._model, self._loaded())
                return frames.Frame(say.Done(op_id))
            case unexpected:
                raise frames.FrameError(f"a parent does not send {type(unexpected).__name__}")

    def _generate(self, frame: frames.Frame, asked: say.Generate) -> frames.Frame:
        def send(written: Written) -> None:
            self._answers.send(say.Piece(asked.op_id, written))

        with self._cancellable(asked.op_id) as is_cancelled:
            task, images = arrays.unpack_prompt(frame)
            finish = run_generate(self._model, self._loaded(), task, images, send, is_cancelled)
        return frames.Frame(say.FinishReply(asked.op_id, finish))

    def _listen(self, frame: frames.Frame, asked: say.Listen) -> frames.Frame:
        with self._cancellable(asked.op_id) as is_cancelled:
            samples = arrays.unpack_samples(frame)
            heard = run_listen(self._model, self._loaded(), samples, asked.task, is_cancelled)
        return frames.Frame(say.HeardReply(asked.op_id, heard))

    @contextlib.contextmanager
    def _cancellable(self, op_id: int) -> Iterator[Callable[[], bool]]:
        """Gives what the op asks whether it was cancelled; each time counts as a step."""
        cancelled = self._cancels[op_id]

        def is_cancelled() -> bool:
            self._n_steps += 1  # whoever asks is getting on, though nothing was answered yet
            return cancelled.is_set()

        try:
            yield is_cancelled
        finally:
            del self._cancels[op_id]

    def _start_helpers(self, n_threads: int) -> None:
        for number in range(n_threads):
            helper = threading.Thread(target=self._help, name=f"compute-{number + 1}", daemon=True)
            helper.start()
            self._helpers.append(helper)

    def _loaded(self) -> Backend:
        if self._backend is None:
            raise frames.FrameError("a parent loads before it asks")
        return self._backend


@contextlib.contextmanager
def ending_the_process() -> Iterator[None]:
    """Ends this process with a traceback when its block fails: a thread of ours is missed by nobody else."""
    try:
        yield
    except BaseException:
        traceback.print_exc()
        sys.stderr.flush()
        os._exit(os.EX_SOFTWARE)


def read_into(worker: Worker, requests: socket.socket) -> None:
    """Gives `worker` its frames until the stream ends, then ends this process group, whatever it computes."""
    stream = requests.makefile("rb")
    with ending_the_process():
        try:
            while True:
                worker.receive(frames.receive_frame(stream))
        except (EOFError, OSError):  # the parent closed the socket or died: nobody is left to answer
            os.killpg(0, signal.SIGKILL)


def main(arguments: list[str] | None = None) -> None:
    """Serves the parent until it says Stop; in every other end the process is gone before this returns."""
    requests, answers = enter("turbov2.runners.worker", arguments)
    frames.send_frame(answers, say.Hello(say.PROTOCOL_VERSION, os.getpid()))
    worker = Worker(Answers(answers))
    threading.Thread(target=read_into, args=(worker, requests), name="frames", daemon=True).start()
    worker.serve()


if __name__ == "__main__":
    main()
