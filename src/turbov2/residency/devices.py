"""CUDA devices as their driver sees them, through NVML: no torch, no CUDA context of our own."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from typing import Any

from turbov2.residency.pools import Pool

logger = logging.getLogger(__name__)


class Device:
    """One CUDA device. Its number is the one that CUDA programs know it by, see `find_devices`."""

    def __init__(self, nvml: Any, index: int, handle: Any) -> None:
        self.pool: Pool = f"cuda:{index}"
        self._nvml = nvml
        self._handle = handle
        self.total_bytes = int(nvml.nvmlDeviceGetMemoryInfo(self._handle).total)

    def available_bytes(self) -> int:
        """Returns what is free now; 0 while the driver does not say."""
        try:
            return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).free)
        except self._nvml.NVMLError as error:
            logger.warning("%s does not tell its free memory: %s", self.pool, error)
            return 0

    def process_bytes(self, pid: int) -> int:
        """Returns what a process takes on it; 0 too where the driver hides processes from a container."""
        try:
            processes = self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)
        except self._nvml.NVMLError:
            return 0
        return sum(int(process.usedGpuMemory or 0) for process in processes if process.pid == pid)


def find_devices() -> tuple[Device, ...]:
    """Returns the CUDA devices that our processes may use; none without NVIDIA's library or driver.

    Numbered as CUDA does it: all in bus order, or those of CUDA_VISIBLE_DEVICES in its order.
    """
    try:
        import pynvml as nvml  # type: ignore[import-untyped]
    except ImportError:
        logger.debug("no CUDA devices: nvidia-ml-py is not installed")
        return ()
    try:
        nvml.nvmlInit()
        return tuple(Device(nvml, index, handle) for index, handle in enumerate(_handles(nvml)))
    except nvml.NVMLError as error:
        logger.debug("no CUDA devices: %s", error)
        return ()


def _handles(nvml: Any) -> Iterator[Any]:
    """Yields NVML's handles. CUDA takes the list up to the first entry that is no device of this machine.

    https://docs.nvidia.com/cuda/cuda-c-programming-guide/#cuda-environment-variables
    """
    n_devices = nvml.nvmlDeviceGetCount()
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is None:
        yield from map(nvml.nvmlDeviceGetHandleByIndex, range(n_devices))
        return
    for name in map(str.strip, visible.split(",")):
        if name.isdigit() and int(name) < n_devices:
            yield nvml.nvmlDeviceGetHandleByIndex(int(name))
        elif name.startswith(("GPU-", "MIG-")):
            yield nvml.nvmlDeviceGetHandleByUUID(name)
        else:
            return
