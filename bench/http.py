"""Section `http`: TurboV2 over HTTP against model2vec in process and a plain server, in turns.

Each round visits every scenario and, for it, every contender one after the other, so that a busy moment of
the machine falls on all of them. Ratios are taken within a round; the median over rounds is reported.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import generator, model, processes, texts
from bench.machine import QUIET_SHARE, Neighbours, wait_until_quiet
from bench.processes import Server
from bench.reference import DTYPES, Reference
from bench.scenarios import CONNECTIONS, SCENARIOS, SMOKE, Prepared, prepare
from bench.stats import spread
from bench.verify import check_same_vectors

_MAX_REPEATS = 8  # visits of a scenario that are made anew because others were busy meanwhile
# Single texts make the server keep a core free for the next ones for 2 s; what is measured here is its words.
_AFTER_INTERACTIVE_S = 2.2
Entries = dict[str, dict[str, float]]  # contender -> what was measured
Rounds = dict[tuple[str, str], list[dict[str, float]]]  # (scenario, contender) -> one entry a round


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    n_rounds, scale = (1, 0.2) if is_quick else (3, 1.0)
    with tempfile.TemporaryDirectory() as name, contextlib.closing(Reference()) as reference:
        chosen = SMOKE if is_quick else SCENARIOS
        prepared = [prepare(scenario, Path(name)) for scenario in chosen]
        plain_dtype = _faster_dtype(reference, prepared[0])
        with processes.turbov2() as server, _plain(plain_dtype) as plain:
            differences = check_same_vectors(
                server, plain, plain_dtype, reference, prepared[1].workload.batches[0], Path(name)
            )
            run = _Run(prepared, server, plain, reference, scale)
            for number in range(n_rounds):
                run.round(number)
            cost = generator.compare(server, prepared[0].requests["json"], is_quick)
    return {
        "settings": _settings(n_rounds, scale, plain_dtype),
        "largest_difference": differences,
        "texts": {p.scenario.name: _describe(p) for p in prepared},
        "scenarios": [_row(p, run.found) for p in prepared],
        "generator": cost,
    }


class _Run:
    """The contenders, running, and what was found so far."""

    def __init__(
        self, prepared: Sequence[Prepared], server: Server, plain: Server, reference: Reference, scale: float
    ) -> None:
        self.found: Rounds = defaultdict(list)
        self._prepared = prepared
        self._server = server
        self._plain = plain
        self._reference = reference
        self._scale = scale
        self._repeats_left = _MAX_REPEATS

    def round(self, number: int) -> None:
        """Afterwards every contender of every scenario has one more measurement."""
        for item in self._prepared:
            others_share = wait_until_quiet()
            print(f"round {number + 1}: {item.scenario.name} (others use {others_share:.0%})", flush=True)
            entries = self._visit(item)
            if _noise(entries) > QUIET_SHARE and self._repeats_left:
                self._repeats_left -= 1
                entries = min(entries, self._visit(item), key=_noise)
            for contender, entry in entries.items():
                self.found[item.scenario.name, contender].append(entry)

    def _visit(self, item: Prepared) -> Entries:
        """Returns one measurement of each contender, taken one right after the other."""
        entries: Entries = {}
        for wire, file in item.requests.items():
            with self._turbov2_for(item) as server:
                entries[f"turbov2 {wire}"] = self._load_one(item, server, file)
        for dtype in DTYPES:
            entries[f"model2vec {dtype}"] = self._model2vec(item, dtype)
        entries["plain server"] = self._load_one(item, self._plain, item.requests["json"])
        return entries

    @contextlib.contextmanager
    def _turbov2_for(self, item: Prepared) -> Iterator[Server]:
        """The running server, or for texts sent once a fresh one that has not seen their words.

        Real text meets a server that knows only a few hundred words; generated text one that knows the
        vocabulary, so that just the new words are unknown.
        """
        if item.workload.repeats:
            yield self._server
            return
        known = [p for p in self._prepared if p.scenario.kind == "known"]
        n_texts = 32 if item.scenario.kind == "fresh" else 1
        first = next(
            p
            for p in known
            if p.scenario.n_texts == n_texts and p.scenario.n_tokens == item.scenario.n_tokens
        )
        with processes.turbov2() as server:
            self._drive(server, first.requests["json"], 0.4, True)
            time.sleep(_AFTER_INTERACTIVE_S)
            yield server

    def _model2vec(self, item: Prepared, dtype: str) -> dict[str, float]:
        plan = {"batches": str(item.batches), "dtype": dtype, "repeats": item.workload.repeats}
        with Neighbours(self._reference.process) as others:
            answer = self._reference.ask(**plan, seconds=item.scenario.seconds * self._scale / 2)
        found: dict[str, float] = answer | {"others": others.share}
        return found

    def _load_one(self, item: Prepared, server: Server, requests: Path) -> dict[str, float]:
        with Neighbours(server.process) as others:
            answer = self._drive(server, requests, item.scenario.seconds * self._scale, item.workload.repeats)
        answer["texts_per_s"] = answer["requests_per_s"] * item.scenario.n_texts
        return answer | {"others": others.share, "server_cores": others.server_cores}

    def _drive(self, server: Server, requests: Path, seconds: float, repeats: bool) -> dict[str, Any]:
        warm_s = 0.3 if repeats else 0.0
        return processes.load(
            server.port, requests, connections=CONNECTIONS, seconds=seconds, warm_s=warm_s, repeats=repeats
        )


def _noise(entries: Entries) -> float:
    """Returns the largest share of the machine that others used while one of the contenders ran."""
    return max(entry["others"] for entry in entries.values())


@contextlib.contextmanager
def _plain(dtype: str) -> Iterator[Server]:
    port = processes.free_port()
    with processes.running([sys.executable, "-m", "bench.plain_server", str(port), dtype], port) as server:
        yield server


def _faster_dtype(reference: Reference, item: Prepared) -> str:
    """Returns the dtype in which model2vec is faster here, so that the plain server is not held back."""
    speeds: dict[str, float] = {}
    for dtype in DTYPES * 2:
        answer = reference.ask(batches=str(item.batches), dtype=dtype, seconds=0.4, repeats=True)
        speeds[dtype] = max(speeds.get(dtype, 0), answer["texts_per_s"])
    return max(speeds, key=lambda dtype: speeds[dtype])


def _settings(n_rounds: int, scale: float, plain_dtype: str) -> dict[str, Any]:
    return {
        "rounds": n_rounds,
        "connections": CONNECTIONS,
        "seconds_scale": scale,
        "plain_server_dtype": plain_dtype,
        "turbov2": "defaults: one process, access log on and written to a file",
        "plain_server": "FastAPI, pydantic, model2vec; uvicorn, uvloop, httptools, access log to a file",
        "model2vec": "StaticModel.encode(texts, max_length=None), normalised, one call a batch, own process",
    }


def _describe(item: Prepared) -> dict[str, Any]:
    listed = list(item.workload.texts())
    return {
        "mean_tokens": round(model.mean_tokens(model.tokenizer(), listed[:8192]), 1),
        "mean_chars": round(sum(map(len, listed)) / len(listed), 1),
        "distinct_requests": len(item.workload.batches),
        "sent": "in rotation" if item.workload.repeats else "each once",
        "new_words": 0.0 if item.workload.repeats else round(texts.new_word_share(listed), 3),
    }


def _row(item: Prepared, found: Rounds) -> dict[str, Any]:
    """Returns a scenario's medians and ratios."""
    scenario = item.scenario
    rounds = {contender: entries for (name, contender), entries in found.items() if name == scenario.name}
    medians = {
        contender: {key: spread([entry[key] for entry in entries]) for key in entries[0]}
        for contender, entries in rounds.items()
    }
    fastest = max((f"model2vec {d}" for d in DTYPES), key=lambda c: medians[c]["texts_per_s"]["median"])
    pairs = (
        ("turbov2 json", fastest, scenario.json_target),
        ("turbov2 base64", fastest, scenario.base64_target),
        ("turbov2 json", "plain server", scenario.plain_target),
    )
    ratios = []
    for ours, theirs, target in pairs:
        if ours in rounds:
            both = zip(rounds[ours], rounds[theirs], strict=True)
            ratio = spread([a["texts_per_s"] / b["texts_per_s"] for a, b in both])
            met = None if target is None else ratio["median"] >= target
            ratios.append({"ours": ours, "theirs": theirs, "ratio": ratio, "target": target, "met": met})
    return {
        "name": scenario.name,
        "texts_per_request": scenario.n_texts,
        "contenders": medians,
        "ratios": ratios,
    }
