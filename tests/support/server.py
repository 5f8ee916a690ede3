"""A server in a process of its own, as people run it, and the fake models that it may serve."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any

import httpx
import numpy as np
import psutil
from numpy.typing import NDArray
from prometheus_client.parser import text_string_to_metric_families

from turbov2 import errors

REAL = "wordllama-256d"
FAKE = "fake-8d"  # reads 8 words, 8 dimensions, in a process of its own
INLINE = "fake-inline"  # reads any length, 8 dimensions, in the event loop
DEADLINE_S = 20.0
Embed = Callable[[list[str]], NDArray[np.float32]]

_COMMAND = (str(Path(sys.executable).with_name("turbov2")), "serve")
_OURS = ("TURBOV2_", "EMBEDDINGS_", "HF_", "OLLAMA_", "OPENAI_") + (
    "LLM_BACKEND",
    "VLLM_",
    "REMOTE_OPENAI_",
    "BITNET_",
)
_LEAK = re.compile(
    r"Traceback|/work|/tmp|/home|site-packages|0x[0-9a-fA-F]|\bturbov2\.|msgspec|\b[A-Z]\w*(?:Error|Exception)\b|"
    + "|".join(rf"\b{cls.__name__}\b" for cls in errors._BY_CODE.values())
)


def until(condition: Callable[[], bool], deadline_s: float = DEADLINE_S) -> None:
    """Returns as soon as `condition` holds. Raises: AssertionError after `deadline_s`."""
    end_s = time.monotonic() + deadline_s
    while not condition():
        assert time.monotonic() < end_s, f"nothing happened within {deadline_s:g} s"
        time.sleep(0.01)


def assert_clean(response: httpx.Response) -> None:
    """Raises: AssertionError if an error's body tells what only the log may: paths, addresses, classes."""
    assert not (found := _LEAK.search(response.text)), f"{found!r} in {response.text[:500]}"


def ollama_error(response: httpx.Response, status: int) -> str:
    """Returns the text of an error of `/api/*` or a native path, after checking its shape."""
    assert response.status_code == status, response.text[:500]
    body = response.json()
    assert set(body) == {"error"}
    assert isinstance(body["error"], str)
    assert body["error"]
    assert_clean(response)
    return str(body["error"])


def openai_error(response: httpx.Response, status: int) -> dict[str, Any]:
    """Returns the `error` object of a failed `/v1/*` request, after checking its shape."""
    assert response.status_code == status, response.text[:500]
    body: dict[str, dict[str, Any]] = response.json()
    assert set(body) == {"error"}
    assert set(body["error"]) == {"message", "type", "param", "code"}
    assert body["error"]["message"]
    assert_clean(response)
    return body["error"]


def anthropic_error(response: httpx.Response, status: int) -> dict[str, Any]:
    """Returns the `error` object of a failed request of Anthropic's clients, after checking its shape."""
    assert response.status_code == status, response.text[:500]
    body: dict[str, Any] = response.json()
    assert set(body) == {"type", "error", "request_id"}
    assert body["type"] == "error"
    assert body["request_id"] == response.headers["request-id"]
    assert set(body["error"]) == {"type", "message"}
    assert body["error"]["message"]
    assert_clean(response)
    return body["error"]  # type: ignore[no-any-return]


def fake_model(
    name: str,
    folder: Path,
    *,
    runner: str = "inline",
    max_tokens: int | None = None,
    need_bytes: int = 0,
    capability: str = "embed",
    **options: str | float | bool,
) -> str:
    """Returns the models file's table of a fake model whose weights are a dummy file under `folder`."""
    weights = folder / name
    weights.mkdir(parents=True, exist_ok=True)
    (weights / "model.safetensors").write_bytes(b"dummy")
    lines = [
        f'[models."{name}"]',
        f'capability = "{capability}"',
        'backend = "fake"',
        f'runner = "{runner}"',
        "dimensions = 8",
    ]
    lines += [f"host_bytes = {need_bytes}"]
    lines += [f"max_tokens = {max_tokens}"] if max_tokens is not None else []
    lines += [f'weights = {{ kind = "path", path = "{weights}" }}', f'[models."{name}".options]']
    lines += [f"{key} = {_toml(value)}" for key, value in options.items()]
    return "\n".join(lines) + "\n"


def _toml(value: str | float | bool) -> str:
    return str(value).lower() if isinstance(value, bool) else repr(value)


class RunningServer:
    """Starts on entering and is ready; leaving asks it to end, and kills it if it does not."""

    def __init__(
        self, folder: Path, *, env: Mapping[str, str] | None = None, models: str = "", host: str = "127.0.0.1"
    ) -> None:
        self.folder = folder
        self.host = host
        self.port = _free_port()
        self.base_url = f"http://127.0.0.1:{self.port}"
        self.http = httpx.Client(base_url=self.base_url, timeout=30)
        self._log_path = folder / "server.log"
        self._env = _environment(folder, models) | {"HOST": host, "PORT": str(self.port)} | dict(env or {})
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> RunningServer:
        with self._log_path.open("wb") as log:
            self._process = subprocess.Popen(_COMMAND, env=self._env, stdout=log, stderr=log, cwd=self.folder)
        try:
            until(self._is_ready)
        except BaseException:
            self._kill()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.http.close()
        if self._process is not None and self._process.poll() is None:
            self.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(DEADLINE_S)
        self._kill()

    @property
    def pid(self) -> int:
        return self._running().pid

    def terminate(self) -> None:
        """Sends SIGTERM and does not wait."""
        self._running().send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = DEADLINE_S) -> int:
        """Returns the exit code. Raises: subprocess.TimeoutExpired."""
        return self._running().wait(timeout_s)

    def is_running(self) -> bool:
        """Returns whether the process has not ended."""
        return self._running().poll() is None

    def log(self) -> str:
        """Returns what the server has written so far."""
        return self._log_path.read_text("utf-8", "replace")

    def children(self) -> Sequence[psutil.Process]:
        """Returns the processes that run models."""
        return psutil.Process(self.pid).children(recursive=True)

    def connect(self) -> socket.socket:
        """Returns a fresh connection for bytes that no HTTP client would send."""
        return socket.create_connection(("127.0.0.1", self.port), timeout=DEADLINE_S)

    def embed(self, model: str = REAL, text: str = "a good request") -> httpx.Response:
        """Returns the answer to a plain request of its own connection."""
        return httpx.post(f"{self.base_url}/api/embed", json={"model": model, "input": text}, timeout=30)

    def assert_well(self, model: str = REAL) -> None:
        """Raises: AssertionError unless the server runs, is ready and answers a good request."""
        assert self.is_running(), self.log()[-3000:]
        answer = self.embed(model)
        assert answer.status_code == 200, answer.text[:500]
        assert len(answer.json()["embeddings"]) == 1

    def _running(self) -> subprocess.Popen[bytes]:
        assert self._process is not None, "enter the server first"
        return self._process

    def _is_ready(self) -> bool:
        assert self.is_running(), f"the server ended while it started:\n{self.log()[-3000:]}"
        try:
            return httpx.get(f"{self.base_url}/readyz", timeout=5).status_code == 200
        except httpx.TransportError:
            return False

    def _kill(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait()


MakeServer = Callable[..., RunningServer]


def send_raw(server: RunningServer, head: bytes, body: bytes = b"") -> httpx.Response:
    """Returns the answer to these very bytes: `head` is the request line and headers, without the last blank
    line. For what no HTTP client would send.
    """
    with server.connect() as connection:
        connection.sendall(head + b"\r\n\r\n" + body)
        return read_response(connection)


def read_response(connection: socket.socket) -> httpx.Response:
    """Returns the next answer on the connection. Raises: OSError or HTTPException when there is none."""
    with contextlib.closing(http.client.HTTPResponse(connection)) as answer:
        answer.begin()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


def read_all(connection: socket.socket) -> bytes:
    """Returns what comes until the other side closes, resets or says nothing for a second."""
    connection.settimeout(1)
    received = b""
    with contextlib.suppress(TimeoutError, ConnectionError):
        while piece := connection.recv(65536):
            received += piece
    return received


def _environment(folder: Path, models: str) -> dict[str, str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(_OURS) and k not in ("HOST", "PORT")}
    ours = {"TURBOV2_HOME": str(folder / "home"), "HF_HOME": str(folder / "hub"), "HF_HUB_OFFLINE": "1"}
    if models:
        models_file = folder / "models.toml"
        models_file.write_text(models, "utf-8")
        ours["TURBOV2_MODELS_FILE"] = str(models_file)
    return kept | ours


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def error_text(path: str, response: httpx.Response, status: int) -> str:
    """Returns the message of an error in the shape of the path's family."""
    if path.startswith("/v1/messages"):
        return str(anthropic_error(response, status)["message"])
    if path.startswith("/v1"):
        return str(openai_error(response, status)["message"])
    return ollama_error(response, status)


def leases(server: RunningServer, model: str) -> int:
    """Returns how many requests hold the model, waiting ones included."""
    found = re.search(rf'turbov2_model_leases\{{model="{model}"\}} (\d+)', server.http.get("/metrics").text)
    return int(found[1]) if found else 0


def loaded(server: RunningServer) -> dict[str, dict[str, Any]]:
    """Returns what /api/ps tells of each model in memory, by name."""
    models = server.http.get("/api/ps").json()["models"]
    return {model["name"].removesuffix(":latest"): model for model in models}


def metric(server: RunningServer, name: str, **labels: str) -> float:
    """Returns the sum of the metric's samples that have these labels."""
    families = text_string_to_metric_families(server.http.get("/metrics").text)
    samples = (sample for family in families for sample in family.samples)
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def ask(
    server: RunningServer,
    path: str,
    model: str,
    texts: str | Sequence[str],
    headers: Mapping[str, str] | None = None,
    **fields: Any,
) -> httpx.Response:
    """Returns the answer of an embedding route, on a connection of its own: safe in any thread."""
    name = "prompt" if path == "/api/embeddings" else "input"
    body = {"model": model, name: texts, **fields}
    return httpx.post(f"{server.base_url}{path}", json=body, headers=headers, timeout=30)


@contextlib.contextmanager
def busy(server: RunningServer, model: str, texts: Sequence[str], for_s: float = 20.0) -> Iterator[None]:
    """Inside, a request with these texts is in work or waits, for `for_s` at most; afterwards it ended."""
    with ThreadPoolExecutor(1) as threads:
        limit = {"X-Request-Timeout": f"{for_s:g}"}
        asked = threads.submit(ask, server, "/api/embed", model, texts, limit)
        until(lambda: leases(server, model) > 0)
        yield
        asked.result()
