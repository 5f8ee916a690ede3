"""X-Lane and X-Request-Timeout: what a request says about how long it may wait, and behind whom."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx
import pytest

from tests.support.server import (
    INLINE,
    RunningServer,
    ask,
    busy,
    error_text,
    fake_model,
    leases,
    loaded,
    metric,
    read_response,
    until,
)

PATHS = ["/api/embed", "/api/embeddings", "/v1/embeddings"]
SLOW = "fake-slow"  # 0.16 s for a text of eight words, one text a forward
LOADS = "fake-loads"  # takes a while to load
LATE_S = 0.5  # the most that stopping may take on top of the limit, on a busy machine


@pytest.fixture(scope="module")
def slow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("slow")
    models = [
        fake_model(SLOW, folder, runner="process", max_tokens=8, delay_s_per_token=0.02),
        fake_model(LOADS, folder, runner="thread", load_delay_s=1.5),
        fake_model(INLINE, folder),
    ]
    with RunningServer(folder, models="\n".join(models)) as server:
        server.assert_well(SLOW)
        yield server


def texts(n: int) -> list[str]:
    return [f"{number} two three four five six seven eight" for number in range(n)]


def assert_nothing_waits(server: RunningServer, model: str) -> None:
    until(lambda: not metric(server, "turbov2_queue_items", model=model), 1.0)
    for name in ("turbov2_queue_tokens", "turbov2_queue_bytes", "turbov2_requests_in_flight"):
        assert metric(server, name, model=model) == 0, name
    assert leases(server, model) == 0


# Lanes


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lane", ["express", "bulk,default", "0", "défaut"])
def test_an_unknown_lane_is_refused_and_the_lanes_are_named(
    slow: RunningServer, path: str, lane: str
) -> None:
    answer = ask(slow, path, INLINE, "x", {"X-Lane": lane.encode("latin-1")})  # type: ignore[dict-item]
    told = error_text(path, answer, 400)
    assert told == f"X-Lane is '{lane}', expected one of interactive, default, bulk"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("lane", ["interactive", "default", "bulk", "BULK", "Default"])
def test_a_lane_is_taken_as_asked(slow: RunningServer, path: str, lane: str) -> None:
    name = lane.lower()
    before = metric(slow, "turbov2_requests_accepted_total", model=INLINE, lane=name)
    assert ask(slow, path, INLINE, "x", {"X-Lane": lane}).status_code == 200
    assert metric(slow, "turbov2_requests_accepted_total", model=INLINE, lane=name) == before + 1


@pytest.mark.parametrize(("n", "lane"), [(8, "interactive"), (9, "default"), (64, "bulk")])
def test_without_a_lane_the_size_decides(slow: RunningServer, n: int, lane: str) -> None:
    before = metric(slow, "turbov2_requests_accepted_total", model=INLINE, lane=lane)
    assert ask(slow, "/v1/embeddings", INLINE, texts(n)).status_code == 200
    assert metric(slow, "turbov2_requests_accepted_total", model=INLINE, lane=lane) == before + 1


def test_interactive_requests_do_not_wait_for_a_bulk_one(slow: RunningServer) -> None:
    with busy(slow, SLOW, texts(100), for_s=2.0):
        began_s = time.monotonic()
        assert ask(slow, "/api/embed", SLOW, "hello", {"X-Lane": "interactive"}).status_code == 200
        assert time.monotonic() - began_s < 1.5, "the bulk one takes 16 s"
        assert leases(slow, SLOW) == 1, "the bulk one is still there"


# Deadlines


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("value", ["abc", "0", "0s", "-1", "-5s", "inf", "nan", "1e3", "5 minutes", "١"])
def test_a_time_limit_that_is_none_is_refused(slow: RunningServer, path: str, value: str) -> None:
    answer = ask(slow, path, INLINE, "x", {"X-Request-Timeout": value.encode()})  # type: ignore[dict-item]
    told = error_text(path, answer, 400)
    assert told.startswith("X-Request-Timeout is '")
    assert told.endswith("expected seconds such as 30 or 500ms")


@pytest.mark.parametrize("value", ["30", "2.5", "800ms", "1m", "1h30m"])
def test_a_time_limit_that_is_kept_changes_nothing(slow: RunningServer, value: str) -> None:
    assert ask(slow, "/api/embed", INLINE, "x", {"X-Request-Timeout": value}).status_code == 200


@pytest.mark.parametrize("path", PATHS)
def test_a_request_that_takes_too_long_ends_at_its_limit(slow: RunningServer, path: str) -> None:
    with busy(slow, SLOW, texts(100), for_s=1.5):
        if path == "/api/embeddings":  # one text, none of the others', which takes 0.16 s
            assert_expires(slow, path, SLOW, texts(101)[-1], "100ms", 0.1)
        else:
            assert_expires(slow, path, SLOW, texts(50), "0.3", 0.3)
    assert_nothing_waits(slow, SLOW)
    began_s = time.monotonic()
    assert ask(slow, path, SLOW, "next").status_code == 200
    assert time.monotonic() - began_s < 1.0, "nothing of those that expired was in its way"


@pytest.mark.parametrize("path", PATHS)
def test_a_request_that_waits_for_a_load_ends_at_its_limit(slow: RunningServer, path: str) -> None:
    slow.http.post("/api/embed", json={"model": LOADS, "keep_alive": 0})
    until(lambda: LOADS not in loaded(slow))
    assert_expires(slow, path, LOADS, "x", "300ms", 0.3)
    assert ask(slow, path, LOADS, "x").status_code == 200, "the load goes on, or begins anew"
    assert_nothing_waits(slow, LOADS)


def test_a_body_that_does_not_come_in_time_ends_at_the_limit(slow: RunningServer) -> None:
    with slow.connect() as connection:
        began_s = time.monotonic()
        connection.sendall(
            b"POST /api/embed HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\nx-request-timeout: 0.3\r\n\r\n{"
        )
        told = error_text("/api/embed", read_response(connection), 504)
        assert 0.3 <= time.monotonic() - began_s < 0.3 + LATE_S
        assert "time limit" in told
    slow.assert_well(INLINE)


def test_those_that_expire_are_counted_as_such(slow: RunningServer) -> None:
    labels = {"model": SLOW, "outcome": "expired", "error": "deadline_exceeded"}
    before = metric(slow, "turbov2_requests_ended_total", **labels)
    assert_expires(slow, "/v1/embeddings", SLOW, texts(50), "0.3", 0.3)
    assert metric(slow, "turbov2_requests_ended_total", **labels) == before + 1


@pytest.mark.parametrize(("header", "limit_s"), [(None, 0.4), ("10", 0.4), ("0.2", 0.2)])
def test_the_shorter_of_header_and_setting_counts(
    limited: RunningServer, header: str | None, limit_s: float
) -> None:
    assert_expires(limited, "/api/embed", SLOW, texts(50), header, limit_s)
    limited.assert_well(INLINE)


@pytest.fixture(scope="module")
def limited(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("limited")
    models = fake_model(SLOW, folder, runner="thread", max_tokens=8, delay_s_per_token=0.02)
    env = {"TURBOV2_REQUEST_TIMEOUT": "400ms", "TURBOV2_PRELOAD": SLOW}
    with RunningServer(folder, models=models + fake_model(INLINE, folder), env=env) as server:
        yield server


def assert_expires(
    server: RunningServer, path: str, model: str, inputs: str | list[str], header: str | None, limit_s: float
) -> httpx.Response:
    """Raises: AssertionError unless the request is answered 504 at its limit, in its family's shape."""
    headers = {} if header is None else {"X-Request-Timeout": header}
    began_s = time.monotonic()
    answer = ask(server, path, model, inputs, headers)
    taken_s = time.monotonic() - began_s
    told = error_text(path, answer, 504)
    assert told == "the request's time limit passed before it was done, and it was stopped"
    assert limit_s <= taken_s < limit_s + LATE_S
    assert answer.headers["x-should-retry"] == "false", "what expired once would expire again"
    if path == "/v1/embeddings":
        error = answer.json()["error"]
        assert (error["type"], error["code"]) == ("server_error", "deadline_exceeded")
    return answer
