"""The ways to write `[32, 256]` float32 as JSON, timed in a process of their own."""

from __future__ import annotations

import json
import sys
from typing import Any

import msgspec
import numpy as np
import orjson

from bench import processes
from bench.steps import Step, time_steps
from turbov2.wire._vectors import base64_row


def main() -> None:
    """Prints microseconds per block and bytes of its JSON."""
    vectors = np.random.default_rng(0).normal(0, 0.06, (32, 256)).astype(np.float32)
    ways: dict[str, Any] = {
        "orjson, numpy array": lambda rows: orjson.dumps(rows, option=orjson.OPT_SERIALIZE_NUMPY),
        "orjson, tolist()": lambda rows: orjson.dumps(rows.tolist()),
        "msgspec, tolist()": lambda rows: msgspec.json.encode(rows.tolist()),
        "json, tolist()": lambda rows: json.dumps(rows.tolist()).encode(),
        "base64 of each row (pybase64)": lambda rows: b",".join(map(base64_row, rows)),
    }
    timed = time_steps([Step(name, run, [vectors]) for name, run in ways.items()], 1, "--quick" in sys.argv)
    processes.answer({name: timed[name] | {"bytes": len(run(vectors))} for name, run in ways.items()})


if __name__ == "__main__":
    main()
