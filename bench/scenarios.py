"""What section `http` measures: which texts, how many a request, over which wires, with which target."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import load, texts
from bench.model import MODEL
from bench.texts import Workload

CONNECTIONS = 8
PATHS = {"json": "/api/embed", "base64": "/v1/embeddings"}


@dataclasses.dataclass(frozen=True)
class Scenario:
    """One row of the comparison. Targets are ratios; None where none was set."""

    name: str
    kind: str  # a function of bench.texts
    n_tokens: int
    n_texts: int  # per request, and per `encode` call of model2vec
    n_requests: int  # distinct ones
    wires: tuple[str, ...] = ("json",)
    seconds: float = 1.2
    json_target: float | None = None  # texts/s, over model2vec in process
    base64_target: float | None = None
    plain_target: float | None = None  # texts/s (= requests/s), over the plain server

    def workload(self) -> Workload:
        """Returns the texts."""
        if self.kind in ("real", "raw"):
            return texts.real(self.n_texts, self.n_requests, is_raw=self.kind == "raw")
        make = {"known": texts.known, "fresh": texts.fresh}[self.kind]
        return make(self.n_tokens, self.n_texts, self.n_requests)


_BOTH = ("json", "base64")
SCENARIOS: Sequence[Scenario] = (
    Scenario("32 x 16 tokens", "known", 16, 32, 128, _BOTH, 1.2, 1.0, 1.2, 3.0),
    Scenario("32 x 128 tokens", "known", 128, 32, 128, _BOTH, 1.2, 1.0, 1.2, 3.0),
    Scenario("1 x 16 tokens", "known", 16, 1, 256, plain_target=4.0),
    Scenario("1 x 128 tokens", "known", 128, 1, 256, plain_target=4.0),
    Scenario("512 x 16 tokens", "known", 16, 512, 16, _BOTH, seconds=1.8),
    Scenario("512 x 128 tokens", "known", 128, 512, 16, _BOTH, seconds=1.8),
    Scenario("32 x 16, 10 % new words", "fresh", 16, 32, 3_000, _BOTH, 1.2, 1.0, 1.2, 3.0),
    Scenario("32 x 128, 10 % new words", "fresh", 128, 32, 1_200, _BOTH, 1.2, 1.0, 1.2, 3.0),
    Scenario("32 x 128, real text, cold", "real", 128, 32, 340, _BOTH, 3.0, 1.0, 1.2, 3.0),
    Scenario("32 x 128, real text with layout", "raw", 128, 32, 340, _BOTH, 3.0, 1.0, 1.2, 3.0),
)
# One of each shape, small: for `--quick`.
SMOKE = (
    *SCENARIOS[:3],
    dataclasses.replace(SCENARIOS[6], n_requests=200),
    dataclasses.replace(SCENARIOS[3], name="1 x 128 tokens", n_requests=32),
)


@dataclasses.dataclass(frozen=True)
class Prepared:
    """A scenario with its requests on disk, ready for the processes that send or read them."""

    scenario: Scenario
    workload: Workload
    requests: dict[str, Path]  # wire -> for bench.load
    batches: Path  # for bench.reference


def prepare(scenario: Scenario, folder: Path) -> Prepared:
    """Returns the scenario with its files written below `folder`."""
    workload = scenario.workload()
    stem = f"{scenario.kind}-{scenario.n_tokens}-{scenario.n_texts}"
    requests = {wire: folder / f"{stem}.{wire}" for wire in scenario.wires}
    for wire, file in requests.items():
        load.write_requests(file, PATHS[wire], [body(wire, batch) for batch in workload.batches])
    batches = folder / f"{stem}.batches"
    batches.write_text(json.dumps(workload.batches))
    return Prepared(scenario, workload, requests, batches)


def body(wire: str, batch: list[str]) -> bytes:
    """Returns the request body for these texts."""
    if wire == "json":
        return msgspec.json.encode({"model": MODEL, "input": batch})
    return msgspec.json.encode({"model": MODEL, "input": batch, "encoding_format": "base64"})
