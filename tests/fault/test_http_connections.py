"""Sockets and clients that leave: nothing is lost, and the next request works."""

from __future__ import annotations

import contextlib
import json
import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import numpy as np
import pytest

from tests.support.server import (
    MakeServer,
    RunningServer,
    assert_clean,
    fake_model,
    leases,
    ollama_error,
    read_all,
    send_raw,
    until,
)

pytestmark = pytest.mark.usefixtures("the_next_request_works")
MB = 1_000_000
PATHS = ("/api/embed", "/v1/embeddings")


class TestSockets:
    @pytest.mark.parametrize(
        "noise",
        [
            os.urandom(2000).replace(b"\n", b""),
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(300),  # a TLS hello
            b"SSH-2.0-OpenSSH_9.6\r\n",
            b"GET\r\n\r\n",
            b"GET / HTTP/9.9\r\n\r\n",
            b"GET / HTTP/1.1\r\nno colon here\r\n\r\n",
            b"GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            b"POST /api/embed HTTP/1.1\r\nContent-Length: -5\r\n\r\n",
            b"POST /api/embed HTTP/1.1\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
            b"POST /api/embed HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nnot a size\r\n",
            b"POST /api/embed HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nFFFFFFFFFFFFFFFFF\r\n",
            b"GET /\xff\xfe HTTP/1.1\r\nHost: x\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            b"\r\n" * 1000,
        ],
    )
    def test_noise_is_refused_without_a_word_too_many(self, server: RunningServer, noise: bytes) -> None:
        with server.connect() as connection:
            connection.sendall(noise)
            answer = read_all(connection)
        assert not answer or re.match(rb"HTTP/1\.1 4\d\d ", answer), answer[:200]
        assert_clean(httpx.Response(400, content=answer))

    @pytest.mark.parametrize(
        "part",
        [
            b"",
            b"PO",
            b"POST /api/embed HTTP/1.1\r\n",
            b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n",
            b'POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{"input":',
            b'POST /v1/embeddings HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{"inp',
        ],
    )
    @pytest.mark.parametrize("is_reset", [False, True])
    def test_half_a_request_then_nothing(self, server: RunningServer, part: bytes, is_reset: bool) -> None:
        before = server.log().count("Traceback")
        for _ in range(5):
            with server.connect() as connection:
                connection.sendall(part)
                if is_reset:
                    linger = np.array([1, 0], np.int32).tobytes()
                    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        server.assert_well()
        assert server.log().count("Traceback") == before

    def test_headers_of_16_kb_are_served(self, server: RunningServer) -> None:
        headers = b"\r\n".join(b"x-%d: %b" % (n, b"v" * 100) for n in range(160))
        assert send_raw(server, b"GET /livez HTTP/1.1\r\nHost: x\r\n" + headers).status_code == 200

    @pytest.mark.parametrize(
        ("start", "more"),
        [
            (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"x-name: " + b"v" * 1000 + b"\r\n"),
            (b"GET /livez HTTP/1.1\r\nHost: x\r\n", b"x: v\r\n"),
            (b"GET /livez HTTP/1.1\r\nHost: x\r\nx-one: ", b"v" * 1000),
            (b"GET /", b"a" * 1000),
        ],
    )
    def test_a_head_without_end_is_cut(self, server: RunningServer, start: bytes, more: bytes) -> None:
        """Else one connection could fill the memory."""
        sent, block = 0, more * (64_000 // len(more))
        with server.connect() as connection, contextlib.suppress(ConnectionError):
            connection.sendall(start)
            while sent < 4 * MB:
                connection.sendall(block)
                sent += len(block)
        assert sent < 4 * MB, f"the server took {sent} bytes and wants more"

    def test_a_path_of_any_length_has_an_answer(self, server: RunningServer) -> None:
        for n in (100, 10_000, 60_000):
            response = send_raw(server, b"GET /%b HTTP/1.1\r\nHost: x" % (b"a" * n))
            assert response.status_code in (400, 404, 414, 431)
            assert len(response.content) < 1000

    def test_pipelined_requests_are_answered_in_order(self, server: RunningServer) -> None:
        requests = [b"GET %b HTTP/1.1\r\nHost: x\r\n" % path for path in (b"/api/version", b"/livez")]
        with server.connect() as connection:
            connection.sendall(requests[0] + b"\r\n" + requests[1] + b"Connection: close\r\n\r\n")
            answers = read_all(connection)
        assert answers.index(b'{"version"') < answers.index(b"ok")

    def test_silent_connections_take_nothing_from_others(self, server: RunningServer) -> None:
        with contextlib.ExitStack() as open_ones:
            for _ in range(200):
                open_ones.enter_context(server.connect()).sendall(b"POST /api/embed HTTP/1.1\r\n")
            started_s = time.monotonic()
            server.assert_well()
            assert time.monotonic() - started_s < 2


class TestLeaving:
    DELAY_S = 0.6

    @pytest.fixture(scope="class")
    @classmethod
    def slow(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        folder = tmp_path_factory.mktemp("slow")
        models = [
            fake_model(kind, folder, runner=kind, delay_s=cls.DELAY_S) for kind in ("thread", "process")
        ]
        models += [fake_model("slow-load", folder, load_delay_s=cls.DELAY_S)]
        with RunningServer(folder, models="\n".join(models)) as running:
            yield running

    @pytest.mark.parametrize("model", ["thread", "process"])
    def test_while_waiting_takes_the_request_out_of_the_queue(self, slow: RunningServer, model: str) -> None:
        slow.assert_well(model)
        with contextlib.ExitStack() as clients:
            for n in range(6):  # each a text of its own, too long to share a batch
                body = json.dumps({"model": model, "input": f"{n}" * 40_000}).encode()
                head = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
                clients.enter_context(slow.connect()).sendall(head + body)
            until(lambda: leases(slow, model) == 6)
        started_s = time.monotonic()
        slow.assert_well(model)
        # One that already ran, or the end of its process and two forwards that a load probes with; and ours.
        assert time.monotonic() - started_s < 5 * self.DELAY_S
        until(lambda: leases(slow, model) == 0)
        assert "Traceback" not in slow.log()

    def test_while_the_model_loads_harms_no_one(self, slow: RunningServer) -> None:
        body = b'{"model":"slow-load","input":"x"}'
        head = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(4):
            with slow.connect() as connection:
                connection.sendall(head + body)
        slow.assert_well("slow-load")
        until(lambda: leases(slow, "slow-load") == 0)
        assert "Traceback" not in slow.log()

    def test_while_a_large_answer_is_sent(self, server: RunningServer) -> None:
        body = json.dumps({"input": ["x"] * 5000}).encode()
        head = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        for _ in range(3):
            with server.connect() as connection:
                connection.sendall(head + body)
                assert connection.recv(100).startswith(b"HTTP/1.1 200")
        server.assert_well()

    def test_a_full_queue_is_a_503_at_once(self, make_server: MakeServer, tmp_path: Path) -> None:
        slow = fake_model("slow", tmp_path, runner="thread", delay_s=0.5)
        server = make_server(models=slow, env={"TURBOV2_MAX_QUEUE": "1"})
        server.embed("slow")
        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(lambda n: server.embed("slow", f"text {n}"), range(6)))
        statuses = sorted(answer.status_code for answer in answers)
        assert statuses[0] == 200
        assert set(statuses) == {200, 503}
        for answer in answers:
            if answer.status_code == 503:
                assert "limit is 1" in ollama_error(answer, 503)
                assert int(answer.headers["retry-after"]) >= 1
        server.assert_well("slow")
