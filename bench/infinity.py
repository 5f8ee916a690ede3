"""infinity_emb, which needs older libraries than ours: a server from an environment of its own.

TURBOV2_BENCH_INFINITY names that environment's folder, made with `pip install -r bench/infinity.txt`.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bench import processes
from bench.machine import child_environment
from bench.processes import Server

VARIABLE = "TURBOV2_BENCH_INFINITY"
ENGINES = {"torch": "torch", "onnx": "optimum", "int8": "optimum"}


def environment() -> Path | None:
    """Returns the folder of Infinity's environment, None if there is none."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None


@contextlib.contextmanager
def serving(folder: Path, engine: str) -> Iterator[Server]:
    """Infinity with the model of `folder` under the name "minilm", ready for requests."""
    home, port = environment(), processes.free_port()
    assert home is not None, f"{VARIABLE} is not set"
    command = [
        str(home / "bin" / "infinity_emb"), "v2", "--model-id", str(folder), "--served-model-name", "minilm",
        "--engine", ENGINES[engine], "--device", "cpu", "--port", str(port), "--host", "127.0.0.1",
        "--no-bettertransformer", "--batch-size", "32",
    ]  # fmt: skip
    variables = child_environment(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1", INFINITY_ANONYMOUS_USAGE_STATS="0")
    variables.pop("PYTHONPATH")
    with processes.running(command, port, variables, ready_path="/health") as server:
        yield server
