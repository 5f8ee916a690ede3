"""Scripts of tests/clients/js under Node, with the packages that its lock names."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

FOLDER = Path(__file__).parents[1] / "clients" / "js"
needs_node = pytest.mark.skipif(
    shutil.which("node") is None or shutil.which("npm") is None, reason="needs node and npm"
)
slow_at_first = pytest.mark.timeout(300)  # the first run installs


def install() -> None:
    """Brings js/node_modules to what package-lock.json names, if it is not there yet."""
    lock, done = FOLDER / "package-lock.json", FOLDER / "node_modules" / ".package-lock.json"
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return
    command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts"]
    npm = subprocess.run(command, cwd=FOLDER, capture_output=True, text=True, timeout=280)
    assert npm.returncode == 0, f"npm ci failed:\n{npm.stdout}\n{npm.stderr}"


def run_script(script: str, *arguments: str) -> dict[str, Any]:
    """Returns the JSON that the script prints. Raises: AssertionError with its last words when it fails."""
    node = subprocess.run(
        ["node", script, *arguments], cwd=FOLDER, capture_output=True, text=True, timeout=120
    )
    assert node.returncode == 0, node.stderr[-3000:]
    return dict(json.loads(node.stdout))
