"""Timing small functions: in turns, in short slices, so that a busy moment falls on all of them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Any

from bench.stats import spread

SLICE_S, N_SLICES = 0.06, 7


@dataclasses.dataclass(frozen=True)
class Step:
    """Something to time: `run` takes one batch. `reset` comes before each slice, which uses a batch once."""

    name: str
    run: Callable[[Any], object]
    inputs: Sequence[Any]
    reset: Callable[[], None] | None = None


def time_steps(steps: Sequence[Step], n_texts: int, is_quick: bool) -> dict[str, dict[str, float]]:
    """Returns each step's microseconds per text: median, smallest and largest slice."""
    found: dict[str, list[float]] = {step.name: [] for step in steps}
    for step in steps:
        step.run(step.inputs[0])
    for _ in range(2 if is_quick else N_SLICES):
        for step in steps:
            if step.reset:
                step.reset()
            found[step.name].append(_slice_us(step, 0.01 if is_quick else SLICE_S) / n_texts)
    return {name: spread(values) for name, values in found.items()}


def _slice_us(step: Step, seconds: float) -> float:
    clock, run, inputs = time.perf_counter, step.run, step.inputs
    n_runs = 0
    begin = clock()
    while (now := clock()) - begin < seconds or not n_runs:
        if n_runs == len(inputs) and step.reset:
            break
        run(inputs[n_runs % len(inputs)])
        n_runs += 1
    return (now - begin) / n_runs * 1e6
