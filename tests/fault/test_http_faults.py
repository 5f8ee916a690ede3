"""What clients, networks and operators do to a server: each has its answer, and the next request works."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import psutil
import pytest

from tests.support.server import (
    DEADLINE_S,
    FAKE,
    INLINE,
    REAL,
    MakeServer,
    RunningServer,
    assert_clean,
    fake_model,
    ollama_error,
    openai_error,
    read_all,
    read_response,
    send_raw,
    until,
)

MB = 1_000_000
PATHS = ("/api/embed", "/v1/embeddings")


@pytest.fixture(autouse=True)
def the_next_request_works(server: RunningServer) -> Iterator[None]:
    yield
    server.assert_well()


def error_text(path: str, response: httpx.Response, status: int) -> str:
    """Returns the message of an error in the shape of the path's family."""
    if path.startswith("/v1"):
        return str(openai_error(response, status)["message"])
    return ollama_error(response, status)


class TestBodies:
    @pytest.mark.parametrize("path", PATHS)
    def test_100_mb_declared_is_refused_unread(self, server: RunningServer, path: str) -> None:
        started_s = time.monotonic()
        head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: {100 * MB}".encode()
        response = send_raw(server, head, b'{"input":"')
        assert time.monotonic() - started_s < 1
        message = error_text(path, response, 413)
        assert str(100 * MB) in message
        assert "TURBOV2_MAX_BODY" in message

    @pytest.mark.parametrize("path", PATHS)
    def test_100_mb_sent_by_a_real_client(self, server: RunningServer, path: str) -> None:
        body = b'{"input":"' + b"x" * (100 * MB) + b'"}'
        error_text(path, httpx.post(server.base_url + path, content=body, timeout=10), 413)

    @pytest.mark.parametrize("path", PATHS)
    def test_100_mb_in_chunks_without_a_length(self, server: RunningServer, path: str) -> None:
        chunks = (b"x" * MB for _ in range(100))
        response = httpx.post(server.base_url + path, content=chunks, timeout=10)
        assert "TURBOV2_MAX_BODY" in error_text(path, response, 413)

    def test_a_refused_body_is_not_kept(self, server: RunningServer) -> None:
        """A refused request must not leave its bytes behind in the server."""
        before = psutil.Process(server.pid).memory_info().rss
        for _ in range(3):
            httpx.post(f"{server.base_url}/api/embed", content=(b"x" * MB for _ in range(100)), timeout=10)
        assert psutil.Process(server.pid).memory_info().rss - before < 150 * MB

    def test_a_length_that_is_a_lie_gets_no_answer_and_harms_nobody(self, server: RunningServer) -> None:
        with server.connect() as connection:
            connection.sendall(b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{}")
            server.assert_well()

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize("text", [b"\xff", b"caf\xe9", b"\xed\xa0\xbd", b"\xc0\xaf", b"\xf5\x80\x80\x80"])
    def test_invalid_utf8(self, server: RunningServer, path: str, text: bytes) -> None:
        response = server.http.post(path, content=b'{"input":"%b"}' % text)
        assert re.search("utf-?8", error_text(path, response, 400), re.IGNORECASE)

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        "template", ['{"input":%s}', '{"other":%s,"input":"x"}', "%s", r'{"input":"\ud83d","o":%s}']
    )
    @pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
    def test_deep_json(
        self, server: RunningServer, path: str, template: str, opening: str, closing: str
    ) -> None:
        deep = opening * 100_000 + "1" + closing * 100_000
        error_text(path, server.http.post(path, content=template.replace("%s", deep)), 400)

    @pytest.mark.parametrize("path", PATHS)
    def test_deep_and_unfinished_json(self, server: RunningServer, path: str) -> None:
        error_text(path, server.http.post(path, content="[" * 100_000), 400)

    @pytest.mark.parametrize("text", [r"\ud83d", r"a\udc00b", r"\ud83d\ud83d\ude00", r"\uDE00\uD83D"])
    def test_lone_surrogates_become_replacement_characters(self, server: RunningServer, text: str) -> None:
        cleaned = json.loads(f'"{text}"').encode("utf-16", "surrogatepass").decode("utf-16", "replace")
        response = server.http.post("/api/embed", content=b'{"input":["%b"]}' % text.encode())
        assert response.json()["embeddings"] == server.embed(REAL, cleaned).json()["embeddings"]

    @pytest.mark.parametrize(
        ("content", "status"),
        [
            (rb'{"model":"\ud83d","input":"x"}', 404),
            (rb'{"input":[5,"\ud83d"]}', 400),
            (rb'{"input":"\ud83d"', 400),
            (rb'{"\ud83d":1,"input":5}', 400),
            (rb'{"input":"\ud83d","dimensions":"\udc00"}', 400),
        ],
    )
    def test_lone_surrogates_elsewhere(self, server: RunningServer, content: bytes, status: int) -> None:
        for path in PATHS:
            error_text(path, server.http.post(path, content=content), status)

    @pytest.mark.parametrize("field", ["dimensions", "keep_alive"])
    @pytest.mark.parametrize(
        "number",
        ["1e999", "-1e999", "9" * 400, "-" + "9" * 400, "1" * 5000, "-0", "1e-999", "0x10", "01", "NaN"],
    )
    def test_odd_numbers_are_never_a_defect(self, server: RunningServer, field: str, number: str) -> None:
        content = f'{{"model":"{INLINE}","input":"x","{field}":{number}}}'
        response = server.http.post("/api/embed", content=content)
        assert response.status_code in (200, 400), response.text[:300]
        assert_clean(response)

    @pytest.mark.parametrize("text", ["9" * 400 + "h", "0." + "1" * 5000 + "s", "1h" * 10_000])
    def test_odd_durations_are_never_a_defect(self, server: RunningServer, text: str) -> None:
        response = server.http.post("/api/embed", json={"model": INLINE, "input": "x", "keep_alive": text})
        assert response.status_code in (200, 400), response.text[:300]
        assert server.http.get("/api/ps").status_code == 200
        assert server.http.post("/api/embed", json={"model": INLINE, "keep_alive": 0}).status_code == 200


class TestLimits:
    @pytest.fixture(scope="class")
    @classmethod
    def small(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        folder = tmp_path_factory.mktemp("small")
        env = {"TURBOV2_MAX_BODY": "4KiB", "TURBOV2_MAX_TEXTS": "4", "TURBOV2_MAX_TEXT_CHARS": "100"}
        env |= {"TURBOV2_PRELOAD": INLINE, "TURBOV2_DEFAULT_EMBED_MODEL": INLINE}
        with RunningServer(folder, env=env, models=fake_model(INLINE, folder)) as running:
            yield running

    @pytest.mark.parametrize("path", PATHS)
    @pytest.mark.parametrize(
        ("value", "status", "says"),
        [
            (["x"] * 4, 200, ()),
            (["x"] * 5, 400, ("5 texts", "limit is 4", "TURBOV2_MAX_TEXTS")),
            ("x" * 100, 200, ()),
            ("é" * 100, 200, ()),
            ("x" * 101, 400, ("101 characters", "limit is 100", "TURBOV2_MAX_TEXT_CHARS")),
            (["x", "y" * 101], 400, ("input 1", "101 characters")),
            ("x" * 5000, 413, ("4096", "TURBOV2_MAX_BODY")),
        ],
    )
    def test_at_and_past_the_limit(
        self, small: RunningServer, path: str, value: object, status: int, says: tuple[str, ...]
    ) -> None:
        response = small.http.post(path, content=json.dumps({"input": value}, ensure_ascii=False).encode())
        assert response.status_code == status, response.text
        if status != 200:
            assert all(part in error_text(path, response, status) for part in says)

    def test_of_the_older_form(self, small: RunningServer) -> None:
        response = small.http.post("/api/embeddings", json={"model": INLINE, "prompt": "x" * 101})
        assert "101 characters" in ollama_error(response, 400)

    @pytest.mark.parametrize(("n_bytes", "status"), [(4096, 200), (4097, 413)])
    @pytest.mark.parametrize("is_chunked", [False, True])
    def test_of_the_body_is_exact(
        self, small: RunningServer, n_bytes: int, status: int, is_chunked: bool
    ) -> None:
        body = b'{"input":"x"}'.ljust(n_bytes)
        content = iter([body[:1000], body[1000:]]) if is_chunked else body
        assert small.http.post("/api/embed", content=content).status_code == status

    @pytest.mark.parametrize(
        "path", ["/api/show", "/api/pull", "/api/delete", "/api/generate", "/api/embeddings"]
    )
    def test_of_the_body_holds_on_every_route(self, small: RunningServer, path: str) -> None:
        method = "DELETE" if path == "/api/delete" else "POST"
        ollama_error(small.http.request(method, path, content=b" " * 5000), 413)


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


def leases(server: RunningServer, model: str) -> int:
    """Returns how many requests hold the model, waiting ones included."""
    found = re.search(rf'turbov2_model_leases\{{model="{model}"\}} (\d+)', server.http.get("/metrics").text)
    return int(found[1]) if found else 0


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
        body = json.dumps({"model": model, "input": "x" * 40_000}).encode()  # too long to share a batch
        head = b"POST /api/embed HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(body)
        with contextlib.ExitStack() as clients:
            for _ in range(6):
                clients.enter_context(slow.connect()).sendall(head + body)
            until(lambda: leases(slow, model) == 6)
        started_s = time.monotonic()
        slow.assert_well(model)
        assert time.monotonic() - started_s < 3 * self.DELAY_S  # one that already ran, and ours
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


class TestChildren:
    @pytest.fixture(scope="class")
    @classmethod
    def frail(cls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
        folder = tmp_path_factory.mktemp("frail")
        models = fake_model("frail", folder, runner="process", crash_on="crash-now", hang_on="hang-now")
        with RunningServer(folder, models=models, env={"TURBOV2_PRELOAD": "frail"}) as running:
            yield running

    def test_killed_in_a_request_fails_it_once(self, frail: RunningServer) -> None:
        frail.assert_well("frail")
        with ThreadPoolExecutor(1) as pool:
            running = pool.submit(frail.embed, "frail", "hang-now")
            until(lambda: leases(frail, "frail") == 1)
            for child in frail.children():
                child.kill()
            answer = running.result(DEADLINE_S)
        message = ollama_error(answer, 500)
        assert "the process that ran model 'frail' ended" in message
        assert ("retry-after" in answer.headers) != ("x-should-retry" in answer.headers)
        frail.assert_well("frail")

    @pytest.mark.parametrize("path", PATHS)
    def test_that_crashes_fails_only_its_request(self, frail: RunningServer, path: str) -> None:
        response = frail.http.post(path, json={"model": "frail", "input": ["fine", "crash-now"]})
        assert "the process that ran model 'frail' ended" in error_text(path, response, 500)
        frail.assert_well("frail")
        frail.assert_well(REAL)

    def test_killed_while_idle_is_started_again_unseen(self, frail: RunningServer) -> None:
        frail.assert_well("frail")
        before = frail.children()
        for child in before:
            child.kill()
        until(lambda: not any(child.is_running() for child in before))
        frail.assert_well("frail")

    def test_others_in_the_queue_get_an_answer_each(self, frail: RunningServer) -> None:
        frail.assert_well("frail")
        with ThreadPoolExecutor(6) as pool:
            running = [pool.submit(frail.embed, "frail", "hang-now")]
            until(lambda: leases(frail, "frail") == 1)
            running += [pool.submit(frail.embed, "frail", f"text {n}") for n in range(5)]
            until(lambda: leases(frail, "frail") == 6)
            for child in frail.children():
                child.kill()
            answers = [each.result(DEADLINE_S) for each in running]
        assert answers[0].status_code == 500
        assert {answer.status_code for answer in answers} <= {200, 500}
        for answer in answers:
            if answer.status_code == 500:
                assert "frail" in ollama_error(answer, 500)
        frail.assert_well("frail")


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
