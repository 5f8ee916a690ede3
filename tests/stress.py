"""`python -m tests.stress [--events N] [--seed S]`: storms of random events against residency and batching.

Each storm is a seeded world of fake models on a clock that jumps; its invariants are checked at every event.
A failure names its seed, and `--seed` runs that storm again.
"""

from __future__ import annotations

import argparse
import logging
import time
from collections.abc import Callable

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.support.storms import residency_storm
from tests.support.storms_batching import batching_storm

STORMS: dict[str, Callable[[int, int], int]] = {"residency": residency_storm, "batching": batching_storm}
EVENTS_A_STORM = 10_000


def main() -> None:
    """Runs the storms and tells how many events each part of the engine stood."""
    parser = argparse.ArgumentParser(prog="python -m tests.stress", description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="scheduled events in all")
    parser.add_argument("--seed", type=int, default=1, help="of the first storm; later ones count up")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)  # thousands of crashes are meant to happen
    columns = (TextColumn("{task.description:<10}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns) as progress:
        told = [_run(name, arguments.events // len(STORMS), arguments.seed, progress) for name in STORMS]
    print("\n".join(told))


def _run(name: str, n_events: int, seed: int, progress: Progress) -> str:
    """Returns what is to be told of one part. Raises: AssertionError, naming the seed of a storm."""
    bar = progress.add_task(name, total=n_events)
    began_s, first_seed, n_done = time.perf_counter(), seed, 0
    while n_done < n_events:
        n_done += STORMS[name](seed, min(EVENTS_A_STORM, n_events - n_done))
        seed += 1
        progress.update(bar, completed=n_done)
    took_s = time.perf_counter() - began_s
    return (
        f"{name}: {n_done:,} events, seeds {first_seed} to {seed - 1}, {took_s:.0f} s, every invariant held"
    )


if __name__ == "__main__":
    main()
