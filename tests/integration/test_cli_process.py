"""The real `turbov2` executable: pipes, signals, exit codes and a server to talk to."""

from __future__ import annotations

import json
import math
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.hub import FakeHub
from tests.support.server import until

TURBOV2 = str(Path(sys.executable).with_name("turbov2"))
KEY = "integration-key"


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    ours = ("TURBOV2_", "HF_", "PORT", "HOST", "EMBEDDINGS_", "COLUMNS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    return kept | {"TURBOV2_HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "hf")}


def run(env: dict[str, str], *args: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
    command = [TURBOV2, *args]
    return subprocess.run(
        command, env=env, input=stdin, capture_output=True, text=True, timeout=60, check=False
    )


def start(env: dict[str, str], *args: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [TURBOV2, *args], env=env, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True
    )


def read_until(process: subprocess.Popen[str], wanted: str) -> str:
    """Returns what the process wrote to stderr, up to the line that holds `wanted`."""
    assert process.stderr is not None
    seen = ""
    while wanted not in seen:
        assert select.select([process.stderr], [], [], 30)[0], seen
        line = process.stderr.readline()
        assert line, seen
        seen += line
    return seen


@pytest.fixture
def server(env: dict[str, str]) -> Iterator[str]:
    """A running server that wants a key; the value is its address."""
    process = start(env | {"EMBEDDINGS_API_KEY": KEY}, "serve", "--host", "127.0.0.1", "--port", "0")
    try:
        banner = read_until(process, "loaded wordllama-256d")
        yield next(word for word in banner.split() if word.startswith("http://"))
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(30) == 0
        assert process.stderr is not None
        process.stderr.close()


def test_embed_prints_one_unit_vector(env: dict[str, str]) -> None:
    done = run(env, "embed", "hello", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    body = json.loads(done.stdout)
    [vector] = body["embeddings"]
    assert len(vector) == 256
    assert math.hypot(*vector) == pytest.approx(1, abs=1e-5)


def test_embed_reads_a_pipe(env: dict[str, str]) -> None:
    done = run(env, "embed", stdin="one line\nanother\n")
    assert done.returncode == 0
    first, second = done.stdout.splitlines()
    assert first.endswith("256 dims  norm 1.0000  one line")
    assert second.endswith("another")
    assert "\x1b" not in done.stdout


def test_an_unknown_model_is_no_traceback(env: dict[str, str]) -> None:
    done = run(env, "pull", "nope")
    assert done.returncode == 1
    assert done.stderr.startswith("error: no model is called 'nope'\n")
    assert "Traceback" not in done.stderr


def test_a_taken_port_is_named(env: dict[str, str]) -> None:
    with socket.socket() as holder:
        holder.bind(("0.0.0.0", 0))
        holder.listen()
        port = str(holder.getsockname()[1])
        done = run(env, "serve", "--port", port)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: port {port} is already in use; choose another with --port")
    assert "Traceback" not in done.stderr


def test_a_server_and_its_clients(env: dict[str, str], server: str) -> None:
    refused = run(env, "ps", "--url", server)
    assert refused.returncode == 1
    assert "answered 401" in refused.stderr
    assert "EMBEDDINGS_API_KEY" in refused.stderr

    keyed = env | {"EMBEDDINGS_API_KEY": KEY}
    loaded = json.loads(run(keyed, "ps", "--url", server, "--json").stdout)
    assert [model["name"] for model in loaded["models"]] == ["wordllama-256d:latest"]

    there = run(keyed, "embed", "hello", "--json", "--url", server)
    assert there.stdout == run(env, "embed", "hello", "--json").stdout


def test_a_reader_that_leaves_is_no_traceback(env: dict[str, str]) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # before it starts, so that its first byte already finds nobody
    process = subprocess.Popen([TURBOV2, "models"], env=env, stdout=writer, stderr=subprocess.PIPE)
    os.close(writer)
    _, told = process.communicate(timeout=30)
    assert b"Traceback" not in told
    assert process.returncode == 1


def test_an_interrupted_pull_goes_on(env: dict[str, str], tmp_path: Path) -> None:
    weights = bytes(range(256)) * 4096
    models = tmp_path / "models.toml"
    models.write_text(
        '[models.tiny]\ncapability = "embed"\nbackend = "static"\nrunner = "inline"\n'
        'weights = { kind = "hub", repo = "acme/tiny", files = ["*.safetensors"] }\n'
    )
    with FakeHub({"model.safetensors": weights}) as hub:
        hub.stall = threading.Event()
        hub.cut_after["model.safetensors"] = [400_000]
        env |= {"HF_ENDPOINT": hub.url, "TURBOV2_MODELS_FILE": str(models)}
        process = start(env, "pull", "tiny")
        assert hub.stalled.wait(30)
        until(lambda: any(part.stat().st_size for part in tmp_path.rglob("*.incomplete")))
        process.send_signal(signal.SIGINT)
        _, told = process.communicate(timeout=30)
        assert process.returncode == 130
        assert "go on with: turbov2 pull tiny" in told
        assert "Traceback" not in told

        again = run(env, "pull", "tiny")
        assert again.returncode == 0, again.stderr
        assert hub.ranges("model.safetensors")[1].startswith("bytes=")
        asked = run(env, "delete", "tiny")
        assert asked.returncode == 2
        assert "--yes" in asked.stderr
        assert run(env, "delete", "tiny", "--yes").stdout == "tiny is removed\n"
