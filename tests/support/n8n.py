"""A real n8n in a process of its own: SQLite in a folder, on loopback, telling nobody anything."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx

from tests.support.n8n_workflows import Workflow
from tests.support.server import until

_START_S = 180.0  # the first start writes the database's tables
_COMMAND_S = 120.0
_QUIET = {
    "N8N_DIAGNOSTICS_ENABLED": "false",
    "N8N_VERSION_NOTIFICATIONS_ENABLED": "false",
    "N8N_TEMPLATES_ENABLED": "false",
    "N8N_DYNAMIC_BANNERS_ENABLED": "false",
    "N8N_COMMUNITY_PACKAGES_ENABLED": "false",
    "N8N_LICENSE_AUTO_RENEW_ENABLED": "false",
    "N8N_PERSONALIZATION_ENABLED": "false",
    "EXECUTIONS_DATA_SAVE_ON_SUCCESS": "none",
}


class RunningN8n:
    """On entering imports and publishes workflows, starts, and answers their webhooks; ends on leaving."""

    def __init__(
        self,
        executable: str,
        folder: Path,
        workflows: Sequence[Workflow],
        credentials: Sequence[dict[str, Any]] = (),
    ) -> None:
        self._executable = executable
        self._folder = folder
        self._workflows = workflows
        self._credentials = credentials
        port, broker_port = _free_ports(2)
        self._env = _environment(folder, port, broker_port)
        self._process: subprocess.Popen[bytes] | None = None
        self.http = httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=120)

    def __enter__(self) -> RunningN8n:
        self._import()
        with (self._folder / "n8n.log").open("wb") as log:
            command = [self._executable, "start"]
            self._process = subprocess.Popen(
                command, env=self._env, stdout=log, stderr=log, cwd=self._folder, start_new_session=True
            )
        try:
            for path in (_path_of(workflow) for workflow in self._workflows):
                until(lambda path=path: self._answers(path), _START_S)  # type: ignore[misc]
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        self._end()

    def post(self, path: str, **request: Any) -> httpx.Response:
        """Returns the answer of the workflow that begins with this webhook."""
        return self.http.post(f"/webhook/{path}", **request)

    def log(self) -> str:
        """Returns what n8n has written so far."""
        return (self._folder / "n8n.log").read_text("utf-8", "replace")

    def _import(self) -> None:
        folder = self._folder / "import"
        folder.mkdir()
        for workflow in self._workflows:
            (folder / f"{workflow['id']}.json").write_text(json.dumps(workflow))
        self._run("import:workflow", "--separate", f"--input={folder}")
        if self._credentials:
            file = self._folder / "credentials.json"
            file.write_text(json.dumps(self._credentials))
            self._run("import:credentials", f"--input={file}")
        for workflow in self._workflows:
            self._run("publish:workflow", f"--id={workflow['id']}")

    def _run(self, *arguments: str) -> None:
        done = subprocess.run(
            [self._executable, *arguments], env=self._env, capture_output=True, text=True, timeout=_COMMAND_S
        )
        assert done.returncode == 0, (
            f"n8n {' '.join(arguments)}:\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        )

    def _answers(self, path: str) -> bool:
        """Returns whether the workflow runs; until then its webhook is a 404. It runs once for that."""
        assert self._process is not None
        assert self._process.poll() is None, f"n8n ended while it started:\n{self.log()[-3000:]}"
        try:
            answer = self.post(path)
        except httpx.TransportError:
            return False
        return answer.status_code != 404 and not answer.text.startswith("n8n is starting up")

    def _end(self) -> None:
        """Ends n8n and the runner of tasks that it started."""
        if self._process is None:
            return
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(20)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()


def _path_of(workflow: Workflow) -> str:
    return str(next(node["parameters"]["path"] for node in workflow["nodes"] if node["name"] == "Webhook"))


def _environment(folder: Path, port: int, broker_port: int) -> dict[str, str]:
    kept = {
        key: value for key, value in os.environ.items() if not key.startswith(("N8N_", "DB_", "WEBHOOK_"))
    }
    ours = {
        "N8N_USER_FOLDER": str(folder),
        "N8N_LISTEN_ADDRESS": "127.0.0.1",
        "N8N_HOST": "127.0.0.1",
        "N8N_PORT": str(port),
        "N8N_SECURE_COOKIE": "false",  # the editor's session over plain HTTP
        "N8N_RUNNERS_BROKER_PORT": str(broker_port),
        "DB_TYPE": "sqlite",
    }
    return kept | _QUIET | ours


def _free_ports(n_ports: int) -> list[int]:
    with contextlib.ExitStack() as held:
        probes = [held.enter_context(socket.socket()) for _ in range(n_ports)]
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [int(probe.getsockname()[1]) for probe in probes]
