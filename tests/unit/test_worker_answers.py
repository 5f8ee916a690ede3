"""Answers leave a child whole and in order, however many threads give them, however slowly they are read."""

from __future__ import annotations

import socket
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from turbov2.runners import frames
from turbov2.runners import messages as say
from turbov2.runners.worker import Answers, Worker
from turbov2.types import LoadSpec

N_THREADS, N_PIECES = 8, 300


def test_pieces_of_many_threads_come_whole_and_in_order() -> None:
    ours, theirs = socket.socketpair()
    answers = Answers(theirs)
    rows = np.arange(30_000, dtype=np.float32).reshape(10, 3000)  # too large for one write

    def write(op_id: int) -> None:
        for number in range(N_PIECES):
            answers.send(say.Piece(op_id, str(number)))
        answers.send(say.OutputsReply(op_id), rows)

    told: dict[int, list[str]] = defaultdict(list)
    n_ended = 0
    with ThreadPoolExecutor(N_THREADS) as pool, ours, theirs, ours.makefile("rb") as stream:
        for op_id in range(N_THREADS):
            pool.submit(write, op_id)
        while n_ended < N_THREADS:
            message, buffers = frames.receive_frame(stream)
            if isinstance(message, say.Piece):
                told[message.op_id].append(message.written)
            else:
                np.testing.assert_array_equal(buffers[0], rows)
                n_ended += 1
    assert dict(told) == {op_id: [str(number) for number in range(N_PIECES)] for op_id in range(N_THREADS)}


def test_a_child_ends_once_another_thread_has_sent_its_last_answer() -> None:
    """As the reader, which nobody waits for, may be sending when Stop has come."""
    ours, theirs = socket.socketpair()
    answers = Answers(theirs)
    worker = Worker(answers)
    rows = np.zeros((1 << 10, 1 << 10), np.float32)  # more than the sockets hold
    reader = threading.Thread(target=answers.send, args=(say.OutputsReply(1), rows))
    is_sending: list[bool] = []

    def serve() -> None:
        worker.serve()
        is_sending.append(answers._is_sending)

    main = threading.Thread(target=serve)
    with ours, theirs, ours.makefile("rb") as stream:
        reader.start()
        assert ours.recv(1, socket.MSG_PEEK)  # it has begun, and cannot go on
        worker.receive(frames.Frame(say.Load(2, LoadSpec("m", "no such backend", {}, ""))))
        worker.receive(frames.Frame(say.Stop()))
        main.start()
        assert isinstance(frames.receive_frame(stream).message, say.OutputsReply)
        assert isinstance(frames.receive_frame(stream).message, say.Failure)
        main.join()
        reader.join()
    assert is_sending == [False]
