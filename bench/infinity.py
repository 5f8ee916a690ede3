"""infinity_emb, which needs older libraries than ours: a server from an environment of its own.

BENCH_INFINITY names that environment's folder, made with `pip install -r bench/infinity.txt`.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from bench import processes
from bench.machine import child_environment
from bench.processes import Server

VARIABLE = "BENCH_INFINITY"
# Its optimum engine imports an exporter, which it then does not use, from where torch kept it before 2.9.
_START = """
import sys
from torch.onnx._internal.torchscript_exporter import symbolic_opset14
sys.modules["torch.onnx.symbolic_opset14"] = symbolic_opset14
from infinity_emb.cli import cli
cli()
"""
ENGINES = {"torch": "torch", "onnx": "optimum", "int8": "optimum", "pairs-torch": "torch"}


def environment() -> Path | None:
    """Returns the folder of Infinity's environment, None if there is none."""
    folder = os.environ.get(VARIABLE)
    return Path(folder) if folder else None


@contextlib.contextmanager
def serving(folder: Path, engine: str) -> Iterator[Server]:
    """Infinity with the model of `folder` under the name "minilm", ready for requests."""
    home, port = environment(), processes.free_port()
    assert home is not None, f"{VARIABLE} is not set"
    with tempfile.TemporaryDirectory() as name:
        command = [
            str(home / "bin" / "python"), "-c", _START, "v2", "--model-id", str(_copy(folder, Path(name))),
            "--served-model-name", "minilm", "--engine", ENGINES[engine], "--device", "cpu",
            "--port", str(port), "--host", "127.0.0.1", "--pooling-method", "mean",
        ]  # fmt: skip
        variables = child_environment(HF_HUB_OFFLINE="1", DO_NOT_TRACK="1")
        del variables["PYTHONPATH"]
        with processes.running(command, port, variables, ready_path="/health") as server:
            yield server


def _copy(folder: Path, scratch: Path) -> Path:
    """Returns a copy for it to write its optimised graph to.

    Of a local folder optimum 1.27 loads no graph that is alone: its name would have to equal a whole path.
    """
    copy = shutil.copytree(folder, scratch / "minilm")
    if (graph := copy / "model.onnx").exists():
        shutil.copy(graph, copy / "model_again.onnx")
    return copy
