"""What a server and its children occupy, by a process of its own: `python -m bench.sampler plan.json`.

Linux only. USS is memory that would be free if the process ended: pages of shared libraries count nowhere.
"""

from __future__ import annotations

import contextlib
import dataclasses
import http.client
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.machine import ROOT, child_environment
from bench.processes import Server

_STATUS_EVERY_S = 0.25


@dataclasses.dataclass
class Samples:
    """All that was sampled, oldest first; filled when sampling ends. `begin_s` is their zero of time."""

    begin_s: float
    taken: list[dict[str, Any]] = dataclasses.field(default_factory=list)


@contextlib.contextmanager
def sampling(server: Server, interval_s: float) -> Iterator[Samples]:
    """Samples the server until the end of the block.

    A sample: `t` in seconds of the block, `processes` pid -> {uss, rss, n_fds, n_threads}, in bytes, the
    server's under "server"; about every quarter second also `status`, the answer to GET /api/status.
    """
    samples = Samples(time.monotonic())
    with tempfile.TemporaryDirectory() as folder:
        plan, taken = Path(folder) / "plan.json", Path(folder) / "samples"
        told = {"pid": server.process.pid, "port": server.port, "interval_s": interval_s, "file": str(taken)}
        plan.write_text(json.dumps(told | {"begin_s": samples.begin_s}))
        command = [sys.executable, "-m", "bench.sampler", str(plan)]
        process = subprocess.Popen(command, cwd=ROOT, env=child_environment())
        try:
            yield samples
        finally:
            process.terminate()
            process.wait(10)
        if taken.exists():
            lines = taken.read_text().splitlines(keepends=True)
            samples.taken = [json.loads(line) for line in lines if line.endswith("\n")]


def main() -> None:
    """Takes samples until it is ended."""
    plan = json.loads(Path(sys.argv[1]).read_text())
    server, known = psutil.Process(plan["pid"]), dict[int, psutil.Process]()
    told: deque[dict[str, Any]] = deque(maxlen=1)  # by the thread, which may wait for a busy server
    threading.Thread(target=_ask_status, args=(plan["port"], told), daemon=True).start()
    next_s = time.monotonic()
    with Path(plan["file"]).open("w", buffering=1) as out:
        while server.is_running():
            time.sleep(max(0.0, next_s - time.monotonic()))
            now_s = time.monotonic()
            next_s = max(next_s + plan["interval_s"], now_s)
            sample: dict[str, Any] = {"t": round(now_s - plan["begin_s"], 3)}
            sample["processes"] = {"server": _measure(server), **_children(server, known)}
            if told:
                sample["status"] = told.pop()
            out.write(json.dumps(sample) + "\n")


def _children(server: psutil.Process, known: dict[int, psutil.Process]) -> dict[str, dict[str, int]]:
    # The kernel's own list: psutil would read the whole process table each time.
    found = {}
    for task in Path(f"/proc/{server.pid}/task").iterdir():
        with contextlib.suppress(OSError):
            for pid in map(int, (task / "children").read_text().split()):
                with contextlib.suppress(psutil.Error):  # it ended just now
                    if pid not in known or not known[pid].is_running():
                        known[pid] = psutil.Process(pid)
                    found[str(pid)] = _measure(known[pid])
    return found


def _measure(process: psutil.Process) -> dict[str, int]:
    with process.oneshot():
        memory = process.memory_full_info()
        return {
            "uss": memory.uss,
            "rss": memory.rss,
            "n_fds": process.num_fds(),
            "n_threads": process.num_threads(),
        }


def _ask_status(port: int, told: deque[dict[str, Any]]) -> None:
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        with contextlib.suppress(OSError, http.client.HTTPException, ValueError):
            connection.request("GET", "/api/status")
            status = json.loads(connection.getresponse().read())
            told.append({key: status[key] for key in ("devices", "residents") if key in status})
        connection.close()
        time.sleep(_STATUS_EVERY_S)


if __name__ == "__main__":
    main()
