"""The two clients of section `lanes`, each a process of its own: `python -m bench.lane_clients plan.json`.

Prints one JSON object. Times are of the monotonic clock, which all processes of a machine share.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench import client
from bench.client import Pool
from bench.load import read_requests

_PATIENCE_S = 120.0


async def interactive(plan: dict[str, Any]) -> dict[str, Any]:
    """Returns when each request went out and how long it took.

    They go out at a fixed rate until SIGTERM, whether or not those before have their answers.
    """
    texts, pool = read_requests(Path(plan["requests"])), Pool(plan["port"])
    is_over = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, is_over.set)
    taken: list[tuple[float, float]] = []
    ends = Counter[int]()

    async def one(request: bytes) -> None:
        sent_s = time.monotonic()
        answer = await pool.ask(request, _PATIENCE_S)
        taken.append((sent_s, time.monotonic() - sent_s))
        ends[answer.status] += 1

    begin_s = time.monotonic()
    async with asyncio.TaskGroup() as requests:
        for number, request in enumerate(itertools.cycle(texts)):
            await asyncio.sleep(max(0.0, begin_s + number / plan["requests_per_s"] - time.monotonic()))
            if is_over.is_set():
                break
            requests.create_task(one(request))
    return {"taken": taken, "n_unanswered": ends.total() - ends[200]}


async def ingest(plan: dict[str, Any]) -> dict[str, Any]:
    """Returns how many texts were embedded and how requests ended. Stops after `seconds`, done or not.

    What is refused is sent again after the time that the server named.
    """
    pool, ends = Pool(plan["port"]), Counter[str]()
    supply = zip(read_requests(Path(plan["requests"])), plan["n_texts"], strict=True)
    begin_s = time.monotonic()
    async with asyncio.TaskGroup() as connections:
        for _ in range(plan["n_connections"]):
            connections.create_task(_ingest(pool, supply, begin_s + plan["seconds"], ends))
    return {"begin_s": begin_s, "end_s": time.monotonic(), **ends}


async def _ingest(pool: Pool, supply: Iterator[tuple[bytes, int]], end_s: float, ends: Counter[str]) -> None:
    for request, n_texts in supply:
        while (left_s := end_s - time.monotonic()) > 0:
            answer = await pool.ask(request, left_s)
            if answer.status == 200:
                ends["texts"] += n_texts
            elif answer.is_refusal:
                ends["refused"] += 1
                await asyncio.sleep(min(left_s, answer.retry_after_s or 0))
                continue
            elif not answer.has_left:
                ends["lost"] += 1
            break


def main() -> None:
    """Afterwards what the client measured is printed."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    print(json.dumps(client.run({"interactive": interactive, "ingest": ingest}[plan["client"]](plan))))


if __name__ == "__main__":
    main()
