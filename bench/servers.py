"""Section `servers`: the same tiny application on each HTTP server, and the ways to write JSON.

What docs/adr/ says about both choices rests on these figures.
"""

from __future__ import annotations

import importlib.util
import sys
import tempfile
from collections import defaultdict
from pathlib import Path
from typing import Any

from bench import load, processes, texts
from bench.machine import Neighbours, wait_until_quiet
from bench.micro import SERVERS
from bench.scenarios import CONNECTIONS, PATHS, body
from bench.stats import spread

BATCHES = (1, 32)


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    n_rounds, seconds = (1, 0.2) if is_quick else (3, 1.2)
    present = {name for name, (package, _) in SERVERS.items() if importlib.util.find_spec(package)}
    found: dict[tuple[str, int], list[dict[str, float]]] = defaultdict(list)
    with tempfile.TemporaryDirectory() as folder:
        requests = {n: _requests(Path(folder), n) for n in BATCHES}
        for _ in range(n_rounds):
            wait_until_quiet()
            for name in SERVERS:
                if name in present:
                    _measure_server(name, requests, seconds, found)
    return {
        "settings": {
            "rounds": n_rounds,
            "connections": CONNECTIONS,
            "tokens": 16,
            "workers": 1,
            "access_log": False,
        },
        "servers": [_row(name, found) for name in SERVERS if name in present],
        "not_installed": [name for name in SERVERS if name not in present],
        "json_us": processes.call("bench.json_ways", is_quick),
    }


def _requests(folder: Path, n_texts: int) -> Path:
    file = folder / f"{n_texts}.requests"
    workload = texts.known(16, n_texts, 128)
    load.write_requests(file, PATHS["json"], [body("json", batch) for batch in workload.batches])
    return file


def _measure_server(
    name: str, requests: dict[int, Path], seconds: float, found: dict[tuple[str, int], list[dict[str, float]]]
) -> None:
    port = processes.free_port()
    with processes.running([sys.executable, "-m", "bench.micro", name, str(port)], port) as server:
        for n_texts, file in requests.items():
            with Neighbours(server.process, *server.process.children(recursive=True)) as others:
                entry = processes.load(
                    port, file, connections=CONNECTIONS, seconds=seconds, warm_s=0.3, repeats=True
                )
            family = [server.process, *server.process.children(recursive=True)]
            entry["rss_mb"] = sum(process.memory_info().rss for process in family) / 1e6
            entry["ready_s"] = server.ready_s
            found[name, n_texts].append(entry | {"others": others.share, "server_cores": others.server_cores})


def _row(name: str, found: dict[tuple[str, int], list[dict[str, float]]]) -> dict[str, Any]:
    row: dict[str, Any] = {"name": name}
    for n_texts in BATCHES:
        entries = found[name, n_texts]
        row[f"{n_texts} texts"] = {key: spread([entry[key] for entry in entries]) for key in entries[0]}
    return row
