"""Section `encoders`: MiniLM over HTTP, against infinity_emb over HTTP and Sentence Transformers in process.

The same weights and the same texts of mixed lengths for all, each text once, since servers may remember
vectors. In each round the servers run one after the other, because idle ones take time as well; a ratio is
taken within a round.
"""

from __future__ import annotations

import dataclasses
import json
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench import client, encoder_servers, infinity, library, load, minilm, processes, texts
from bench.client import Pool
from bench.encoder_servers import Contender
from bench.machine import wait_until_quiet
from bench.overload import Run, arrivals
from bench.stats import quantile_ms, spread

CONNECTIONS = 8
LOADS = (0.5, 0.8)  # of the capacity
_MIN_COSINE = {"int8": 0.97}  # of anyone's vector with our torch's; else 0.9999
_MAX_SCORE_DIFFERENCE = 1e-4


@dataclasses.dataclass(frozen=True)
class Shape:
    """What a request holds: `n` texts, or a query and `n` documents."""

    name: str
    n: int
    engines: tuple[str, ...] = minilm.ENGINES

    @property
    def n_texts(self) -> int:
        """Texts of a request, the query included."""
        return self.n + (self.engines == minilm.PAIR_ENGINES)


SHAPES = (Shape("1 text", 1), Shape("8 texts", 8), Shape("32 texts", 32),
          Shape("16 pairs", 16, minilm.PAIR_ENGINES))  # fmt: skip
# The fastest of ours with the fastest of theirs; of the library, the fastest way to call it.
_FP32, _PAIRS = ("torch", "onnx"), minilm.PAIR_ENGINES
TARGETS = (
    ("float32", _FP32, "infinity", _FP32, 1.5),
    ("INT8", ("int8",), "infinity", _FP32, 3.0),
    ("INT8", ("int8",), "infinity", ("int8",), None),
    ("torch", ("torch",), "library", (), 0.95),
    ("pairs, float32", _PAIRS, "infinity", _PAIRS, 1.5),
    ("pairs, torch", ("pairs-torch",), "library", (), 0.95),
)
Rates = dict[str, dict[str, float]]  # shape -> contender -> texts or pairs a second


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    n_rounds, seconds = (1, 3.0) if is_quick else (3, 5.0)
    with tempfile.TemporaryDirectory() as name:
        scratch = Path(name)
        engines = (*minilm.ENGINES, *minilm.PAIR_ENGINES)
        folders = {engine: minilm.make_folder(scratch / engine, engine) for engine in engines}
        rounds = [_round(number, folders, scratch, seconds) for number in range(n_rounds)]
        latencies = [] if is_quick else _latencies(folders, rounds)
    return {
        "settings": {
            "rounds": n_rounds,
            "connections": CONNECTIONS,
            "seconds": seconds,
            "mean_tokens": _mean_tokens(),
            "infinity": infinity.environment() is not None,
        },
        "rates": [{"shape": shape.name} | _spreads(rounds, shape.name) for shape in SHAPES],
        "ratios": [row for shape in SHAPES for row in _ratios(shape.name, rounds)],
        "latencies": latencies,
    }


def _round(number: int, folders: Mapping[str, Path], scratch: Path, seconds: float) -> Rates:
    rates: Rates = defaultdict(dict)
    due: dict[bool, NDArray[np.float64]] = {}
    for group in encoder_servers.groups(folders):
        with group as contenders:
            for contender in contenders:
                wait_until_quiet()
                print(f"round {number + 1}: {contender.name}", flush=True)
                _check_same(contender, due)
                for place, shape in enumerate(SHAPES):
                    if contender.engine in shape.engines:
                        batches = _batches(shape, 1 + 10 * number + place, seconds)
                        rates[shape.name][contender.name] = _rate(contender, shape, batches, scratch, seconds)
    for place, shape in enumerate(SHAPES[-2:], len(SHAPES) - 2):
        batches = _batches(shape, 1 + 10 * number + place, seconds)
        rates[shape.name] |= _library(shape, folders[shape.engines[0]], batches, scratch, seconds)
    return rates


def _check_same(contender: Contender, due: dict[bool, NDArray[np.float64]]) -> None:
    """Raises: SystemExit when the contender computes something else than the first of its kind."""
    is_pairs = contender.engine in minilm.PAIR_ENGINES
    got = contender.rows(texts.mixed(8, 1).batches[0])
    first = due.setdefault(is_pairs, got)
    if is_pairs:
        is_same = np.abs(got - first).max() <= _MAX_SCORE_DIFFERENCE
    else:
        cosines = (got * first).sum(1) / np.linalg.norm(got, axis=1) / np.linalg.norm(first, axis=1)
        is_same = cosines.min() >= _MIN_COSINE.get(contender.engine, 0.9999)
    if not is_same:
        raise SystemExit(f"{contender.name} computes something else: {got[:, :3]} in place of {first[:, :3]}")


def _batches(shape: Shape, part: int, seconds: float) -> list[list[str]]:
    """Returns requests whose texts no other part has: more than anyone does in time."""
    return texts.mixed(shape.n_texts, round(1_200 * seconds / shape.n), part).batches


def _rate(c: Contender, shape: Shape, batches: list[list[str]], scratch: Path, seconds: float) -> float:
    """Returns texts or pairs a second."""
    file = scratch / "encoder.requests"
    load.write_requests(file, c.path, [c.body(batch) for batch in batches])
    found = processes.load(
        c.server.port, file, connections=CONNECTIONS, seconds=seconds, warm_s=0.5, repeats=False
    )
    return float(found["requests_per_s"]) * shape.n


def _library(
    shape: Shape, folder: Path, batches: list[list[str]], scratch: Path, seconds: float
) -> dict[str, float]:
    """Returns texts or pairs a second of each way to run the library."""
    file = scratch / "encoder.batches"
    file.write_text(json.dumps(batches))
    kind = "pairs" if shape.engines == minilm.PAIR_ENGINES else "texts"
    return {
        f"library, {name}": library.measure(kind, folder, file, seconds, policy, n_joined)
        for name, policy, n_joined in library.WAYS
    }


def _latencies(folders: Mapping[str, Path], rounds: list[Rates]) -> list[dict[str, Any]]:
    """Returns p50 and p99 of single texts at shares of each server's own capacity."""
    capacities = _spreads(rounds, SHAPES[0].name)
    rows = []
    for group in encoder_servers.groups({engine: folders[engine] for engine in minilm.ENGINES}):
        with group as contenders:
            for contender in contenders:
                for part, share in enumerate(LOADS, 100):
                    per_s = capacities[contender.name]["median"] * share
                    found = client.run(_open_loop(contender, per_s, 15.0, part))
                    rows.append({"name": contender.name, "share": share, "per_s": round(per_s, 1), **found})
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
    return {
        "p50_ms": quantile_ms(answered, 0.5),
        "p99_ms": quantile_ms(answered, 0.99),
        "not_answered": len(ended) - len(answered),
    }


def _spreads(rounds: list[Rates], shape: str) -> dict[str, dict[str, float]]:
    return {name: spread([found[shape][name] for found in rounds]) for name in rounds[0][shape]}


def _ratios(shape: str, rounds: list[Rates]) -> Iterator[dict[str, Any]]:
    """Yields the fastest of ours by the fastest of theirs, fastest by the median over the rounds."""
    medians = {name: found["median"] for name, found in _spreads(rounds, shape).items()}
    for kind, ours, rival, engines, target in TARGETS:
        mine = [name for engine in ours if (name := f"turbov2 {engine}") in medians]
        theirs = [
            name
            for name in medians
            if name.startswith(rival) and (not engines or name.partition(" ")[2] in engines)
        ]
        if not mine or not theirs:
            continue
        first, second = (max(names, key=lambda name: medians[name]) for names in (mine, theirs))
        ratio = spread([found[shape][first] / found[shape][second] for found in rounds])
        met = None if target is None else ratio["median"] >= target
        yield {"shape": shape, "kind": kind, "ours": first, "theirs": second, "ratio": ratio,
               "target": target, "met": met}  # fmt: skip


def _mean_tokens() -> float:
    tokenizer = Tokenizer.from_file(minilm.files()["tokenizer.json"])
    tokenizer.no_padding()
    rows = tokenizer.encode_batch_fast([text for batch in texts.mixed(32, 16).batches for text in batch])
    return round(float(np.mean([len(row.ids) for row in rows])), 1)
