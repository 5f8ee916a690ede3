"""Servers and load generators as processes of their own."""

from __future__ import annotations

import contextlib
import functools
import http.client
import json
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from bench.machine import ROOT, child_environment

_READY_WITHIN_S = 90  # the rivals' as well
# What `turbov2 serve` does, for a checkout whose command is not built yet.
_SERVE = """
from turbov2.obs.logs import configure_logs
from turbov2.engine.shelf import load_catalog
from turbov2.server.run import listen, serve
from turbov2.settings import load_settings
settings = load_settings()
configure_logs(settings.log_level, settings.log_format)
raise SystemExit(serve(settings, load_catalog(settings), listen(settings)))
"""


class Server:
    """A running server: its port, its process and how long it took to become ready."""

    def __init__(self, process: psutil.Popen, port: int, ready_s: float) -> None:
        self.process = process
        self.port = port
        self.ready_s = ready_s

    def post(self, path: str, body: bytes) -> tuple[int, bytes]:
        """Returns status and body of one request."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        connection.request("POST", path, body, {"content-type": "application/json"})
        response = connection.getresponse()
        answer = response.status, response.read()
        connection.close()
        return answer


@functools.cache
def turbov2_command() -> list[str]:
    """Returns the command that serves: the installed one, or its equivalent until that exists."""
    command = Path(sys.executable).with_name("turbov2")
    if command.exists():
        helped = subprocess.run(
            [command, "serve", "--help"], capture_output=True, check=False, env=child_environment()
        )
        if helped.returncode == 0:
            return [str(command), "serve"]
    return [sys.executable, "-c", _SERVE]


@contextlib.contextmanager
def turbov2() -> Iterator[Server]:
    """A fresh TurboV2 with default settings on a free port; its log, access lines too, goes to a file."""
    port = free_port()
    with tempfile.TemporaryDirectory() as home:
        environment = child_environment(HOST="127.0.0.1", PORT=str(port), TURBOV2_HOME=home)
        with running(turbov2_command(), port, environment) as server:
            yield server


@contextlib.contextmanager
def running(
    command: list[str], port: int, environment: dict[str, str] | None = None, ready_path: str = "/readyz"
) -> Iterator[Server]:
    """The command, once GET `ready_path` on `port` has answered 200; stopped at the end."""
    with tempfile.TemporaryFile() as log:
        begin = time.perf_counter()
        process = psutil.Popen(
            command,
            cwd=ROOT,
            env=environment or child_environment(),
            stdout=log,
            stderr=log,
            stdin=subprocess.DEVNULL,
        )
        try:
            while not _is_ready(port, ready_path):
                if process.poll() is not None or time.perf_counter() - begin > _READY_WITHIN_S:
                    log.seek(0)
                    raise SystemExit(f"the server did not become ready: {log.read()[-2000:].decode()}")
                time.sleep(0.002)
            yield Server(process, port, time.perf_counter() - begin)
        finally:
            _stop(process)


def _stop(process: psutil.Popen) -> None:
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
        try:
            process.wait(10)
        except psutil.TimeoutExpired:
            process.kill()
            process.wait(5)


def free_port() -> int:
    """Returns a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def load(
    port: int, requests: Path, *, connections: int, seconds: float, warm_s: float, repeats: bool
) -> dict[str, Any]:
    """Returns what the load generator measured. Raises: SystemExit when a request failed."""
    plan = {"port": port, "requests": str(requests), "connections": connections}
    plan |= {"seconds": seconds, "warm_s": warm_s, "repeats": repeats}
    with tempfile.NamedTemporaryFile("w", suffix=".json") as file:
        file.write(json.dumps(plan))
        file.flush()
        done = subprocess.run(
            [sys.executable, "-m", "bench.load", file.name],
            cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
    outcome: dict[str, Any] = json.loads(done.stdout)
    if "error" in outcome:
        raise SystemExit(f"the run is void, a request failed: {outcome['error']}")
    return outcome


def call(module: str, is_quick: bool) -> dict[str, Any]:
    """Returns what `module`, run as a program of its own in the bench's environment, gives to `answer`."""
    command = [sys.executable, "-m", module, *(["--quick"] if is_quick else [])]
    done = subprocess.run(command, cwd=ROOT, env=child_environment(), stdout=subprocess.PIPE, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def answer(found: dict[str, Any]) -> None:
    """Afterwards the parent's `call` has `found`."""
    print(json.dumps(found))


def _is_ready(port: int, path: str) -> bool:
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
            connection.sendall(
                b"GET %b HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n" % path.encode()
            )
            return connection.recv(64)[9:12] == b"200"
    except OSError:
        return False
