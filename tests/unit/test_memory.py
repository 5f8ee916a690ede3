"""How much memory there is, how much is free, and how much a process takes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from turbov2.residency import HOST, MachineMemory, cgroups, devices, memory
from turbov2.residency.cgroups import Group, limiting_groups

TOTAL = int(psutil.virtual_memory().total)
GB = 10**9


# --- control groups


def write(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(f"{content}\n", "ascii")


def groups(tmp_path: Path, membership: str) -> list[Group]:
    (tmp_path / "membership").write_text(membership, "ascii")
    return limiting_groups(TOTAL, tmp_path / "membership", tmp_path / "mount")


def test_every_group_from_our_own_to_the_root_limits(tmp_path: Path) -> None:
    mount = tmp_path / "mount"
    write(mount, memory__max="max", memory__current=9 * GB)
    write(
        mount / "pod",
        memory__max=3 * GB,
        memory__current=2 * GB,
        memory__stat="anon 5\ninactive_file 3\nactive_file 4",
    )
    write(mount / "pod/box", memory__max=4 * GB, memory__current=GB, memory__stat="inactive_file 0")
    write(mount / "pod/box/deep", memory__max="max", memory__current=1)
    found = groups(tmp_path, "0::/pod/box/deep\n")
    assert [(group.folder.name, group.limit_bytes()) for group in found] == [("box", 4 * GB), ("pod", 3 * GB)]
    assert [group.free_bytes() for group in found] == [3 * GB, GB + 7]


def test_version_1(tmp_path: Path) -> None:
    memory_mount = tmp_path / "mount" / "memory"
    write(memory_mount, memory__limit_in_bytes=9223372036854771712, memory__usage_in_bytes=1)
    write(
        memory_mount / "docker/abc",
        memory__limit_in_bytes=2 * GB,
        memory__usage_in_bytes=2 * GB,
        memory__stat="inactive_file 1\ntotal_inactive_file 11\ntotal_rss 3",
    )
    membership = "9:name=systemd:/x\n4:cpu,memory:/docker/abc\n0::/\n"
    (found,) = groups(tmp_path, membership)
    assert (found.limit_bytes(), found.free_bytes()) == (2 * GB, 11)


@pytest.mark.parametrize("membership", ["0::/outside/name", "0::/", "0::/../escape"])
def test_a_container_that_sees_only_its_own_group(tmp_path: Path, membership: str) -> None:
    write(tmp_path / "mount", memory__max=GB, memory__current=3 * GB)
    (found,) = groups(tmp_path, membership)
    assert (found.limit_bytes(), found.free_bytes()) == (GB, 0), "never less than nothing"


def test_both_versions_mounted(tmp_path: Path) -> None:
    write(tmp_path / "mount/unified/here", memory__max=GB, memory__current=1)
    (found,) = groups(tmp_path, "0::/here\n")
    assert found.limit_bytes() == GB


@pytest.mark.parametrize("limit", ["max", "", "-1", str(1 << 62), str(TOTAL)])
def test_no_limit(tmp_path: Path, limit: str) -> None:
    write(tmp_path / "mount", memory__max=limit, memory__current=1)
    assert groups(tmp_path, "0::/\n") == []


def test_no_control_groups(tmp_path: Path) -> None:
    assert limiting_groups(TOTAL, tmp_path / "none", tmp_path / "none") == []


def test_a_group_that_goes_away_says_nothing(tmp_path: Path) -> None:
    assert Group(tmp_path / "gone", cgroups._V2).free_bytes() is None


# --- the machine


@pytest.fixture
def in_container(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path, memory__max=GB, memory__current=600 * 10**6, memory__stat="inactive_file 100000000")
    group = Group(tmp_path, cgroups._V2)
    monkeypatch.setattr(memory, "limiting_groups", lambda below_bytes: [group])
    return tmp_path


def test_a_container_counts_as_the_machine(in_container: Path) -> None:
    assert memory.host_limit_bytes() == GB
    machine = MachineMemory(0, 0, devices=())
    assert machine.budgets() == {HOST: 800 * 10**6}
    assert machine.available_bytes(HOST) == 500 * 10**6
    write(in_container, memory__max="max")
    assert machine.available_bytes(HOST) > GB, "its limit was lifted while we ran"


def test_a_bare_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "limiting_groups", lambda below_bytes: [])
    assert memory.host_limit_bytes() == TOTAL
    machine = MachineMemory(0, 0, devices=())
    assert machine.budgets() == {HOST: int(TOTAL * 0.8)}
    assert 0 < machine.available_bytes(HOST) <= TOTAL
    assert MachineMemory(5 * GB, 0, devices=()).budgets() == {HOST: 5 * GB}


def test_pools_a_machine_has_not() -> None:
    machine = MachineMemory(GB, 0, devices=())
    assert machine.available_bytes("cuda:3") == 0
    assert "cuda:3" not in machine.budgets()


def test_margins() -> None:
    machine = MachineMemory(100 * GB, 40 * GB, devices=[devices.Device(FakeNvml(), 0, 0)])
    assert machine.margin_bytes(HOST) == 5 * GB
    assert machine.margin_bytes("cuda:0") == 2 * GB
    small = MachineMemory(GB, GB, devices=[devices.Device(FakeNvml(), 0, 0)])
    assert small.margin_bytes(HOST) == 64 * 10**6
    assert small.margin_bytes("cuda:0") == 256 * 10**6


def test_a_process_counts_what_would_be_free_without_it() -> None:
    machine = MachineMemory(GB, 0, devices=())
    taken = machine.process_bytes(os.getpid())
    assert list(taken) == [HOST]
    assert 1 << 20 < taken[HOST] <= psutil.Process().memory_info().rss + (64 << 20)
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert machine.process_bytes(child.pid) == {}
    assert machine.process_bytes(0) == {}


def test_what_a_process_started_counts_as_well() -> None:
    held = "held = bytearray(b'x') * 40_000_000"
    inner = f"import sys; {held}; print(flush=True); sys.stdin.read()"
    outer = f"""import subprocess, sys
child = subprocess.Popen([sys.executable, "-c", {inner!r}], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print(flush=True)
sys.stdin.read()"""
    command = [sys.executable, "-c", outer]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        machine = MachineMemory(GB, 0, devices=())
        assert machine.process_bytes(process.pid)[HOST] > 40_000_000
        assert process.stdin is not None
        process.stdin.close()


def test_without_a_page_map_the_resident_set_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: psutil.Process) -> None:
        raise psutil.AccessDenied

    monkeypatch.setattr(psutil.Process, "memory_full_info", refuse)
    assert MachineMemory(GB, 0, devices=()).process_bytes(os.getpid())[HOST] > 1 << 20


# --- devices


class FakeNvml:
    """The part of NVIDIA's library that is used: two cards, the second small."""

    class NVMLError(Exception):
        pass

    def __init__(self, *, is_broken: bool = False) -> None:
        self.is_broken = is_broken
        self.free = [20 * GB, GB]

    def _fail(self) -> None:
        if self.is_broken:
            raise self.NVMLError("driver is gone")

    def nvmlInit(self) -> None:  # noqa: N802
        self._fail()

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 2

    def nvmlDeviceGetHandleByIndex(self, index: int) -> int:  # noqa: N802
        return index

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> int:  # noqa: N802
        return {"GPU-aaaa": 0, "GPU-bbbb": 1}[uuid]

    def nvmlDeviceGetMemoryInfo(self, handle: int) -> Any:  # noqa: N802
        self._fail()
        return SimpleNamespace(total=(24 * GB, 4 * GB)[handle], free=self.free[handle])

    def nvmlDeviceGetComputeRunningProcesses(self, handle: int) -> list[Any]:  # noqa: N802
        self._fail()
        mine = SimpleNamespace(pid=7, usedGpuMemory=3 * GB)
        return [mine, SimpleNamespace(pid=8, usedGpuMemory=None)] if handle == 0 else []


def test_devices_have_pools_and_budgets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    machine = MachineMemory(GB, 0)
    assert machine.budgets() == {HOST: GB, "cuda:0": 5 * GB, "cuda:1": 3_600_000_000}
    assert machine.available_bytes("cuda:0") == 20 * GB
    assert machine.process_bytes(7).get("cuda:0") == 3 * GB
    assert "cuda:0" not in machine.process_bytes(8), "a driver that hides it says None"
    assert MachineMemory(GB, 2 * GB).budgets()["cuda:1"] == 2 * GB


@pytest.mark.parametrize(
    ("visible", "totals"),
    [
        ("0,1", [24, 4]),
        ("1", [4]),
        (" 1 , 0", [4, 24]),
        ("GPU-bbbb", [4]),
        ("", []),
        ("-1", []),
        ("1,7,0", [4]),
    ],
)
def test_devices_are_numbered_as_cuda_numbers_them(
    monkeypatch: pytest.MonkeyPatch, visible: str, totals: list[int]
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", FakeNvml())
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    found = devices.find_devices()
    assert [device.total_bytes // GB for device in found] == totals
    assert [device.pool for device in found] == [f"cuda:{i}" for i in range(len(totals))]


@pytest.mark.parametrize("library", [None, FakeNvml(is_broken=True)])
def test_without_library_or_driver_there_are_no_devices(
    monkeypatch: pytest.MonkeyPatch, library: FakeNvml | None
) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", library)
    assert devices.find_devices() == ()


def test_a_driver_that_goes_away_leaves_nothing_available() -> None:
    nvml = FakeNvml()
    device = devices.Device(nvml, 0, 0)
    nvml.is_broken = True
    assert device.available_bytes() == 0
    assert device.process_bytes(7) == 0
