"""The unit for systemd, as systemd itself reads it where it is installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.deployment import ROOT, assert_parse, assert_settings, tool
from turbov2.settings import load_settings

UNIT = ROOT / "deploy" / "systemd" / "turbov2.service"
_STATE = "/var/lib"  # what %S is for a unit of the system
_MAX_EXPOSURE = 20  # tenths, of `systemd-analyze security`; 100 is a service without any protection


def values(key: str) -> list[str]:
    """Returns the values of a key, in order."""
    lines = (line.partition("=") for line in UNIT.read_text("utf-8").splitlines() if not line.startswith("#"))
    return [value for name, _, value in lines if name == key]


def test_its_variables_are_settings_in_the_folder_it_may_write() -> None:
    pairs = [word.partition("=") for line in values("Environment") for word in line.split()]
    environment = {name: value.replace("%S", _STATE) for name, _, value in pairs}
    assert_settings(environment)
    assert_parse(environment)
    (folder,) = values("StateDirectory")
    assert all(value.startswith(f"{_STATE}/{folder}") for value in environment.values())
    assert values("WorkingDirectory") == [f"%S/{folder}"]


def test_it_waits_until_running_requests_have_ended() -> None:
    assert float(values("TimeoutStopSec")[0]) > load_settings({}).drain_s
    assert values("KillMode") == ["mixed"]


def test_systemd_finds_nothing_wrong_with_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [tool("systemd-analyze"), "verify", installed(tmp_path)], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert UNIT.name not in done.stderr


def test_systemd_finds_it_well_confined(tmp_path: Path) -> None:
    limit = f"--threshold={_MAX_EXPOSURE}"
    command = [
        tool("systemd-analyze"),
        "security",
        "--offline=true",
        "--no-pager",
        limit,
        installed(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


def installed(folder: Path) -> str:
    """Returns the path of the unit with a program in it that exists here."""
    program = str(Path(sys.executable).with_name("turbov2"))
    unit = folder / UNIT.name
    unit.write_text(UNIT.read_text("utf-8").replace("/opt/turbov2/bin/turbov2", program), "utf-8")
    return str(unit)
