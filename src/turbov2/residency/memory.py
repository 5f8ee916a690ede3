"""How much memory there is, how much is free, and how much a process takes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Protocol

import psutil

from turbov2.residency.cgroups import limiting_groups
from turbov2.residency.devices import Device, find_devices
from turbov2.residency.pools import HOST, Pool

HOST_FRACTION = 0.8
DEVICE_FRACTION = 0.9
DEVICE_BYTES = 5 * 10**9  # what the system that this one replaces allowed itself
MARGIN_FRACTION = 0.05
MIN_HOST_MARGIN_BYTES = 64 * 10**6
MIN_DEVICE_MARGIN_BYTES = 256 * 10**6


class Memory(Protocol):
    """What residency asks of a machine. A pool it does not have has no budget and nothing available."""

    def budgets(self) -> dict[Pool, int]:
        """Returns the bytes that models may take together, per pool."""

    def margin_bytes(self, pool: Pool) -> int:
        """Returns the bytes that stay free beside models, for what running them takes."""

    def available_bytes(self, pool: Pool) -> int:
        """Returns the bytes that are free now, whoever took the others."""

    def process_bytes(self, pid: int) -> dict[Pool, int]:
        """Returns the bytes a process takes, per pool, with what it started; {} once it is gone.

        May take milliseconds.
        """


class MachineMemory:
    """Implements Memory for this machine: the host, within its control groups, and each CUDA device.

    Budgets of 0 stand for the default: 80 % of the host's limit; on each device 5 GB, or 90 % of a small one.
    """

    def __init__(
        self, host_budget_bytes: int, vram_budget_bytes: int, devices: Sequence[Device] | None = None
    ) -> None:
        self._groups = limiting_groups(below_bytes=_machine_bytes())
        self._devices = {device.pool: device for device in (find_devices() if devices is None else devices)}
        self._budgets = {HOST: host_budget_bytes or default_host_budget_bytes()}
        for pool, device in self._devices.items():
            at_most = int(device.total_bytes * DEVICE_FRACTION)
            self._budgets[pool] = vram_budget_bytes or min(DEVICE_BYTES, at_most)

    def budgets(self) -> dict[Pool, int]:
        """Returns the bytes that models may take together, per pool."""
        return dict(self._budgets)

    def device_bytes(self) -> dict[Pool, int]:
        """Returns what each CUDA device has in all."""
        return {pool: device.total_bytes for pool, device in self._devices.items()}

    def margin_bytes(self, pool: Pool) -> int:
        """Returns 5 % of the budget, at least 64 MB of the host and 256 MB of a device."""
        least = MIN_HOST_MARGIN_BYTES if pool == HOST else MIN_DEVICE_MARGIN_BYTES
        return max(int(self._budgets.get(pool, 0) * MARGIN_FRACTION), least)

    def available_bytes(self, pool: Pool) -> int:
        """Returns the bytes that are free now, of the host no more than its control groups leave."""
        if pool == HOST:
            left = (group.free_bytes() for group in self._groups)
            machine = int(psutil.virtual_memory().available)
            return min([machine, *(n_bytes for n_bytes in left if n_bytes is not None)])
        device = self._devices.get(pool)
        return device.available_bytes() if device else 0

    def process_bytes(self, pid: int) -> dict[Pool, int]:
        """Returns the bytes that would be free without the process, per pool; {} once it is gone.

        What it started counts as well: some models run in a server that their process keeps. What our own
        process started are other models.
        """
        pids = [pid] if pid == os.getpid() else [pid, *_descendants(pid)]
        found = {HOST: sum(map(_host_bytes, pids))}
        found |= {pool: sum(map(device.process_bytes, pids)) for pool, device in self._devices.items()}
        return {pool: n_bytes for pool, n_bytes in found.items() if n_bytes}


def host_limit_bytes() -> int:
    """Returns the memory this process may use: the tightest container's limit, or the machine's memory."""
    total_bytes = _machine_bytes()
    limits = (group.limit_bytes() for group in limiting_groups(below_bytes=total_bytes))
    return min([total_bytes, *(limit for limit in limits if limit is not None)])


def default_host_budget_bytes() -> int:
    """Returns the budget for models when none is set."""
    return int(host_limit_bytes() * HOST_FRACTION)


def _machine_bytes() -> int:
    return int(psutil.virtual_memory().total)


def _descendants(pid: int) -> list[int]:
    try:
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _host_bytes(pid: int) -> int:
    """Returns the unique set size, which counts no page that others share; else the resident set size."""
    try:
        process = psutil.Process(pid)
        try:
            return int(process.memory_full_info().uss)
        except psutil.AccessDenied:  # of another user, or a kernel that hides the page map
            return int(process.memory_info().rss)
    except psutil.Error:
        return 0
