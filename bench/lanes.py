"""Section `lanes`: what an ingest of 100,000 texts does to the latency of single short texts.

In each round a fresh server, so that words are new to it: first only the interactive client, then the ingest
beside it. Both clients and the server share the machine's cores.
"""

from __future__ import annotations

import contextlib
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import fleet, load, texts
from bench.machine import ROOT, child_environment
from bench.processes import Server
from bench.stats import quantile_ms, spread

RATIO_TARGET = 3.0
_N_CONNECTIONS = 4
_TOKENS_OF_SHORT, _TOKENS_OF_BULK = 16, 78  # about 8 and 40 words
_SECONDS_TO_WARM = 1.0


@dataclasses.dataclass(frozen=True)
class Contender:
    """A way to run a model. `max_seconds`: the ingest is cut where it would take an hour."""

    model: str
    requests_per_s: float  # of the interactive client
    max_seconds: float = 300.0


CONTENDERS = (
    Contender(fleet.WORDLLAMA, 100),
    Contender(fleet.WORDLLAMA_PROCESS, 100),
    Contender(fleet.ENCODER.name, 25, max_seconds=30),
)


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is done: `sizes` are the ingest's requests in the order they are sent."""

    n_rounds: int
    idle_s: float
    sizes: Sequence[int]
    most_s: float


_FULL = Work(3, 10, [30_000, *[1_000, *[100] * 13] * 30, *[100] * 10], most_s=300)
_QUICK = Work(1, 1.5, [2_000, *[100] * 20], most_s=2)


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    work = _QUICK if is_quick else _FULL
    workload = texts.fresh(_TOKENS_OF_BULK, sum(work.sizes), 1)
    rows = [_contender(contender, work, workload.batches[0]) for contender in CONTENDERS]
    problems = [f"{row['model']}: {row['lost']} requests without an answer" for row in rows if row["lost"]]
    if not is_quick:
        problems += [f"{r['model']}: p99 is {r['ratio']['median']} times idle" for r in rows if not r["met"]]
    return {
        "settings": {"connections": _N_CONNECTIONS, "n_texts": sum(work.sizes), "rounds": work.n_rounds},
        "target": RATIO_TARGET,
        "contenders": rows,
        "problems": problems,
    }


def _contender(contender: Contender, work: Work, bulk: list[str]) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write_requests(contender.model, work, bulk, folder)
        rounds = [_round(contender, work, folder) for _ in range(work.n_rounds)]
    ratio = spread([entry["ingest"]["p99_ms"] / entry["idle"]["p99_ms"] for entry in rounds])
    return {
        "model": contender.model,
        "requests_per_s": contender.requests_per_s,
        "rounds": rounds,
        "ratio": ratio,
        "met": ratio["median"] <= RATIO_TARGET,
        "texts_per_s": spread([entry["texts_per_s"] for entry in rounds]),
        "refused": sum(entry["refused"] for entry in rounds),
        "lost": sum(entry["lost"] for entry in rounds),
    }


def _write_requests(model: str, work: Work, bulk: list[str], folder: Path) -> None:
    short = texts.known(_TOKENS_OF_SHORT, 1, 256)
    cuts = [sum(work.sizes[:number]) for number in range(len(work.sizes) + 1)]
    batches = {
        "interactive": short.batches,
        "ingest": [bulk[a:b] for a, b in zip(cuts, cuts[1:], strict=False)],
    }
    for client, listed in batches.items():
        bodies = [msgspec.json.encode({"model": model, "input": batch}) for batch in listed]
        load.write_requests(folder / client, "/api/embed", bodies)


def _round(contender: Contender, work: Work, folder: Path) -> dict[str, Any]:
    with fleet.serving([fleet.ENCODER], PRELOAD=contender.model) as server:
        rate = {"requests_per_s": contender.requests_per_s}
        with client("interactive", server, folder, **rate) as interactive:
            time.sleep(_SECONDS_TO_WARM)
            begin_s = time.monotonic()
            time.sleep(work.idle_s)
            limit_s = min(contender.max_seconds, work.most_s)
            sizes: dict[str, Any] = {"n_connections": _N_CONNECTIONS, "n_texts": work.sizes}
            with client("ingest", server, folder, seconds=limit_s, **sizes) as ingest:
                sent = said(ingest)
            interactive.terminate()
            heard = said(interactive)
    return {
        "idle": latency(heard["taken"], begin_s, begin_s + work.idle_s),
        "ingest": latency(heard["taken"], sent["begin_s"], sent["end_s"]),
        "ingest_s": round(sent["end_s"] - sent["begin_s"], 2),
        "texts_per_s": sent.get("texts", 0) / (sent["end_s"] - sent["begin_s"]),
        "refused": sent.get("refused", 0),
        "lost": sent.get("lost", 0) + heard["n_unanswered"],
    }


def latency(taken: list[tuple[float, float]], begin_s: float, end_s: float) -> dict[str, float]:
    """Returns quantiles of what was sent within these moments."""
    seconds = [latency_s for sent_s, latency_s in taken if begin_s <= sent_s < end_s]
    found = {f"p{share * 100:g}_ms": quantile_ms(seconds, share) for share in (0.5, 0.9, 0.99)}
    return {"n": len(seconds), **found, "max_ms": quantile_ms(seconds, 1)}


@contextlib.contextmanager
def client(name: str, server: Server, folder: Path, **plan: Any) -> Iterator[subprocess.Popen[bytes]]:
    """One of `bench.lane_clients`, which sends the requests in the folder's file of its name."""
    told = {"client": name, "port": server.port, "requests": str(folder / name), **plan}
    file = folder / f"{name}.json"
    file.write_text(json.dumps(told))
    command = [sys.executable, "-m", "bench.lane_clients", str(file)]
    with subprocess.Popen(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE) as process:
        yield process


def said(process: subprocess.Popen[bytes]) -> dict[str, Any]:
    """Returns what a client prints when it is done."""
    found: dict[str, Any] = json.loads(process.communicate()[0])
    return found
