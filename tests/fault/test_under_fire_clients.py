"""Clients that leave in the middle of an answer, or never finish a question: nobody else notices."""

from __future__ import annotations

import contextlib
import json
import resource
import socket
import struct
from collections.abc import Iterator

import psutil
import pytest

from tests.fault.conftest import SetFire
from tests.support.server import MakeServer, RunningServer, until

N_LEAVING = 200
N_SLOW = 5000
ROOM_FDS = 2_000
QUICK_S = 1.0  # p99 beside 5,000 connections; alone 10 ms
KEPT_BYTES = 50_000_000  # of 300 MB that nobody read
RESET = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset and drops what was not read

HALF_HEAD = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nX-Slow: "
HALF_BODY = b'POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{"input":"'
PARTS = (b"", HALF_HEAD, HALF_BODY)


def n_fds(server: RunningServer) -> int:
    """Returns how many files and sockets the server has open."""
    return psutil.Process(server.pid).num_fds()


def test_two_hundred_who_leave_in_the_middle_of_a_large_answer(
    make_server: MakeServer, set_fire: SetFire
) -> None:
    server = make_server()
    body = json.dumps({"input": [f"text {n}" for n in range(500)]}).encode()  # 1.5 MB of answer
    head = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)

    def leave() -> None:
        with socket.socket() as connection:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # so that most stays unsent
            connection.connect(("127.0.0.1", server.port))
            connection.sendall(head + body)
            assert connection.recv(100).startswith(b"HTTP/1.1 200")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)

    with set_fire(server) as fire:
        for _ in range(N_LEAVING + 10):
            fire.ledger.sent("leaves")
            fire.ledger.ended("leaves", "cancelled", 0.0)
        fire.until_all_flow()
        for _ in range(10):
            leave()
        fds, rss_bytes = n_fds(server), psutil.Process(server.pid).memory_info().rss
        for _ in range(N_LEAVING):
            leave()
        fire.until_all_flow()
        until(lambda: n_fds(server) <= fds + 2)
        grown_bytes = psutil.Process(server.pid).memory_info().rss - rss_bytes
        print(f"\n{N_LEAVING} left; the server grew by {grown_bytes / 1e6:.1f} MB")
        assert grown_bytes < KEPT_BYTES
    assert fire.ledger.n("answered", "bystander") == fire.ledger.n_sent() - N_LEAVING - 10


@pytest.fixture
def many_sockets() -> Iterator[None]:
    """Afterwards this process may open as many sockets as the test needs, and so may servers it starts."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < N_SLOW + ROOM_FDS:
        pytest.skip(f"needs a limit of {N_SLOW + ROOM_FDS} open files, the hard one is {hard}")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, N_SLOW + ROOM_FDS), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.usefixtures("many_sockets")
def test_five_thousand_slow_connections_slow_nobody_down(make_server: MakeServer, set_fire: SetFire) -> None:
    server = make_server()
    with set_fire(server) as fire:
        fire.until_all_flow()
        fds = n_fds(server)
        with contextlib.ExitStack() as open_ones:
            slow = [open_ones.enter_context(server.connect()) for _ in range(N_SLOW)]
            for number, connection in enumerate(slow):
                connection.sendall(PARTS[number % len(PARTS)])
            until(lambda: n_fds(server) >= fds + N_SLOW)
            for connection in slow:  # each a byte more; those that were silent begin
                connection.sendall(b"P")
            fire.until_answered("bystander", 100)
            assert server.http.get("/readyz").status_code == 200
        until(lambda: n_fds(server) <= fds + 2)
        fire.until_all_flow()
    assert fire.ledger.n("answered") == fire.ledger.n_sent()
    assert fire.ledger.p99_s("bystander") < QUICK_S
