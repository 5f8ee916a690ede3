"""What the load generator itself costs, and whether it holds the server back: against wrk."""

from __future__ import annotations

import re
import resource
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from bench import processes
from bench.processes import Server
from bench.scenarios import CONNECTIONS
from bench.stats import spread

# wrk calls request() for each one; the file holds length-prefixed requests (bench.load.write_requests).
_SCRIPT = """
local all, at, turn = {}, 1, 0
local file = io.open("%s", "rb")
local bytes = file:read("*a")
while at <= #bytes do
  local a, b, c, d = bytes:byte(at, at + 3)
  local n = a + b * 256 + c * 65536 + d * 16777216
  all[#all + 1] = bytes:sub(at + 4, at + 3 + n)
  at = at + 4 + n
end
function request() turn = turn %% #all + 1 return all[turn] end
"""


def compare(server: Server, requests: Path, is_quick: bool) -> dict[str, Any]:
    """Returns requests/s and client CPU of our generator and, where it is installed, of wrk, in turns."""
    ours: list[dict[str, float]] = []
    wrks: list[dict[str, float]] = []
    for _ in range(1 if is_quick else 3):
        outcome = processes.load(
            server.port, requests, connections=CONNECTIONS, seconds=1.0, warm_s=0.1, repeats=True
        )
        ours.append({key: outcome[key] for key in ("requests_per_s", "client_us_per_request")})
        if shutil.which("wrk"):
            wrks.append(_wrk(server.port, requests))
    found = {"bench.load": ours} | ({"wrk -t1": wrks} if wrks else {})
    return {
        name: {key: spread([entry[key] for entry in entries]) for key in entries[0]}
        for name, entries in found.items()
    }


def _wrk(port: int, requests: Path) -> dict[str, float]:
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(_SCRIPT % requests)
        script.flush()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        command = ["wrk", "-t1", f"-c{CONNECTIONS}", "-d1", "-s", script.name, f"http://127.0.0.1:{port}/"]
        text = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if "Non-2xx" in text:
        raise SystemExit(f"the run is void, wrk got errors: {text}")
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    n_requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]
    per_s = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]
    return {"requests_per_s": per_s, "client_us_per_request": cpu_s / n_requests * 1e6}
