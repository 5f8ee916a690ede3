"""What deployment files may rely on: the settings, metrics and routes that the code has."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterable
from pathlib import Path

import pytest

from turbov2.settings import SETTINGS

ROOT = Path(__file__).parents[2]
PORT = 11435

# Variables that others read: the hub's library, OpenTelemetry's, the driver of CUDA devices, every program.
_OF_OTHERS = re.compile(
    r"HF_(HOME|TOKEN|ENDPOINT|HUB_OFFLINE)|HF_MODEL_[A-Z0-9_]+|OTEL_[A-Z_]+|NVIDIA_[A-Z_]+|PATH|HOME"
)
_OURS = re.compile(r"\bturbov2_\w+")
_SUFFIXES = re.compile(r"_(bucket|sum|count)$")


def assert_settings(names: Iterable[str]) -> None:
    """Raises: AssertionError naming variables that no program of the deployment reads."""
    known = {setting.variable for setting in SETTINGS}
    unknown = {name for name in names if name not in known and not _OF_OTHERS.fullmatch(name)}
    assert not unknown, f"no such settings: {sorted(unknown)}"


def assert_parse(values: dict[str, str]) -> None:
    """Raises: AssertionError where the server would not start with a value."""
    for setting in SETTINGS:
        if values.get(setting.variable):
            setting.parse(values[setting.variable])


def metrics_in(text: str) -> set[str]:
    """Returns the names of our metrics in PromQL or anything else."""
    return {_SUFFIXES.sub("", name) for name in _OURS.findall(text)}


def documented_metrics() -> set[str]:
    """Returns the names in docs/metrics.md."""
    page = (ROOT / "docs" / "metrics.md").read_text("utf-8")
    return set(re.findall(r"^\| `(\w+)` \|", page, re.MULTILINE))


def documented_routes() -> set[str]:
    """Returns the paths in docs/routes.md that answer GET."""
    page = (ROOT / "docs" / "routes.md").read_text("utf-8")
    return set(re.findall(r"^\| `GET` \| `([^`]+)` \|", page, re.MULTILINE))


def tool(name: str) -> str:
    """Returns the program's path; skips the test where it is not installed."""
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"needs {name} on PATH")
    return found
