"""How rows of an ONNX encoder should run on a CPU: alone or together, padded or not, in which threads.

`python -m bench.onnx_batches FOLDER ...` with folders that hold `model.onnx` and `tokenizer.json`. Prints for
each: what sharing a run does to a row; texts a second by tokens, rows a run and threads; and texts of mixed
lengths in batches of 32, by the backend and by the session itself with padding to the longest. Rates are the
best of several slices, because other work on the machine only ever takes time away.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from turbov2.backends.onnx import OnnxBackend
from turbov2.types import LoadSpec

LENGTHS = (18, 64, 144)
N_ROWS = (1, 8, 32)
# Name, threads inside a run, runs side by side, whether waiting threads spin.
WAYS = (
    ("1 thread", 1, 1, False),
    ("2 inside a run, spinning", 2, 1, True),
    ("2 inside a run", 2, 1, False),
    ("2 runs side by side", 1, 2, False),
)
SLICE_S, N_SLICES = 0.3, 5
BATCH = 32


def open_session(path: Path, n_inside: int, *, is_spinning: bool) -> onnxruntime.InferenceSession:
    """Returns a session whose runs use `n_inside` threads."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = n_inside
    options.add_session_config_entry("session.intra_op.allow_spinning", str(int(is_spinning)))
    return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])


def feed_of(
    session: onnxruntime.InferenceSession, ids: NDArray[Any], mask: NDArray[Any]
) -> dict[str, NDArray[Any]]:
    """Returns the graph's inputs for rows of token ids."""
    values = {"input_ids": ids, "attention_mask": mask, "token_type_ids": np.zeros_like(ids)}
    return {each.name: values[each.name].astype(np.int64) for each in session.get_inputs()}


def random_ids(n_rows: int, n_tokens: int) -> NDArray[np.int64]:
    """Returns `[n_rows, n_tokens]`, the same ones at every call."""
    return np.random.default_rng(0).integers(1_000, 30_000, (n_rows, n_tokens))


def rate(call: Callable[[], object], n_texts: int, n_side_by_side: int = 1) -> float:
    """Returns texts a second of the best slice."""

    def repeat(end_s: float) -> int:
        n_calls = 0
        while time.perf_counter() < end_s:
            call()
            n_calls += 1
        return n_calls

    call()
    best = 0.0
    with ThreadPoolExecutor(n_side_by_side) as threads:
        for _ in range(N_SLICES):
            begin_s = time.perf_counter()
            n_calls = sum(threads.map(repeat, [begin_s + SLICE_S] * n_side_by_side))
            best = max(best, n_calls * n_texts / (time.perf_counter() - begin_s))
    return best


def show_company(path: Path) -> None:
    """Prints what other rows in a run, and padding, do to a row."""
    session = open_session(path, 1, is_spinning=False)
    ids = random_ids(4, 16)
    together = session.run(None, feed_of(session, ids, np.ones_like(ids)))[0]
    rows = (feed_of(session, ids[i : i + 1], np.ones((1, 16))) for i in range(4))
    alone = np.concatenate([session.run(None, row)[0] for row in rows])
    wide = ((0, 0), (0, 20))
    mask = np.pad(np.ones_like(ids), wide)
    padded = session.run(None, feed_of(session, np.pad(ids, wide), mask))[0]
    for name, found in (("beside others", together), ("and padded", padded[:, :16])):
        difference = np.abs(found - alone).max() / np.abs(alone).max()
        cosine = min(_cosine(a.mean(0), b.mean(0)) for a, b in zip(found, alone, strict=True))
        print(f"  {name:16} differs by {difference:.1e} of the largest value, cosine {cosine:.5f}")


def show_ways(path: Path) -> None:
    """Prints texts a second of rows of one length."""
    print("  tokens x rows  ", "".join(f"{f'{n}x{k}':>9}" for n in LENGTHS for k in N_ROWS))
    for name, n_inside, n_side_by_side, is_spinning in WAYS:
        session = open_session(path, n_inside, is_spinning=is_spinning)
        figures = []
        for n_tokens in LENGTHS:
            for n_rows in N_ROWS:
                ids = random_ids(n_rows, n_tokens)
                feed = feed_of(session, ids, np.ones_like(ids))
                figures.append(rate(lambda s=session, f=feed: s.run(None, f), n_rows, n_side_by_side))
        print(f"  {name:25}", "".join(f"{figure:9.0f}" for figure in figures), flush=True)


def show_mixed(folder: Path) -> None:
    """Prints texts a second of batches whose lengths are mixed, without and with padding."""
    files = {each.name: str(each) for each in folder.iterdir() if each.is_file()}
    model = OnnxBackend(LoadSpec(model=folder.name, backend="onnx", files=files, revision=""))
    random = np.random.default_rng(1)
    lengths = np.clip(random.lognormal(3.6, 0.8, BATCH), 5, 250).astype(int)
    batch = model.tokenize([random.integers(1_000, 30_000, n).tolist() for n in lengths])
    ours = rate(lambda: model.embed(batch), BATCH)
    mask = np.arange(lengths.max() + 2) < (lengths + 2)[:, None]
    session = open_session(folder / "model.onnx", 2, is_spinning=True)
    feed = feed_of(session, random_ids(*mask.shape), mask)
    padded = rate(lambda: session.run(None, feed), BATCH)
    print(f"  mixed lengths (mean {lengths.mean():.0f}): backend {ours:.0f}, padded {padded:.0f} texts/s")


def _cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> float:
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


if __name__ == "__main__":
    for argument in sys.argv[1:]:
        print(argument, onnxruntime.__version__)
        show_company(Path(argument) / "model.onnx")
        show_ways(Path(argument) / "model.onnx")
        show_mixed(Path(argument))
