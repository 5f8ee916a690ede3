"""That all contenders do the same work: the same vectors for the same texts."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.processes import Server
from bench.reference import DTYPES, Reference
from bench.scenarios import PATHS, body

TOLERANCE = 1e-5


def check_same_vectors(
    turbov2: Server, plain: Server, plain_dtype: str, reference: Reference, batch: list[str], folder: Path
) -> dict[str, float]:
    """Returns the largest differences. Raises: SystemExit when equal weights gave other vectors.

    model2vec in float16 rounds its means to float16, so there a larger difference is its own.
    """
    file = folder / "verify.batches"
    file.write_text(json.dumps([batch]))
    truth = {dtype: np.array(reference.ask(batches=str(file), dtype=dtype)) for dtype in DTYPES}
    ours = _post(turbov2, "json", batch)
    differences = {
        "turbov2 json - model2vec float32": _largest(ours, truth["float32"]),
        "turbov2 base64 - model2vec float32": _largest(_post(turbov2, "base64", batch), truth["float32"]),
        f"plain server - model2vec {plain_dtype}": _largest(_post(plain, "json", batch), truth[plain_dtype]),
        "model2vec float16 - float32": _largest(truth["float16"], truth["float32"]),
    }
    for name, difference in differences.items():
        if difference > TOLERANCE and not name.startswith("model2vec"):
            raise SystemExit(f"not the same work: {name} differ by {difference:.2g}")
    return differences


def _post(server: Server, wire: str, batch: list[str]) -> NDArray[np.float64]:
    status, answer = server.post(PATHS[wire], body(wire, batch))
    if status != 200:
        raise SystemExit(f"{PATHS[wire]} answered {status}: {answer[:300].decode()}")
    return vectors_of(wire, json.loads(answer))


def vectors_of(wire: str, answer: dict[str, Any]) -> NDArray[np.float64]:
    """Returns the vectors of a parsed answer, `[n, d]`."""
    if wire == "json":
        return np.array(answer["embeddings"])
    rows = [np.frombuffer(base64.b64decode(row["embedding"]), "<f4") for row in answer["data"]]
    return np.array(rows, np.float64)


def _largest(a: NDArray[np.float64], b: NDArray[np.float64]) -> float:
    return float(np.abs(a - b).max())
