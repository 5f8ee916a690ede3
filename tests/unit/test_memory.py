"""How much memory there is."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from turbov2.residency import memory

TOTAL = int(psutil.virtual_memory().total)


@pytest.mark.parametrize(
    ("texts", "limit"),
    [
        (["1048576\n"], 1048576),
        (["max\n"], TOTAL),
        (["max\n", "2097152\n"], 2097152),
        (["4096", "2097152"], 4096),
        ([str(1 << 62)], TOTAL),  # cgroup v1 without a limit
        ([], TOTAL),
        (["", "-1"], TOTAL),
    ],
)
def test_host_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, texts: list[str], limit: int) -> None:
    paths = [tmp_path / str(i) for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_text(text)
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path / "missing"), *map(str, paths)))
    assert memory.host_limit_bytes() == limit
    assert memory.default_budget_bytes() == int(limit * 0.8)


def test_an_unreadable_limit_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_CGROUP_LIMITS", (str(tmp_path),))  # a folder
    assert memory.host_limit_bytes() == TOTAL


def test_resident_bytes() -> None:
    assert 1 << 20 < memory.resident_bytes(os.getpid()) < TOTAL
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert memory.resident_bytes(child.pid) == 0
    assert memory.resident_bytes(0) == 0
