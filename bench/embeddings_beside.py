"""Single short texts embedded alone, and while a model writes answers on the same cores."""

from __future__ import annotations

import contextlib
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from bench import fleet, lanes, load, slots, texts
from bench.processes import Server
from bench.stats import spread
from bench.streams import stream

RATIO_TARGET = 2.0
ENCODER = fleet.Encoder("minilm-onnx", "onnx")
_REQUESTS_PER_S = {fleet.WORDLLAMA: 100.0, ENCODER.name: 25.0}
_N_TOKENS, _ANSWER_TOKENS = 16, 96
_SECONDS_TO_WARM = 1.0


def measure(
    server: Server, writer: str, n_streams: Sequence[int], n_rounds: int, seconds: float
) -> list[dict[str, Any]]:
    """Returns for each model that embeds, and each number of answers written meanwhile, p99 by p99 alone."""
    for model in _REQUESTS_PER_S:
        status, _ = server.post("/api/embed", msgspec.json.encode({"model": model, "input": "load it"}))
        if status != 200:
            raise SystemExit(f"{model} answers {status}")
    return [
        row for model in _REQUESTS_PER_S for row in _of(server, model, writer, n_streams, n_rounds, seconds)
    ]


def _of(
    server: Server, model: str, writer: str, n_streams: Sequence[int], n_rounds: int, seconds: float
) -> Iterator[dict[str, Any]]:
    rounds = [
        {n: _latency(server, model, writer, n, seconds) for n in (0, *n_streams)} for _ in range(n_rounds)
    ]
    for n in n_streams:
        ratio = spread([found[n]["p99_ms"] / found[0]["p99_ms"] for found in rounds])
        spreads = {
            f"{when}_{share}_ms": spread([found[of][f"{share}_ms"] for found in rounds])
            for when, of in (("alone", 0), ("beside", n))
            for share in ("p50", "p99")
        }
        met = ratio["median"] <= RATIO_TARGET
        yield {"model": model, "streams": n, **spreads, "ratio": ratio, "met": met}


def _latency(server: Server, model: str, writer: str, n_streams: int, seconds: float) -> dict[str, float]:
    with tempfile.TemporaryDirectory() as name, _writing(server, writer, n_streams):
        folder = Path(name)
        bodies = [
            msgspec.json.encode({"model": model, "input": batch})
            for batch in texts.known(_N_TOKENS, 1, 256).batches
        ]
        load.write_requests(folder / "interactive", "/api/embed", bodies)
        rate = {"requests_per_s": _REQUESTS_PER_S[model]}
        with lanes.client("interactive", server, folder, **rate) as client:
            time.sleep(_SECONDS_TO_WARM)
            begin_s = time.monotonic()
            time.sleep(seconds)
            client.terminate()
            told = lanes.said(client)
    if told["n_unanswered"]:
        raise SystemExit(f"{told['n_unanswered']} texts were not embedded")
    return lanes.latency(told["taken"], begin_s, begin_s + seconds)


@contextlib.contextmanager
def _writing(server: Server, writer: str, n_streams: int) -> Iterator[None]:
    """Meanwhile so many answers are written at a time, one after the other."""
    is_over = threading.Event()

    def write() -> None:
        while not is_over.is_set():
            stream(server.port, slots.questions(writer, n_streams, _ANSWER_TOKENS))

    thread = threading.Thread(target=write if n_streams else is_over.wait)
    thread.start()
    try:
        yield
    finally:
        is_over.set()
        thread.join()
