"""MTEB's own runner on what a server answers, in a process of its own where the package is installed."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import orjson
import pytest
from typer.testing import CliRunner

from tests.support.server import REAL, RunningServer
from turbov2.cli import app

DOCUMENTS = [
    "apt install fetches a package and what it depends on",
    "the kernel loads modules with modprobe",
    "the clock is set from servers by NTP",
    "a shell reads commands and runs programs",
]
QUERIES = [
    {"query": "how do I install a package", "positives": ["0"]},
    {"query": "what are the programs of commands", "positives": ["2", "3"]},
]


@pytest.mark.skipif(find_spec("mteb") is None, reason="needs the mteb package")
def test_a_task_scores_as_our_own_evaluation(server: RunningServer, tmp_path: Path) -> None:
    path = tmp_path / "set.jsonl"
    lines = [{"id": str(n), "text": text} for n, text in enumerate(DOCUMENTS)]
    path.write_bytes(b"\n".join(map(orjson.dumps, [*lines, *QUERIES])))
    command = [sys.executable, "-m", "tests.support.mteb_script", server.base_url, REAL, str(path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=110)
    assert run.returncode == 0, run.stderr[-3000:]
    ours, theirs = (float(each) for each in run.stdout.splitlines()[-1].split())
    assert 0 < ours < 1
    assert ours == pytest.approx(theirs, abs=1e-4)


@pytest.mark.skipif(find_spec("mteb") is not None, reason="the mteb package is installed")
def test_says_what_to_install(server: RunningServer) -> None:
    found = CliRunner().invoke(app, ["eval", REAL, "--mteb", "NFCorpus", "--url", server.base_url])
    assert found.exit_code == 1
    assert "pip install mteb" in found.output


@pytest.mark.parametrize(
    "options", [[], ["--data", "x.jsonl", "--mteb", "NFCorpus"], ["--mteb", "N", "--rerank", "r"]]
)
def test_one_kind_of_set(server: RunningServer, options: list[str]) -> None:
    found = CliRunner().invoke(app, ["eval", REAL, *options, "--url", server.base_url])
    assert found.exit_code == 2
    assert "either --data FILE or --mteb TASK" in found.output
