"""The sdist and the wheel: whole, built from the lock, and at home on each Python that is promised.

Each test makes environments of its own and fetches what goes into them. A Python that is not on PATH is
skipped.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

import turbov2
from tests.support.deployment import ROOT
from tests.support.server import REAL, RunningServer

pytestmark = [pytest.mark.network, pytest.mark.timeout(900)]
VERSIONS = ("3.11", "3.12", "3.13")
_STEM = f"deposium_embeddings_turbov2-{turbov2.__version__}"


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what `hatchling build` makes of the tracked files."""
    folder = tmp_path_factory.mktemp("dist")
    python = environment(sys.executable, folder / "tools")
    run(
        python,
        "-m",
        "pip",
        "install",
        "--require-hashes",
        "--requirement",
        str(ROOT / "requirements/build.txt"),
    )
    tree = folder / "tree"
    for name in tracked():
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(ROOT / name, tree / name)
    run(python, "-m", "hatchling", "build", "--directory", str(folder), cwd=tree)
    return folder


def test_the_wheel_holds_the_code_and_what_it_reads(dist: Path) -> None:
    with zipfile.ZipFile(dist / f"{_STEM}-py3-none-any.whl") as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        metadata = wheel.read(f"{_STEM}.dist-info/METADATA").decode()
        assert f"{_STEM}.dist-info/licenses/LICENSE" in wheel.namelist()
    assert names == {name.removeprefix("src/") for name in tracked() if name.startswith("src/")}
    assert "License-Expression: MIT" in metadata
    assert "Requires-Python: >=3.11" in metadata


def test_the_sdist_holds_what_makes_the_wheel(dist: Path) -> None:
    with tarfile.open(dist / f"{_STEM}.tar.gz") as archive:
        names = {name.removeprefix(f"{_STEM}/") for name in archive.getnames()}
    wanted = {name for name in tracked() if name.startswith("src/")}
    beside = {"CHANGELOG.md", "LICENSE", "README.md", "pyproject.toml", ".gitignore", "PKG-INFO"}
    assert names == wanted | beside


@pytest.mark.parametrize("version", VERSIONS)
def test_the_core_installs_and_serves(
    version: str, dist: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("PYTHONPATH", raising=False)
    python = environment(interpreter(version), tmp_path / "core")
    run(python, "-m", "pip", "install", "--only-binary", ":all:", str(dist / f"{_STEM}-py3-none-any.whl"))
    run(python, "-m", "pip", "check")
    command = Path(python).with_name("turbov2")
    embedded = json.loads(run(str(command), "embed", "hello", "--json"))
    assert len(embedded["embeddings"][0]) == 256
    monkeypatch.setattr("tests.support.server._COMMAND", (str(command), "serve"))
    (tmp_path / "server").mkdir()
    with RunningServer(tmp_path / "server") as server:
        server.assert_well(REAL)


def test_the_promised_pythons_are_those() -> None:
    (low,) = re.findall(r'requires-python = ">=([\d.]+)"', (ROOT / "pyproject.toml").read_text("utf-8"))
    assert low == VERSIONS[0]


def environment(python: str, folder: Path) -> str:
    """Returns the Python of a fresh virtual environment."""
    run(python, "-m", "venv", str(folder))
    return str(folder / "bin" / "python")


def interpreter(version: str) -> str:
    """Returns a Python of this version; skips the test where there is none that starts."""
    found = shutil.which(f"python{version}")
    if found is None or subprocess.run([found, "-c", ""], capture_output=True).returncode != 0:
        pytest.skip(f"needs python{version} on PATH")
    return found


def tracked() -> list[str]:
    """Returns the files of the repository, new ones included."""
    listed = run("git", "ls-files", "--cached", "--others", "--exclude-standard", cwd=ROOT)
    return [name for name in listed.splitlines() if (ROOT / name).is_file()]


def run(*command: str, cwd: Path | None = None) -> str:
    """Returns what the command printed. Raises: AssertionError with its words if it fails."""
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-3000:]
    return done.stdout
