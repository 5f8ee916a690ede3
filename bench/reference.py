"""model2vec in a process of its own, as a script would use it: no server, no JSON.

The parent writes one JSON plan per line; each is answered with one JSON line.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil

from bench.machine import ROOT, child_environment

DTYPES = ("float16", "float32")


class Reference:
    """The process, from the parent's side."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "bench.reference"],
            cwd=ROOT, env=child_environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        self.process = psutil.Process(self._process.pid)

    def ask(self, **plan: Any) -> Any:
        """Returns the answer to one plan: see `_measure` and `_vectors`."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(plan) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the model2vec process ended; its error is above")
        return json.loads(line)

    def close(self) -> None:
        """Afterwards the process is gone."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(10)


def _measure(model: Any, batches: list[list[str]], seconds: float, repeats: bool) -> dict[str, float]:
    """Returns texts/s over `seconds`, one `encode` per batch, or until the batches are used up."""
    if repeats:
        for batch in batches[:20]:
            model.encode(batch, max_length=None)
    n_texts, at = 0, 0
    begin = time.perf_counter()
    while (now := time.perf_counter()) - begin < seconds:
        if at == len(batches):
            if not repeats:
                break
            at = 0
        model.encode(batches[at], max_length=None)
        n_texts += len(batches[at])
        at += 1
    return {"texts_per_s": n_texts / (now - begin)}


def main() -> None:
    """Answers plans until stdin closes."""
    from bench.model import model2vec_model

    models = {dtype: model2vec_model(dtype) for dtype in DTYPES}
    for line in sys.stdin:
        plan = json.loads(line)
        batches = json.loads(Path(plan["batches"]).read_text())
        model = models[plan["dtype"]]
        if plan.get("seconds"):
            answer: Any = _measure(model, batches, plan["seconds"], plan["repeats"])
        else:
            answer = model.encode(batches[0], max_length=None).astype(float).tolist()
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
