"""Section `soak`: what grows, or gets lost, while mixed traffic goes on for long."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bench import client, fleet, traffic, usage
from bench.fleet import Fake, serving
from bench.pressure import counters, problems_of
from bench.sampler import sampling

SEED = 5
# Growth in 10 minutes that counts as a leak, once it is larger by twice its standard error.
_MEMORY_SHARE, _N_FDS = 0.01, 1.0
_SHORTEST_JUDGED_S = 300  # caches still fill in a shorter run: it shows its slopes and judges none
_MB = 1_000_000
_SAMPLE_EVERY_S = 0.5
_N_CLIENTS = 12
_BUDGET_MB = 340  # the shipped model, which stays, and two of the three fakes
FAKES = (
    Fake("fake-60mb", 32, host_bytes=60 * _MB, load_delay_s=0.1, delay_s_per_token=1e-5),
    Fake("fake-80mb", 48, host_bytes=80 * _MB, load_delay_s=0.1, delay_s_per_token=1e-5, keep_alive="5s"),
    Fake("fake-100mb", 64, host_bytes=100 * _MB, load_delay_s=0.2, delay_s_per_token=2e-5),
)
MODELS = (fleet.WORDLLAMA, fleet.WORDLLAMA_PROCESS, *(fake.name for fake in FAKES))
SHARES = {
    "one text": 0.5,
    "a batch": 0.2,
    "client leaves": 0.1,
    "bad request": 0.05,
    "unknown model": 0.03,
    "keep_alive 0": 0.02,
    "unload": 0.01,
    "list": 0.05,
    "metrics": 0.04,
}
# What is watched, by its unit; of the server only: its children come and go.
WATCHED: dict[str, Callable[[usage.Sample], float]] = {
    "server RSS, MB": lambda sample: sample["processes"]["server"]["rss"] / _MB,
    "server USS, MB": lambda sample: sample["processes"]["server"]["uss"] / _MB,
    "server file descriptors": lambda sample: sample["processes"]["server"]["n_fds"],
    "server threads": lambda sample: sample["processes"]["server"]["n_threads"],
    "processes": lambda sample: len(sample["processes"]),
    "models' USS, MB": lambda sample: usage.models_bytes(sample) / _MB,
}


def measure(is_quick: bool, minutes: float = 15) -> dict[str, Any]:
    """Returns everything the section measures."""
    seconds = 10 if is_quick else minutes * 60
    with serving(FAKES, HOST_BUDGET=f"{_BUDGET_MB * _MB}") as server:
        truth = client.run(traffic.learn(server.port, MODELS))
        mix = traffic.Mix(MODELS, SHARES, SEED)
        with sampling(server, _SAMPLE_EVERY_S) as samples:
            sent = traffic.send(server.port, mix, truth, seconds=seconds, n_clients=_N_CLIENTS)
            ledger = client.run(sent).to_result()
        told = counters(server)
    slopes = {name: usage.slope(samples.taken, value) for name, value in WATCHED.items()}
    problems = problems_of(ledger, told)
    return {
        "seconds": seconds,
        "ledger": ledger,
        "server_counts": told,
        "slopes": slopes,
        "bounds_per_hour": _bounds(slopes),
        "curves": {name: _curve(samples.taken, value) for name, value in WATCHED.items()},
        "problems": problems + (growing(slopes) if seconds >= _SHORTEST_JUDGED_S else []),
    }


def _bounds(slopes: dict[str, dict[str, float]]) -> dict[str, float]:
    memory = 6 * _MEMORY_SHARE * slopes["server RSS, MB"]["mean"]
    return {"server RSS, MB": memory, "server file descriptors": 6 * _N_FDS}


def growing(slopes: dict[str, dict[str, float]]) -> list[str]:
    """Returns what surely grows faster than allowed."""
    return [
        f"{name}: grows by {slopes[name]['per_hour']:.1f} an hour, allowed are {bound:.1f}"
        for name, bound in _bounds(slopes).items()
        if slopes[name]["per_hour"] - 2 * slopes[name]["error_per_hour"] > bound
    ]


def _curve(samples: list[usage.Sample], value: Callable[[usage.Sample], float]) -> list[list[float]]:
    step = max(1, len(samples) // usage.N_POINTS)
    return [[round(sample["t"], 1), round(value(sample), 1)] for sample in samples[::step]]
