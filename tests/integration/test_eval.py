"""`turbov2 eval` against a running server, and against a peer that speaks the reranking route."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest
from typer.testing import CliRunner, Result

from tests.support.server import REAL, Embed, RunningServer
from turbov2.cli import app
from turbov2.recipes.metrics import estimate, rank, score_rankings

DOCUMENTS = [
    "apt install fetches a package and what it depends on",
    "the kernel loads modules with modprobe",
    "cats sleep for most of the day",
    "a mail server hands messages on by SMTP",
    "partitions are made with fdisk or parted",
    "a shell reads commands and runs programs",
    "printers are set up in CUPS",
    "the clock is set from servers by NTP",
    "fonts are found by fontconfig",
    "text is edited with vim or emacs",
    "dpkg -i installs a file that was downloaded",
    "backups are worth nothing until restored",
]
QUERIES = {
    "how do I install a package": [0, 10],
    "loading drivers": [1],
    "setting the time": [7],
    "e-mail": [3],
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    lines: list[dict[str, object]] = [{"id": str(n), "text": text} for n, text in enumerate(DOCUMENTS)]
    lines += [{"query": query, "positives": [str(n) for n in wanted]} for query, wanted in QUERIES.items()]
    path = tmp_path / "set.jsonl"
    path.write_bytes(b"\n".join(map(orjson.dumps, lines)))
    return path


def run(data: Path, url: str, *options: str, model: str = REAL) -> Result:
    return CliRunner().invoke(app, ["eval", model, "--data", str(data), "--url", url, *options])


class _Reranker(BaseHTTPRequestHandler):
    """Scores a document by the words it shares with the query; /api/embed has one vector for all."""

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer = self._rerank(body) if self.path == "/api/rerank" else self._embed(body)
        text = json.dumps(answer).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def _embed(self, body: dict[str, Any]) -> dict[str, Any]:
        assert body["input_type"] in ("document", "query")
        return {"model": body["model"], "embeddings": [[1.0, 0.0]] * len(body["input"])}

    def _rerank(self, body: dict[str, Any]) -> dict[str, Any]:
        wanted = set(body["query"].split())
        scores = [len(wanted & set(text.split())) for text in body["documents"]]
        order = sorted(range(len(scores)), key=lambda index: scores[index])  # worst first: ours has to sort
        results = [{"index": index, "relevance_score": scores[index]} for index in order]
        return {"results": results[: 1 if body["model"] == "forgetful" else body["top_k"]]}

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""


@pytest.fixture
def peer() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), _Reranker) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


def test_the_numbers_are_those_of_the_vectors(server: RunningServer, unit_vectors: Embed, data: Path) -> None:
    result = run(data, server.base_url, "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)
    vectors = unit_vectors([*DOCUMENTS, *QUERIES])
    documents, queries = vectors[: len(DOCUMENTS)], vectors[len(DOCUMENTS) :]
    positives = [frozenset(wanted) for wanted in QUERIES.values()]
    scored = score_rankings(rank(queries @ documents.T, 10), positives)
    assert told["model"] == REAL
    assert told["reranker"] is None
    assert (told["result"]["n_documents"], told["result"]["n_queries"]) == (len(DOCUMENTS), len(QUERIES))
    for metric, values in scored.items():
        found = told["result"]["quality"][metric]
        wanted = estimate(values)
        np.testing.assert_allclose(
            [found["mean"], found["low"], found["high"]], [wanted.mean, wanted.low, wanted.high]
        )


def test_the_table_and_the_plot(server: RunningServer, data: Path, tmp_path: Path) -> None:
    plot = tmp_path / "quality.png"
    result = run(data, server.base_url, "--plot", str(plot))
    assert result.exit_code == 0, result.stderr
    assert [line.split()[0] for line in result.stdout.splitlines()] == [
        "METRIC",
        "nDCG@10",
        "recall@1",
        "recall@10",
        "MRR@10",
    ]
    assert "4 queries over 12 documents" in result.stderr
    assert plot.read_bytes().startswith(b"\x89PNG")


def test_reranking_is_asked_for_and_measured(peer: str, data: Path) -> None:
    result = run(data, peer, "--rerank", "words", "--depth", "12", "--json")
    assert result.exit_code == 0, result.stderr
    told = json.loads(result.stdout)["result"]
    # All cosines are equal, so the first stage ranks by index.
    assert told["quality"]["recall@1"]["mean"] == pytest.approx(0.5 / 4)
    by_words = [_best_first(query) for query in QUERIES]
    scored = score_rankings(by_words, [frozenset(wanted) for wanted in QUERIES.values()])
    assert told["reranked"]["nDCG@10"]["mean"] == pytest.approx(scored["nDCG@10"].mean())
    change = told["reranked"]["MRR@10"]["mean"] - told["quality"]["MRR@10"]["mean"]
    assert told["gain"]["MRR@10"]["mean"] == pytest.approx(change)


def _best_first(query: str) -> list[int]:
    wanted = set(query.split())
    scores = [len(wanted & set(text.split())) for text in DOCUMENTS]
    worst_first = sorted(range(len(scores)), key=lambda index: scores[index])
    return sorted(worst_first, key=lambda index: -scores[index])


def test_errors_are_told_in_a_line(server: RunningServer, peer: str, data: Path, tmp_path: Path) -> None:
    empty = tmp_path / "empty.jsonl"
    empty.write_text("")
    for result, complaint in (
        (run(empty, server.base_url), "needs documents and queries"),
        (run(tmp_path / "none.jsonl", server.base_url), "No such file"),
        (run(data, server.base_url, model="nonesuch"), "404"),
        (run(data, "http://127.0.0.1:9"), "127.0.0.1:9"),
        (run(data, peer, "--rerank", "forgetful"), "one score a document"),
    ):
        assert result.exit_code == 1, complaint
        assert complaint in result.stderr
        assert "Traceback" not in result.stderr
