"""Vectors that are computed once for many: TURBOV2_VECTOR_CACHE, and equal inputs on their way."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tests.support.server import FAKE, MakeServer, RunningServer, ask, fake_model, loaded, metric, until
from turbov2.backends.fake import vectors_of

MODEL, SLOW = "fake-thread", "fake-slow"
SOURCES = ("computed", "cached", "joined")


@pytest.fixture(scope="module")
def caching(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    folder = tmp_path_factory.mktemp("caching")
    models = [
        fake_model(MODEL, folder, runner="thread", nan_on="NAN"),
        fake_model(SLOW, folder, runner="process", delay_s=0.2),
    ]
    with RunningServer(folder, models="\n".join(models), env={"TURBOV2_VECTOR_CACHE": "1MB"}) as server:
        yield server


def counts(server: RunningServer, model: str) -> tuple[float, ...]:
    return tuple(metric(server, "turbov2_items_total", model=model, source=source) for source in SOURCES)


def gained(server: RunningServer, model: str, before: tuple[float, ...]) -> tuple[float, ...]:
    return tuple(now - then for now, then in zip(counts(server, model), before, strict=True))


def test_a_text_seen_before_is_not_computed_again(caching: RunningServer) -> None:
    before = counts(caching, MODEL)
    texts = ["first", "second", "third"]
    first = ask(caching, "/api/embed", MODEL, texts).json()
    assert gained(caching, MODEL, before) == (3, 0, 0)
    again = ask(caching, "/api/embed", MODEL, [*reversed(texts), "fourth"]).json()
    assert gained(caching, MODEL, before) == (4, 3, 0)
    assert again["embeddings"][:3] == first["embeddings"][::-1]
    assert again["prompt_eval_count"] == 4, "what is remembered counts as usage all the same"


def test_what_is_remembered_is_the_models_own_vector(caching: RunningServer) -> None:
    ask(caching, "/api/embed", MODEL, "shapes of one text")
    before = counts(caching, MODEL)
    raw = vectors_of(["shapes of one text"])[0]
    cut = ask(caching, "/api/embed", MODEL, "shapes of one text", dimensions=3).json()["embeddings"][0]
    np.testing.assert_allclose(cut, raw[:3] / np.linalg.norm(raw[:3]), atol=1e-6)
    older = ask(caching, "/api/embeddings", MODEL, "shapes of one text").json()["embedding"]
    np.testing.assert_allclose(older, raw, atol=1e-6)
    row = ask(caching, "/v1/embeddings", MODEL, "shapes of one text").json()["data"][0]["embedding"]
    np.testing.assert_allclose(row, raw / np.linalg.norm(raw), atol=1e-6)
    assert gained(caching, MODEL, before) == (0, 3, 0)


def test_what_failed_is_not_remembered(caching: RunningServer) -> None:
    for _ in range(2):
        assert ask(caching, "/api/embed", MODEL, "a NAN").status_code == 400


def test_an_unloaded_model_forgets(caching: RunningServer) -> None:
    ask(caching, "/api/embed", MODEL, "to be forgotten")
    ask(caching, "/api/embed", MODEL, [], keep_alive=0)
    until(lambda: MODEL not in loaded(caching))
    before = counts(caching, MODEL)
    ask(caching, "/api/embed", MODEL, "to be forgotten")
    assert gained(caching, MODEL, before) == (1, 0, 0)


def test_without_a_size_nothing_is_remembered(server: RunningServer) -> None:
    ask(server, "/api/embed", FAKE, "same text")
    before = counts(server, FAKE)
    ask(server, "/api/embed", FAKE, "same text")
    assert gained(server, FAKE, before) == (1, 0, 0)


def test_a_model_with_a_cache_of_its_own_ranks_documents_again_for_nothing(
    make_server: MakeServer, tmp_path: Path
) -> None:
    table = fake_model("ranking", tmp_path, runner="thread")
    server = make_server(
        models=table.replace("dimensions = 8", "dimensions = 8\nvector_cache_bytes = 100_000")
    )
    documents = ["one", "two", "three"]
    for n_cached, query in ((0, "first query"), (3, "second query")):
        before = counts(server, "ranking")
        body = {"model": "ranking", "query": query, "documents": documents}
        assert server.http.post("/api/rerank", json=body).status_code == 200
        assert gained(server, "ranking", before) == (4 - n_cached, n_cached, 0)


def test_equal_inputs_of_one_request_are_computed_once(server: RunningServer) -> None:
    ask(server, "/api/embed", FAKE, "warm")
    before = counts(server, FAKE)
    rows = ask(server, "/api/embed", FAKE, ["a", "b", "a", "a"]).json()["embeddings"]
    assert gained(server, FAKE, before) == (2, 0, 2)
    assert rows[0] == rows[2] == rows[3] != rows[1]


def test_equal_inputs_of_several_requests_are_computed_once(caching: RunningServer) -> None:
    ask(caching, "/api/embed", SLOW, "warm")
    before = counts(caching, SLOW)
    n_batches = metric(caching, "turbov2_batches_total", model=SLOW)
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(lambda _: ask(caching, "/v1/embeddings", SLOW, "all the same"), range(8)))
    assert len({str(answer.json()["data"]) for answer in answers}) == 1
    computed, cached, joined = gained(caching, SLOW, before)
    assert (computed, cached + joined) == (1, 7)
    assert joined > 0, "they came within the first one's 0.2 s"
    assert metric(caching, "turbov2_batches_total", model=SLOW) == n_batches + 1
