"""Sentence Transformers in a process of its own: `encode` or `predict` in a loop, no server, no JSON.

`python -m bench.library KIND FOLDER BATCHES SECONDS N_JOINED` prints texts per second; a call takes N_JOINED
batches, sorts them by length and runs 32 texts at a time. How threads wait is for the environment to say.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench.machine import ROOT, child_environment

# Name, OpenMP's wait policy, batches in one call.
WAYS = (("batch by batch, passive", "PASSIVE", 1), ("batch by batch, active", "ACTIVE", 1),
        ("16 batches a call, active", "ACTIVE", 16))  # fmt: skip
_BATCH_SIZE = 32
Compute = Callable[[list[list[str]]], int]  # returns how many texts or pairs


def measure(kind: str, folder: Path, batches: Path, seconds: float, wait_policy: str, n_joined: int) -> float:
    """Returns texts per second of a fresh process."""
    command = [sys.executable, "-m", "bench.library", kind, str(folder), str(batches), str(seconds)]
    command += [str(n_joined)]
    environment = child_environment(OMP_WAIT_POLICY=wait_policy, HF_HUB_OFFLINE="1")
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    found: float = json.loads(done.stdout)
    return found


def main() -> None:
    """Prints texts or pairs per second over the batches, in rotation."""
    import torch

    kind, folder, batches_file, seconds, n_joined = sys.argv[1:]
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    supply = itertools.cycle(json.loads(Path(batches_file).read_text()))
    compute = (_pairs if kind == "pairs" else _texts)(folder)
    compute([next(supply)])
    n_items = 0
    begin = time.perf_counter()
    while (now := time.perf_counter()) - begin < float(seconds):
        n_items += compute([next(supply) for _ in range(int(n_joined))])
    print(json.dumps(n_items / (now - begin)))


def _texts(folder: str) -> Compute:
    from sentence_transformers import SentenceTransformer

    library = SentenceTransformer(folder, device="cpu", local_files_only=True)

    def compute(batches: list[list[str]]) -> int:
        joined = [text for batch in batches for text in batch]
        library.encode(joined, batch_size=_BATCH_SIZE, show_progress_bar=False)
        return len(joined)

    return compute


def _pairs(folder: str) -> Compute:
    from sentence_transformers import CrossEncoder

    library = CrossEncoder(folder, device="cpu", local_files_only=True)

    def compute(batches: list[list[str]]) -> int:
        joined = [(query, document) for query, *documents in batches for document in documents]
        library.predict(joined, batch_size=_BATCH_SIZE, show_progress_bar=False)
        return len(joined)

    return compute


if __name__ == "__main__":
    main()
