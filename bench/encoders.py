"""Section `encoders`: MiniLM over HTTP, against infinity_emb over HTTP and Sentence Transformers in process.

The same weights and the same texts of mixed lengths for all, each text once a round, since servers may
remember vectors. All servers run all the time and are asked in turns; a ratio is taken within a round.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import client, infinity, library, load, minilm, processes, texts
from bench.client import Pool
from bench.machine import Neighbours, child_environment, wait_until_quiet
from bench.overload import Run, arrivals
from bench.processes import Server
from bench.stats import quantile_ms, spread

N_TEXTS = (1, 8, 32)  # a request
CONNECTIONS = 8
LOADS = (0.5, 0.8)  # of the capacity
# What is compared with what: each time the fastest of ours with the fastest of theirs.
TARGETS = (
    ("float32", ("turbov2 torch", "turbov2 onnx"), ("infinity torch", "infinity onnx"), 1.5),
    ("int8", ("turbov2 int8",), ("infinity torch", "infinity onnx"), 3.0),
    ("int8", ("turbov2 int8",), ("infinity int8",), None),
)
LIBRARY_TARGET = 0.95  # of Sentence Transformers, for the same engine
_MIN_COSINE = {"torch": 0.9999, "onnx": 0.9999, "int8": 0.97}


@dataclasses.dataclass(frozen=True)
class Contender:
    """A running server's model. `path` and `model` are how its requests name it."""

    name: str
    server: Server
    path: str
    model: str

    def body(self, batch: list[str]) -> bytes:
        """Returns the request for these texts, in OpenAI's form."""
        return json.dumps({"model": self.model, "input": batch}).encode()

    def vectors(self, batch: list[str]) -> np.ndarray:
        """Returns `[n, d]`, as the server answers."""
        status, answer = self.server.post(self.path, self.body(batch))
        if status != 200:
            raise SystemExit(f"{self.name} answered {status}: {answer!r:.300}")
        return np.array([each["embedding"] for each in json.loads(answer)["data"]])


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    n_rounds, seconds = (1, 3.0) if is_quick else (3, 5.0)
    with tempfile.TemporaryDirectory() as name, contextlib.ExitStack() as stack:
        folders = minilm.make_folders(Path(name))
        contenders = [*_ours(folders, stack), *_infinity(folders, stack)]
        _check_same(contenders)
        rounds: dict[int, list[dict[str, float]]] = defaultdict(list)
        others: list[float] = []
        for number in range(n_rounds):
            for n_texts in N_TEXTS:
                others.append(wait_until_quiet())
                batches = _batches(n_texts, number, seconds)
                print(f"round {number + 1}: {n_texts} texts a request", flush=True)
                found = {c.name: _rate(c, batches, Path(name), seconds) * n_texts for c in contenders}
                if n_texts == max(N_TEXTS):
                    found |= _library(folders["torch"], batches, Path(name), seconds)
                rounds[n_texts].append(found)
        latencies = [] if is_quick else _latencies(contenders, rounds[1])
    return {
        "settings": {"rounds": n_rounds, "connections": CONNECTIONS, "seconds": seconds,
                     "mean_tokens": _mean_tokens(), "infinity": bool(infinity.environment())},
        "rates": [_rates(n_texts, rounds[n_texts]) for n_texts in N_TEXTS],
        "ratios": [row for n_texts in N_TEXTS for row in _ratios(n_texts, rounds[n_texts])],
        "latencies": latencies,
    }  # fmt: skip


def _ours(folders: Mapping[str, Path], stack: contextlib.ExitStack) -> Iterator[Contender]:
    """Yields our engines, models of one server."""
    home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
    (home / "models.toml").write_text("\n".join(_table(engine, folders[engine]) for engine in minilm.ENGINES))
    port = processes.free_port()
    environment = child_environment(
        HOST="127.0.0.1", PORT=str(port), TURBOV2_HOME=str(home), TURBOV2_PRELOAD=",".join(minilm.ENGINES)
    )
    server = stack.enter_context(processes.running(processes.turbov2_command(), port, environment))
    for engine in minilm.ENGINES:
        yield Contender(f"turbov2 {engine}", server, "/v1/embeddings", engine)


def _table(engine: str, folder: Path) -> str:
    backend = "sentence" if engine == "torch" else "onnx"
    return f'[models."{engine}"]\ncapability = "embed"\nbackend = "{backend}"\nrunner = "process"\n' \
           f'[models."{engine}".weights]\nkind = "path"\npath = "{folder}"\n'  # fmt: skip


def _infinity(folders: Mapping[str, Path], stack: contextlib.ExitStack) -> Iterator[Contender]:
    """Yields Infinity's engines, a server each; none where Infinity is not installed."""
    if infinity.environment() is None:
        return
    for engine in minilm.ENGINES:
        server = stack.enter_context(infinity.serving(folders[engine], engine))
        yield Contender(f"infinity {engine}", server, "/embeddings", "minilm")


def _check_same(contenders: list[Contender]) -> None:
    """Raises: SystemExit when one gives other vectors than the first."""
    batch = texts.mixed(8, 1).batches[0]
    due = contenders[0].vectors(batch)
    for contender in contenders:
        got = contender.vectors(batch)
        cosine = ((got * due).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(due, axis=1)).min()
        if cosine < _MIN_COSINE[contender.name.split()[1]]:
            raise SystemExit(f"{contender.name} gives other vectors: cosine {cosine:.4f}")


def _batches(n_texts: int, number: int, seconds: float) -> list[list[str]]:
    """Returns requests of round `number`, texts that no other round has: more than anyone does in time."""
    part = 1 + 10 * number + N_TEXTS.index(n_texts)
    return texts.mixed(n_texts, round(1_500 * seconds / n_texts), part).batches


def _rate(contender: Contender, batches: list[list[str]], folder: Path, seconds: float) -> float:
    """Returns requests a second."""
    file = folder / "encoder.requests"
    load.write_requests(file, contender.path, [contender.body(batch) for batch in batches])
    with Neighbours(contender.server.process):
        found = processes.load(
            contender.server.port, file, connections=CONNECTIONS, seconds=seconds, warm_s=0.5, repeats=False
        )
    return float(found["requests_per_s"])


def _library(folder: Path, batches: list[list[str]], scratch: Path, seconds: float) -> dict[str, float]:
    """Returns texts a second of each way to run the library."""
    file = scratch / "encoder.batches"
    file.write_text(json.dumps(batches))
    return {
        f"library, {name}": library.measure(folder, file, seconds, policy, n_joined)
        for name, policy, n_joined in library.WAYS
    }


def _latencies(contenders: list[Contender], rounds: list[dict[str, float]]) -> list[dict[str, Any]]:
    """Returns p50 and p99 of single texts at shares of each server's own capacity."""
    rows = []
    for contender in contenders:
        capacity = spread([found[contender.name] for found in rounds])["median"]
        for part, share in enumerate(LOADS, 100):
            rows.append({"name": contender.name, "share": share, "per_s": round(capacity * share, 1),
                         **client.run(_open_loop(contender, capacity * share, 12.0, part))})  # fmt: skip
    return rows


async def _open_loop(contender: Contender, per_s: float, seconds: float, part: int) -> dict[str, Any]:
    due_s = arrivals(per_s, seconds)
    batches = texts.mixed(1, len(due_s), part).batches
    requests = [load.encode_request(contender.path, contender.body(batch)) for batch in batches]
    pool = Pool(contender.server.port)
    await pool.open(64)
    ended = await Run(pool, requests).offer(due_s)
    pool.close()
    answered = [each.latency_s for each in ended if each.end == "answered"]
    return {"p50_ms": quantile_ms(answered, 0.5), "p99_ms": quantile_ms(answered, 0.99),
            "not_answered": len(ended) - len(answered)}  # fmt: skip


def _rates(n_texts: int, rounds: list[dict[str, float]]) -> dict[str, Any]:
    return {"n_texts": n_texts} | {name: spread([found[name] for found in rounds]) for name in rounds[0]}


def _ratios(n_texts: int, rounds: list[dict[str, float]]) -> Iterator[dict[str, Any]]:
    """Yields the fastest of ours by the fastest of theirs, fastest by the median over the rounds."""
    libraries = tuple(name for name in rounds[0] if name.startswith("library"))
    for kind, ours, theirs, target in (*TARGETS, ("torch", ("turbov2 torch",), libraries, LIBRARY_TARGET)):
        present = [name for name in theirs if name in rounds[0]]
        if not present:
            continue
        first, second = (max(names, key=lambda n: spread([r[n] for r in rounds])["median"])
                         for names in (ours, present))  # fmt: skip
        ratio = spread([found[first] / found[second] for found in rounds])
        met = None if target is None else ratio["median"] >= target
        yield {"n_texts": n_texts, "kind": kind, "ours": first, "theirs": second, "ratio": ratio,
               "target": target, "met": met}  # fmt: skip


def _mean_tokens() -> float:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(minilm.files()["tokenizer.json"])
    tokenizer.no_padding()
    rows = tokenizer.encode_batch_fast([text for b in texts.mixed(32, 16).batches for text in b])
    return round(float(np.mean([len(row.ids) for row in rows])), 1)
