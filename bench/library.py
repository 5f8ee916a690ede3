"""Sentence Transformers in a process of its own: `encode` in a loop, no server, no JSON.

`python -m bench.library FOLDER BATCHES SECONDS N_JOINED` prints texts per second; a call takes N_JOINED
batches, sorts them by length and runs 32 texts at a time. How threads wait is for the environment to say.
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import time
from pathlib import Path

from bench.machine import ROOT, child_environment

# Name, OpenMP's wait policy, batches in one call.
WAYS = (("batch by batch, passive", "PASSIVE", 1), ("batch by batch, active", "ACTIVE", 1),
        ("16 batches a call, active", "ACTIVE", 16))  # fmt: skip
_BATCH_SIZE = 32


def measure(folder: Path, batches: Path, seconds: float, wait_policy: str, n_joined: int) -> float:
    """Returns texts per second of a fresh process."""
    command = [sys.executable, "-m", "bench.library", str(folder), str(batches), str(seconds), str(n_joined)]
    environment = child_environment(OMP_WAIT_POLICY=wait_policy, HF_HUB_OFFLINE="1")
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    found: float = json.loads(done.stdout)
    return found


def main() -> None:
    """Prints texts per second over the batches, in rotation."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder, batches_file, seconds, n_joined = sys.argv[1:]
    supply = itertools.cycle(json.loads(Path(batches_file).read_text()))
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    library = SentenceTransformer(folder, device="cpu", local_files_only=True)
    library.encode(next(supply), batch_size=_BATCH_SIZE, show_progress_bar=False)
    n_texts = 0
    begin = time.perf_counter()
    while (now := time.perf_counter()) - begin < float(seconds):
        batch = [text for _ in range(int(n_joined)) for text in next(supply)]
        library.encode(batch, batch_size=_BATCH_SIZE, show_progress_bar=False)
        n_texts += len(batch)
    print(json.dumps(n_texts / (now - begin)))


if __name__ == "__main__":
    main()
