"""Bodies and limits: each has its answer, and the next request works."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import httpx
import psutil
import pytest

from tests.support.server import (
    INLINE,
    REAL,
    RunningServer,
    assert_clean,
    error_text,
    fake_model,
    ollama_error,
    send_raw,
)

pytestmark = pytest.mark.usefixtures("the_next_request_works")
MB = 1_000_000
PATHS = ("/api/embed", "/v1/embeddings")


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
