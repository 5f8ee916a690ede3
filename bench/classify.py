"""`python -m bench.classify`: a page's way through `POST /api/classify`, and its network under torch.

A JPEG of 1000 x 1400 pixels, one request at a time over one connection, the server on its defaults: one core
looks at a page. Beside it, in this process and one after the other with it, on one thread: Pillow decodes the
same file in full, scales it, and the network of `recipes.vl_classifier` runs in float32 under torch.
Its weights are random, which cost the same. Writes `bench/results/classify.json`; needs the extra `sentence`
for torch.
"""

from __future__ import annotations

import http.client
import io
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import torch
from PIL import Image

from bench import machine, processes
from bench.machine import child_environment
from bench.media_latency import page
from recipes.vl_classifier.canvas import letterbox
from recipes.vl_classifier.network import PageNetwork

ROUNDS, REQUESTS, WARM = 5, 60, 10


def through_torch(file: bytes) -> Callable[[], None]:
    """Returns the way that a script takes: decode, scale, run."""
    torch.set_num_threads(1)
    network = PageNetwork().eval()

    def run() -> None:
        with torch.inference_mode():
            canvas, _ = letterbox(np.asarray(Image.open(io.BytesIO(file)).convert("L")))
            network(1 - torch.from_numpy(canvas)[None, None].float() / 255)

    return run


def over_http(port: int, file: bytes) -> Callable[[], None]:
    """Returns a request over one connection. It raises SystemExit for any status but 200."""
    connection = http.client.HTTPConnection("127.0.0.1", port)

    def run() -> None:
        connection.request("POST", "/api/classify", file, {"content-type": "image/jpeg"})
        answer = connection.getresponse()
        body = answer.read()
        if answer.status != 200:
            raise SystemExit(f"the server answered {answer.status}: {body[:300]!r}")

    return run


def times_ms(work: Callable[[], None], n: int) -> list[float]:
    """Returns how long each call took."""
    found = []
    for _ in range(n):
        began_s = time.perf_counter()
        work()
        found.append(1e3 * (time.perf_counter() - began_s))
    return found


def measure() -> dict[str, Any]:
    """Returns percentiles of both, and by how much ours is faster, round by round."""
    file, port = page(4), processes.free_port()
    with tempfile.TemporaryDirectory() as home:
        environment = child_environment(HOST="127.0.0.1", PORT=str(port), TURBOV2_HOME=home)
        with processes.running(processes.turbov2_command(), port, environment):
            ways = {"TurboV2 over HTTP": over_http(port, file), "torch in process": through_torch(file)}
            for way in ways.values():
                times_ms(way, WARM)
            rounds = [{name: times_ms(way, REQUESTS) for name, way in ways.items()} for _ in range(ROUNDS)]
    medians = [{name: statistics.median(found) for name, found in each.items()} for each in rounds]
    ratios = [each["torch in process"] / each["TurboV2 over HTTP"] for each in medians]
    return {
        "section": "classify",
        "machine": machine.facts(),
        "file_bytes": len(file),
        "ms": {name: _spread([t for each in rounds for t in each[name]]) for name in ways},
        "ratio": {"median": statistics.median(ratios), "min": min(ratios), "max": max(ratios)},
    }


def _spread(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 2) for q in (5, 50, 95, 99)}


def main() -> None:
    """Measures, stores and prints."""
    result = measure()
    text = msgspec.json.format(msgspec.json.encode(result), indent=1)
    (machine.RESULTS / "classify.json").write_bytes(text + b"\n")
    for name, found in result["ms"].items():
        print(f"{name:20}", ", ".join(f"{q} {value} ms" for q, value in found.items()))
    print("torch / ours: {median:.2f} ({min:.2f}-{max:.2f})".format(**result["ratio"]))


if __name__ == "__main__":
    main()
