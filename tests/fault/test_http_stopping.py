"""Stops, and good and bad requests at once: each is answered once."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.support.server import (
    DEADLINE_S,
    FAKE,
    INLINE,
    REAL,
    MakeServer,
    RunningServer,
    error_text,
    fake_model,
    leases,
    ollama_error,
    read_response,
    until,
)

pytestmark = pytest.mark.usefixtures("the_next_request_works")
MB = 1_000_000
PATHS = ("/api/embed", "/v1/embeddings")


class TestStopping:
    @pytest.mark.parametrize("kind", ["thread", "process"])
    def test_sigterm_lets_a_running_request_finish(
        self, make_server: MakeServer, tmp_path: Path, kind: str
    ) -> None:
        server = make_server(models=fake_model("slow", tmp_path, runner=kind, load_delay_s=0.5, delay_s=0.8))
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.embed, "slow")
            until(lambda: "slow" in server.http.get("/api/ps").text)
            children = server.children()
            server.terminate()
            until(lambda: httpx.get(f"{server.base_url}/readyz").status_code == 503)
            assert httpx.get(f"{server.base_url}/health").status_code == 503
            assert httpx.get(f"{server.base_url}/livez").status_code == 200
            assert not running.done()
            answer = running.result(DEADLINE_S)
        assert answer.status_code == 200
        assert len(answer.json()["embeddings"]) == 1
        assert server.wait() == 0
        assert "Traceback" not in server.log()
        assert not any(child.is_running() for child in children)

    @pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
    def test_an_idle_server_ends_at_once(self, make_server: MakeServer, number: signal.Signals) -> None:
        server = make_server()
        with server.connect():  # an idle connection must not hold it up
            server.embed()
            os.kill(server.pid, number)
            assert server.wait(5) == 0
        assert "Traceback" not in server.log()

    def test_what_runs_too_long_is_cut_after_the_drain(self, make_server: MakeServer, tmp_path: Path) -> None:
        stuck = fake_model("stuck", tmp_path, runner="process", hang_on="hang-now")
        server = make_server(models=stuck, env={"TURBOV2_DRAIN": "1s"})
        server.embed("stuck")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(server.embed, "stuck", "hang-now")
            until(lambda: leases(server, "stuck") == 1)
            children = server.children()
            server.terminate()
            started_s = time.monotonic()
            server.wait(60)
            took_s = time.monotonic() - started_s
            answer = running.result(DEADLINE_S)
        assert not any(child.is_running() for child in children)
        assert took_s < 1 + 4  # the default drain of 25 s must end within Kubernetes' 30 s
        assert ollama_error(answer, 503)
        assert "Traceback" not in server.log()

    def test_a_taken_port_ends_the_start_and_says_so(self, server: RunningServer, tmp_path: Path) -> None:
        twin = RunningServer(tmp_path, env={"PORT": str(server.port)})
        with pytest.raises(AssertionError, match=str(server.port)), twin:
            pass
        assert not twin.is_running()
        assert "Traceback" not in twin.log()


class TestTogether:
    GOOD: tuple[tuple[str, dict[str, Any]], ...] = (
        ("/api/embed", {"model": REAL, "input": "hello"}),
        ("/v1/embeddings", {"model": FAKE, "input": ["a", "b"]}),
        ("/api/embed", {"model": INLINE, "input": "hello", "keep_alive": "5m"}),
    )
    BAD: tuple[tuple[str, Any, int], ...] = (
        ("/api/embed", {"input": 5}, 400),
        ("/v1/embeddings", {"input": []}, 400),
        ("/api/embed", {"model": "nope", "input": "x"}, 404),
        ("/v1/embeddings", {"model": FAKE, "input": "a b c d e f g h i"}, 400),
        ("/api/embed", {"model": FAKE, "input": "fail-now"}, 500),
        ("/nope", {}, 404),
    )

    def test_good_and_bad_do_not_meet(self, server: RunningServer) -> None:
        expected = [server.http.post(path, json=body).json() for path, body in self.GOOD]
        wrong: list[str] = []

        def client(number: int) -> None:
            with httpx.Client(base_url=server.base_url, timeout=30) as http:
                for step in range(12):
                    path, body, status = self.BAD[(number + step) % len(self.BAD)]
                    response = http.post(path, json=body)
                    error_text(path, response, status)
                    index = (number + step) % len(self.GOOD)
                    path, good = self.GOOD[index]
                    answer = http.post(path, json=good).json()
                    key = "data" if "data" in expected[index] else "embeddings"
                    if answer.get(key) != expected[index][key]:
                        wrong.append(f"{path} {good}: {str(answer)[:200]}")

        with ThreadPoolExecutor(8) as pool:
            list(pool.map(client, range(8)))
        assert wrong == []

    def test_a_bad_request_in_a_batch_spares_its_neighbours(self, server: RunningServer) -> None:
        """Requests that wait together share a forward; one that fails must fail alone."""
        barrier = threading.Barrier(6)

        def ask(text: str) -> httpx.Response:
            barrier.wait(DEADLINE_S)
            return server.embed(FAKE, text)

        with ThreadPoolExecutor(6) as pool:
            answers = list(pool.map(ask, ["fail-now", "a", "b", "nan-now", "c", "d"]))
        assert [answer.status_code == 200 for answer in answers] == [False, True, True, False, True, True]

    def test_an_error_leaves_the_connection_usable(self, server: RunningServer) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=DEADLINE_S)
        with contextlib.closing(connection):
            sockets = set()
            for content, status in ((b'{"input":5}', 400), (b"{}", 200), (b"", 400), (b'{"input":"x"}', 200)):
                connection.request("POST", "/api/embed", body=content)
                response = connection.getresponse()
                response.read()
                assert response.status == status
                sockets.add(connection.sock)
            assert len(sockets) == 1

    def test_expect_100_continue(self, server: RunningServer) -> None:
        """curl asks before it sends a large body."""
        with server.connect() as connection:
            connection.sendall(
                b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 13\r\nExpect: 100-continue\r\n\r\n"
            )
            assert connection.recv(100).startswith(b"HTTP/1.1 100 ")
            connection.sendall(b'{"input":"x"}')
            assert read_response(connection).status_code == 200
