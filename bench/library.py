"""Sentence Transformers in a process of its own: `encode` in a loop, no server, no JSON.

`python -m bench.library FOLDER BATCHES SECONDS THREADS`; prints one JSON object. Threads and OpenMP's
waiting are what the caller chose: the bench tries several and compares with the fastest.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path

from bench.machine import ROOT, child_environment

WAYS = (("2 threads, passive", 2, "PASSIVE"), ("2 threads, active", 2, "ACTIVE"), ("1 thread", 1, "PASSIVE"))


def measure(folder: Path, batches: Path, seconds: float, n_threads: int, wait_policy: str) -> float:
    """Returns texts per second of a fresh process."""
    command = [sys.executable, "-m", "bench.library", str(folder), str(batches), str(seconds), str(n_threads)]
    environment = child_environment(OMP_WAIT_POLICY=wait_policy, HF_HUB_OFFLINE="1")
    done = subprocess.run(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, check=True)
    found: float = json.loads(done.stdout)
    return found


def main() -> None:
    """Prints texts per second over the batches, in rotation."""
    import torch
    from sentence_transformers import SentenceTransformer

    folder, batches, seconds = (
        Path(sys.argv[1]),
        json.loads(Path(sys.argv[2]).read_text()),
        float(sys.argv[3]),
    )
    torch.set_num_threads(int(sys.argv[4]))
    library = SentenceTransformer(str(folder), device="cpu", local_files_only=True)
    for batch in batches[:4]:
        library.encode(batch, batch_size=32, show_progress_bar=False)
    n_texts = at = 0
    begin = time.perf_counter()
    while (now := time.perf_counter()) - begin < seconds:
        batch = batches[at % len(batches)]
        library.encode(batch, batch_size=32, show_progress_bar=False)
        n_texts, at = n_texts + len(batch), at + 1
    print(json.dumps(n_texts / (now - begin)))


if __name__ == "__main__":
    main()
