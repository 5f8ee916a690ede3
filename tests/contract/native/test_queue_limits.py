"""Full queues: 429 or 503 with a time to come back, 400 for what could never fit."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest

from tests.support.server import (
    RunningServer,
    ask,
    busy,
    error_text,
    fake_model,
    metric,
    ollama_error,
    openai_error,
    until,
)

SLOW, OTHER = "fake-slow", "fake-other"  # 0.16 s for a text of eight words
ITEMS, TOTAL_ITEMS = 40, 60
CHARS, TOTAL_CHARS = 5_000, 7_000
PATHS = ["/api/embed", "/v1/embeddings"]


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("narrow")
    models = [
        fake_model(name, folder, runner="thread", max_tokens=8, delay_s_per_token=0.02)
        for name in (SLOW, OTHER)
    ]
    env = {
        "TURBOV2_MAX_QUEUE": str(ITEMS),
        "TURBOV2_MAX_TOTAL_QUEUE": str(TOTAL_ITEMS),
        "TURBOV2_MAX_QUEUE_BYTES": str(CHARS),
        "TURBOV2_MAX_TOTAL_QUEUE_BYTES": str(TOTAL_CHARS),
        "TURBOV2_PRELOAD": f"{SLOW},{OTHER}",
    }
    with RunningServer(folder, models="\n".join(models), env=env) as server:
        yield server


def texts(n: int, n_chars: int = 0) -> list[str]:
    return [f"{number} two three four five six seven eight ".ljust(n_chars, ".") for number in range(n)]


def test_openais_clients_are_told_429_and_when_to_come_back(narrow: RunningServer) -> None:
    with busy(narrow, SLOW, texts(ITEMS), for_s=1.0):
        answer = ask(narrow, "/v1/embeddings", SLOW, "one more")
    error = openai_error(answer, 429)
    assert (error["type"], error["code"]) == ("rate_limit_error", "queue_full")
    assert error["message"] == (
        f"{ITEMS} inputs already wait for model '{SLOW}' and this request has 1, the limit is {ITEMS} "
        "(TURBOV2_MAX_QUEUE); send it again later"
    )
    assert 1 <= int(answer.headers["retry-after"]) <= 60


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings"])
def test_ollamas_clients_are_told_503_and_when_to_come_back(narrow: RunningServer, path: str) -> None:
    with busy(narrow, SLOW, texts(ITEMS), for_s=1.0):
        answer = ask(narrow, path, SLOW, "one more")
    assert "(TURBOV2_MAX_QUEUE); send it again later" in ollama_error(answer, 503)
    assert 1 <= int(answer.headers["retry-after"]) <= 60
    assert "x-should-retry" not in answer.headers


def test_a_refusal_is_quick_costs_nothing_and_ends_with_the_crowd(narrow: RunningServer) -> None:
    refused = {"model": SLOW, "outcome": "refused", "error": "queue_full"}
    before = metric(narrow, "turbov2_requests_ended_total", **refused)
    with busy(narrow, SLOW, texts(ITEMS), for_s=4.0):
        began_s = time.monotonic()
        for path in PATHS * 5:
            assert ask(narrow, path, SLOW, texts(2)).status_code in (429, 503)
        assert time.monotonic() - began_s < 3.2
        assert ask(narrow, "/api/embed", OTHER, "x").status_code == 200, "others' queues are their own"
    assert metric(narrow, "turbov2_requests_ended_total", **refused) == before + 10
    assert ask(narrow, "/v1/embeddings", SLOW, "x").status_code == 200


def test_all_models_together_have_a_limit(narrow: RunningServer) -> None:
    n = TOTAL_ITEMS // 2
    with busy(narrow, SLOW, texts(n), for_s=1.5), busy(narrow, OTHER, texts(n), for_s=1.2):
        for path, status in (("/api/embed", 503), ("/v1/embeddings", 429)):
            answer = ask(narrow, path, OTHER, "x")
            told = error_text(path, answer, status)
            assert f"{TOTAL_ITEMS} inputs already wait for all models" in told
            assert "(TURBOV2_MAX_TOTAL_QUEUE)" in told
            assert int(answer.headers["retry-after"]) >= 1


def test_bytes_are_counted_as_well(narrow: RunningServer) -> None:
    with busy(narrow, SLOW, texts(20, 200), for_s=1.0):
        answer = ask(narrow, "/v1/embeddings", SLOW, "x" * 1_500)
    told = error_text("/v1/embeddings", answer, 429)
    assert told.startswith(f"4000 bytes already wait for model '{SLOW}' and this request has 1500")
    assert "(TURBOV2_MAX_QUEUE_BYTES)" in told


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        (texts(ITEMS + 1), (f"{ITEMS + 1} inputs", f"at most {ITEMS} may", "(TURBOV2_MAX_QUEUE)")),
        (["x" * (CHARS + 1)], (f"{CHARS + 1} bytes", f"at most {CHARS} may", "(TURBOV2_MAX_QUEUE_BYTES)")),
        (texts(TOTAL_ITEMS + 1), (f"{TOTAL_ITEMS + 1} inputs", "(TURBOV2_MAX_QUEUE)")),
    ],
)
def test_what_could_never_fit_is_a_mistake_that_names_the_setting(
    narrow: RunningServer, path: str, inputs: list[str], says: tuple[str, ...]
) -> None:
    answer = ask(narrow, path, SLOW, inputs)
    told = error_text(path, answer, 400)
    assert all(part in told for part in (*says, "send it in smaller parts")), told
    assert "retry-after" not in answer.headers
    if path == "/v1/embeddings":
        assert answer.json()["error"]["param"] == "input"


def test_the_limit_itself_is_allowed(narrow: RunningServer) -> None:
    assert len(ask(narrow, "/api/embed", SLOW, ["x"] * ITEMS).json()["embeddings"]) == ITEMS


def test_a_client_that_leaves_gives_its_places_back(narrow: RunningServer) -> None:
    with narrow.connect() as connection:
        body = b'{"model":"%b","input":%b}' % (SLOW.encode(), str(texts(ITEMS)).replace("'", '"').encode())
        connection.sendall(
            b"POST /api/embed HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        )
        until(lambda: ask(narrow, "/v1/embeddings", SLOW, "x").status_code == 429)
    until(lambda: ask(narrow, "/v1/embeddings", SLOW, "x").status_code == 200, 1.0)
