"""What a model takes in memory as float32, bfloat16 and NF4: a table for docs/parity.md.

Each load is a process of its own, `python -m bench.precision_memory FOLDER PRECISION`, which prints what its
USS grew by from before the load to after a first forward.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil

from bench.machine import ROOT, child_environment

PRECISIONS = {
    "float32": {"dtype": "float32"},
    "bfloat16": {"dtype": "bfloat16"},
    "nf4": {"quantization": "nf4"},
}
QWEN3 = {
    "hidden_size": 1024,
    "intermediate_size": 3072,
    "num_hidden_layers": 12,
    "num_attention_heads": 16,
    "num_key_value_heads": 8,
    "head_dim": 64,
    "vocab_size": 32_000,
}


def lines(minilm: Path, scratch: Path) -> Iterator[str]:
    """Yields the table's rows in Markdown: a real small model, and a random one of Qwen3's proportions."""
    from tests.support import tiny_sentence

    flags = {"pooling_mode_lasttoken": True, "pooling_mode_mean_tokens": False}
    qwen = tiny_sentence.save_sentence(scratch / "qwen3-large", "qwen3", flags, **QWEN3)
    for name, weights, folder in (("all-minilm-l6-v2", "real", minilm), ("Qwen3, 12 layers", "random", qwen)):
        for precision in PRECISIONS:
            found = _measure(folder, precision)
            size, speed = f"{found['n_parameters'] / 1e6:.0f} M", f"{found['load_s']:.1f}"
            cells = (name, weights, precision, size, f"{found['grown_mb']:.0f}", speed)
            yield f"| {' | '.join(cells)} | {found['forward_ms']:.0f} |"


def _measure(folder: Path, precision: str) -> dict[str, float]:
    command = [sys.executable, "-m", "bench.precision_memory", str(folder), precision]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
    found: dict[str, float] = json.loads(done.stdout)
    return found


def main() -> None:
    """Loads and runs the folder's model; prints one JSON object."""
    from tests.support.tiny_sentence import spec_of
    from turbov2.backends.sentence import SentenceBackend
    from turbov2.runners.calls import return_freed_memory

    folder, precision = Path(sys.argv[1]), sys.argv[2]
    before = psutil.Process().memory_full_info().uss
    began = time.perf_counter()
    backend = SentenceBackend(spec_of(folder, options=PRECISIONS[precision]))
    load_s = time.perf_counter() - began
    tokens = backend.tokenize(["a text of some words"] * 8)
    backend.embed(tokens)
    began = time.perf_counter()
    backend.embed(tokens)
    forward_ms = (time.perf_counter() - began) * 1000
    gc.collect()
    return_freed_memory()
    grown = psutil.Process().memory_full_info().uss - before
    print(json.dumps({"grown_mb": grown / 1e6, "load_s": load_s, "forward_ms": forward_ms,
                      "n_parameters": backend.loaded.n_parameters}))  # fmt: skip


if __name__ == "__main__":
    main()
