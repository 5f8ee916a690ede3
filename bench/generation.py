"""Section `generation`: SmolLM2 through `/v1/messages`, streaming, beside llama.cpp's own server.

The same file, threads, slots and context for both, one right after the other in each round. llama.cpp twice:
as it is, its threads turning while they wait for each other, and with threads that sleep. A ratio is taken
within a round, to the faster of the two. Prompts are new each time, so nothing but the template's beginning
is in a cache. Then of TurboV2 alone: a second turn behind a long first one, how soon a slot is free whose
client left, and what answers do to the latency of embeddings.
"""

from __future__ import annotations

import contextlib
import dataclasses
import statistics
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from bench import embeddings_beside, fleet, processes, slots
from bench.machine import Neighbours, child_environment, wait_until_quiet
from bench.stats import spread
from bench.streams import stream
from turbov2.cores import n_cores
from turbov2.engine.shelf import load_catalog, open_shelf
from turbov2.settings import load_settings

N_STREAMS = (1, 8)
N_SLOTS, N_CONTEXT = 8, 8192
OWN, ASLEEP, OURS = "llama.cpp", "llama.cpp, threads asleep", "turbov2"
SPEED_TARGET, LATER_TARGET_MS = 0.97, 5.0
_WEIGHTS = "smollm2-135m"
SEVERAL, SINGLE = "smollm2-slots", "smollm2-slot"  # as our server knows it: with N_SLOTS, and with one
_Series = Mapping[tuple[int, str], list[float]]  # by number of streams and server


@dataclasses.dataclass(frozen=True)
class Work:
    """How much is done. prefix_tokens: of a long first turn."""

    n_rounds: int
    n_tokens: int
    prefix_tokens: int
    n_turns: int
    n_cancels: int
    n_beside: int
    beside_s: float


_FULL = Work(7, 96, 4000, 5, 12, 3, 10.0)
_QUICK = Work(1, 16, 300, 1, 1, 1, 1.5)


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    work, file = _QUICK if is_quick else _FULL, weights()
    models = [fleet.Gguf(SEVERAL, file, N_CONTEXT, N_SLOTS), fleet.Gguf(SINGLE, file, N_CONTEXT, 1)]
    with fleet.serving([*models, embeddings_beside.ENCODER]) as server:
        with llama_server(file) as own, llama_server(file, OMP_WAIT_POLICY="PASSIVE") as asleep:
            compared = compare({OWN: own, ASLEEP: asleep, OURS: server.port}, work)
        found = {
            "settings": dataclasses.asdict(work) | {"slots": N_SLOTS, "context": N_CONTEXT},
            "compared": compared,
            "second_turn": slots.second_turn(server.port, SEVERAL, work.prefix_tokens, work.n_turns),
            "left": [
                slots.left_while_writing(server.port, SINGLE, work.n_cancels),
                slots.left_while_reading(server.port, SINGLE, work.prefix_tokens // 4, work.n_cancels),
                slots.left_while_reading(server.port, SINGLE, work.prefix_tokens, work.n_cancels),
            ],
            "beside": embeddings_beside.measure(server, SEVERAL, N_STREAMS, work.n_beside, work.beside_s),
        }
    return found | {"problems": [] if is_quick else _problems(found)}


def weights() -> Path:
    """Returns the model's file, pulled if it was not here."""
    settings = load_settings()
    catalog = load_catalog(settings)
    found = open_shelf(settings, catalog).load_spec(catalog.resolve(_WEIGHTS))
    return Path(found.files["model.gguf"]).resolve()


@contextlib.contextmanager
def llama_server(file: Path, **environment: str) -> Iterator[int]:
    """llama.cpp's own server; gives its port."""
    port = processes.free_port()
    settings = [str(port), str(N_SLOTS), str(N_CONTEXT), str(n_cores())]
    command = [sys.executable, "-m", "bench.llama_server", str(file), *settings]
    with processes.running(command, port, child_environment(**environment), "/health"):
        yield port


def compare(ports: Mapping[str, int], work: Work) -> list[dict[str, Any]]:
    """Returns for each number of streams what the servers came to, and ours by the fastest other."""
    speeds: dict[tuple[int, str], list[float]] = defaultdict(list)
    firsts: dict[tuple[int, str], list[float]] = defaultdict(list)
    shares: dict[int, list[float]] = defaultdict(list)
    for number in range(work.n_rounds + 1):  # the first one warms up
        at = number % len(ports)
        names = [*list(ports)[at:], *list(ports)[:at]]
        for n_streams in N_STREAMS:
            wait_until_quiet()
            with Neighbours(*psutil.Process().children(recursive=True)) as others:
                bodies = {name: slots.questions(SEVERAL, n_streams, work.n_tokens) for name in names}
                found = {name: stream(ports[name], bodies[name]) for name in names}
            if number:
                shares[n_streams].append(others.share)
                for name, streamed in found.items():
                    speeds[n_streams, name].append(streamed.tokens_s)
                    firsts[n_streams, name].append(statistics.median(streamed.first_s) * 1000)
    return [_row(n, speeds, firsts) | {"others_share": round(max(shares[n]), 3)} for n in N_STREAMS]


def _row(n_streams: int, speeds: _Series, firsts: _Series) -> dict[str, Any]:
    speed = {name: speeds[n_streams, name] for name in (OURS, OWN, ASLEEP)}
    first_ms = {name: firsts[n_streams, name] for name in speed}
    best = max((OWN, ASLEEP), key=lambda name: statistics.median(speed[name]))
    ratio = spread([a / b for a, b in zip(speed[OURS], speed[best], strict=True)])
    later_ms = spread([a - b for a, b in zip(first_ms[OURS], first_ms[best], strict=True)])
    return {
        "streams": n_streams,
        "servers": {
            name: {"tokens_s": spread(speed[name]), "first_ms": spread(first_ms[name])} for name in speed
        },
        "best": best,
        "ratio": ratio,
        "later_ms": later_ms,
        "met": ratio["median"] >= SPEED_TARGET and later_ms["median"] <= LATER_TARGET_MS,
    }


def _problems(found: dict[str, Any]) -> list[str]:
    rows = [
        *((f"{row['streams']} streams", row) for row in found["compared"]),
        ("a second turn", found["second_turn"]),
        *((f"a client leaves while {row['what']}", row) for row in found["left"]),
        *((f"{row['model']} beside {row['streams']} streams", row) for row in found["beside"]),
    ]
    return [f"{name}: the target is missed" for name, row in rows if not row["met"]]
