"""Section `start`: from the command to the first 200 on /readyz, and what the process then occupies."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from bench import load, processes, texts
from bench.machine import ROOT, child_environment, wait_until_quiet
from bench.scenarios import CONNECTIONS, PATHS, body
from bench.stats import spread

READY_TARGET_S = 1.5
RSS_TARGET_MB = 150
_IMPORT_LINE = re.compile(r"import time:\s+(\d+) \|\s+(\d+) \| (\s*)(\S+)")
_N_REQUESTS = 1000


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures. The first start warms the file cache and does not count."""
    n_runs = 1 if is_quick else 9
    ready_s: list[float] = []
    memory: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        requests = Path(folder) / "requests"
        workload = texts.fresh(16, 32, 60 if is_quick else _N_REQUESTS)
        load.write_requests(requests, PATHS["json"], [body("json", batch) for batch in workload.batches])
        for number in range(n_runs + 1):
            wait_until_quiet()
            with processes.turbov2() as server:
                if number:
                    ready_s.append(server.ready_s)
                if number <= 3:
                    memory.append(_memory_mb(server, workload.batches[0], requests))
    ready, rss = spread(ready_s), {stage: spread([m[stage] for m in memory]) for stage in memory[0]}
    return {
        "settings": {"runs": n_runs, "command": "turbov2 serve", "is_installed_command": _is_installed()},
        "ready_s": ready,
        "rss_mb": rss,
        "targets": [
            {"name": "ready (s)", "target": READY_TARGET_S, "met": ready["median"] < READY_TARGET_S},
            {"name": "idle RSS (MB)", "target": RSS_TARGET_MB, "met": rss["ready"]["median"] < RSS_TARGET_MB},
        ],
        "steps_s": _steps(1 if is_quick else 5),
        "slowest_imports": _imports(),
    }


def _is_installed() -> bool:
    return processes.turbov2_command()[0] != sys.executable


def _memory_mb(server: processes.Server, batch: list[str], requests: Path) -> dict[str, float]:
    found = {"ready": _rss_mb(server)}
    server.post(PATHS["json"], body("json", batch[:1]))
    found["after 1 request"] = _rss_mb(server)
    processes.load(server.port, requests, connections=CONNECTIONS, seconds=60, warm_s=0, repeats=False)
    found["after 1000 requests of 32 texts, 10 % new words"] = _rss_mb(server)
    return found


def _rss_mb(server: processes.Server) -> float:
    time.sleep(0.1)
    return round(float(server.process.memory_info().rss) / 1e6, 1)


def _steps(n_runs: int) -> dict[str, dict[str, float]]:
    """Returns how long Python itself takes, and with the server's imports; the rest is loading the model."""
    programs = {"python alone": "pass", "with the server's imports": "import turbov2.server.run"}
    found: dict[str, list[float]] = {name: [] for name in programs}
    for _ in range(n_runs):
        for name, program in programs.items():
            begin = time.perf_counter()
            subprocess.run([sys.executable, "-c", program], check=True, cwd=ROOT, env=child_environment())
            found[name].append(time.perf_counter() - begin)
    return {name: spread(values) for name, values in found.items()}


def _imports() -> dict[str, list[dict[str, Any]]]:
    """Returns the ten packages and the ten single modules that importing the server spends most time in."""
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-c", "import turbov2.server.run"],
        check=True, cwd=ROOT, env=child_environment(), capture_output=True, text=True,
    )  # fmt: skip
    lines = [(int(a), int(b), name) for a, b, _, name in _IMPORT_LINE.findall(done.stderr)]
    packages: dict[str, int] = {}
    for own, _, name in lines:
        top = name.split(".")[0]
        packages[top] = packages.get(top, 0) + own
    return {
        "packages_own_ms": _top([(own, name) for name, own in packages.items()]),
        "modules_cumulative_ms": _top([(total, name) for _, total, name in lines]),
        "modules_own_ms": _top([(own, name) for own, _, name in lines]),
    }


def _top(pairs: list[tuple[int, str]]) -> list[dict[str, Any]]:
    return [{"name": name, "ms": round(us / 1000, 1)} for us, name in sorted(pairs, reverse=True)[:10]]
