"""What the samples of `bench.sampler` say: memory by model over time, what passed a limit, and what grows."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Sample = dict[str, Any]
N_POINTS = 600  # of a stored curve
UNKNOWN = "unknown"
WARM_UP_SHARE = 0.2  # of a run, left out of slopes
_N_WINDOWS = 40


def model_of_pid(samples: Sequence[Sample]) -> dict[str, str]:
    """Returns which model each process ran. The server tells it once a model is ready."""
    return {
        str(resident["pid"]): resident["model"]
        for sample in samples
        for resident in sample.get("status", {}).get("residents", ())
        if resident.get("pid")
    }


def models_bytes(sample: Sample) -> int:
    """Returns what all the server's children hold together."""
    return sum(found["uss"] for pid, found in sample["processes"].items() if pid != "server")


def curves(samples: Sequence[Sample], owners: Mapping[str, str]) -> dict[str, Any]:
    """Returns MB over time: `t_s`, each model's, the server's own and what the server says it has committed.

    Of each stretch of time the sample with the largest total is kept, so no peak is lost.
    """
    stretches = np.array_split(np.arange(len(samples)), min(N_POINTS, len(samples)))
    kept = [max((samples[i] for i in stretch), key=models_bytes) for stretch in stretches]
    names = sorted({owners.get(pid, UNKNOWN) for sample in samples for pid in _children(sample)})
    held = {name: [_megabytes(_held(sample, owners, name)) for sample in kept] for name in names}
    told = [
        (s["t"], _megabytes(s["status"]["devices"][0]["model_bytes"])) for s in samples if s.get("status")
    ]
    return {
        "t_s": [round(sample["t"], 2) for sample in kept],
        "models_mb": held,
        "server_mb": [_megabytes(sample["processes"]["server"]["uss"]) for sample in kept],
        "committed": [list(pair) for pair in told[:: max(1, len(told) // N_POINTS)]],
    }


def peak_minute(samples: Sequence[Sample]) -> list[Sample]:
    """Returns the samples of the minute around the largest total."""
    peak_s = max(samples, key=models_bytes)["t"]
    begin_s = max(0.0, min(peak_s - 30, samples[-1]["t"] - 60))
    return [sample for sample in samples if begin_s <= sample["t"] <= begin_s + 60]


def lives(samples: Sequence[Sample], owners: Mapping[str, str]) -> list[dict[str, Any]]:
    """Returns when each child was first and last seen, and what it ran; `end_s` is None if it stayed."""
    seen: dict[str, list[float]] = {}
    for sample in samples:
        for pid in _children(sample):
            seen.setdefault(pid, [sample["t"], 0.0])[1] = sample["t"]
    last_s = samples[-1]["t"]
    return [
        {"model": owners.get(pid, UNKNOWN), "begin_s": begin, "end_s": None if end == last_s else end}
        for pid, (begin, end) in seen.items()
    ]


def seconds_above(samples: Sequence[Sample], limit_bytes: float) -> float:
    """Returns how long the children together held more than this."""
    pairs = zip(samples, samples[1:], strict=False)
    return round(sum(b["t"] - a["t"] for a, b in pairs if models_bytes(a) > limit_bytes), 2)


def slope(samples: Sequence[Sample], value: Callable[[Sample], float]) -> dict[str, float]:
    """Returns the least-squares line after the warm-up: growth an hour, its standard error, and the mean.

    The line goes through the median of each of 40 windows, so that what is there for a moment counts little:
    a burst of connections, or the pages that a child shares with the server until it runs its own program.
    """
    warm = [sample for sample in samples if sample["t"] >= WARM_UP_SHARE * samples[-1]["t"]]
    windows = np.array_split(np.arange(len(warm)), min(_N_WINDOWS, len(warm)))
    hours = np.array([np.mean([warm[i]["t"] for i in window]) for window in windows]) / 3600
    middles = np.array([statistics.median(value(warm[i]) for i in window) for window in windows])
    per_hour, start = np.polyfit(hours, middles, 1)
    scatter = middles - (per_hour * hours + start)
    error = np.sqrt((scatter**2).sum() / max(1, len(windows) - 2) / ((hours - hours.mean()) ** 2).sum())
    return {"per_hour": float(per_hour), "error_per_hour": float(error), "mean": float(middles.mean())}


def _children(sample: Sample) -> list[str]:
    return [pid for pid in sample["processes"] if pid != "server"]


def _held(sample: Sample, owners: Mapping[str, str], name: str) -> int:
    found = sample["processes"]
    return sum(found[pid]["uss"] for pid in _children(sample) if owners.get(pid, UNKNOWN) == name)


def _megabytes(n_bytes: float) -> float:
    return round(n_bytes / 1e6, 1)
