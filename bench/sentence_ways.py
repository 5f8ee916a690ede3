"""What the sentence backend gains over sentence-transformers, which pads: texts per second, side by side.

    OMP_WAIT_POLICY=PASSIVE python -m bench.sentence_ways FOLDER

FOLDER is a Sentence-Transformers folder. Every way runs in turn in one process on the same texts, from text
to vector; each figure is the best of the rounds, since other work on the machine only ever slows one down.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from sentence_transformers import SentenceTransformer

from bench import texts
from turbov2.backends.sentence import SentenceBackend
from turbov2.types import LoadSpec

ROUNDS = 7
BATCH = 32

Way = Callable[[Sequence[str]], object]


def main() -> None:
    """Prints texts per second of each way and workload, and their ratios to the library's."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    ways = make_ways(options.folder)
    policy = os.environ.get("OMP_WAIT_POLICY", "unset")
    print(
        f"torch {torch.__version__}, {options.threads} threads, OMP_WAIT_POLICY {policy}, batches of {BATCH}"
    )
    print(f"{'texts/s (ratio)':<16}", *(f"{name:>22}" for name in ways))
    for name, batch in workloads().items():
        rates = measure(ways, batch)
        print(f"{name:<16}", *(f"{rate:>15.0f} ({rate / rates[0]:.2f})" for rate in rates))


def make_ways(folder: Path) -> dict[str, Way]:
    """Returns the library first; then our backend, whole batches and one text at a time."""
    library = SentenceTransformer(str(folder), device="cpu")
    files = {path.relative_to(folder).as_posix(): str(path) for path in folder.rglob("*") if path.is_file()}
    backend = SentenceBackend(LoadSpec("bench", "sentence", files, ""))

    def ours(batch: Sequence[str]) -> None:
        for start in range(0, len(batch), BATCH):
            backend.embed(backend.tokenize(batch[start : start + BATCH]))

    def sorted_ours(batch: Sequence[str]) -> None:
        ours(sorted(batch, key=len))

    return {
        "sentence-transformers": lambda batch: library.encode(
            list(batch), batch_size=BATCH, show_progress_bar=False
        ),
        "ours": ours,
        "ours, sorted": sorted_ours,
    }


def workloads() -> dict[str, list[str]]:
    """Returns texts of one length, of mixed lengths, a few of a small queue, and one."""
    short, middle, long = (list(texts.known(n, 32, 2).texts()) for n in (18, 64, 144))
    mixed = [each for three in zip(short, middle, long, strict=True) for each in three]
    order = np.random.default_rng(0).permutation(len(mixed))
    mixed = [mixed[index] for index in order]
    return {
        "18 tokens": short,
        "144 tokens": long,
        "mixed": mixed,
        "mixed, 8": mixed[:8],
        "one of 18": short[:1],
    }


def measure(ways: dict[str, Way], batch: list[str]) -> list[float]:
    """Returns texts per second of each way, the ways taking turns."""
    best = dict.fromkeys(ways, float("inf"))
    for _ in range(ROUNDS):
        for name, way in ways.items():
            began = time.perf_counter()
            way(batch)
            best[name] = min(best[name], time.perf_counter() - began)
    return [len(batch) / seconds for seconds in best.values()]


if __name__ == "__main__":
    main()
