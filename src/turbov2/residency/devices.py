"""CUDA devices as their driver sees them, through NVML: no torch, no CUDA context of our own."""

from __future__ import annotations

import logging
from typing import Any

from turbov2.residency.pools import Pool

logger = logging.getLogger(__name__)


class Device:
    """One CUDA device. Its number is the driver's, in bus order."""

    def __init__(self, nvml: Any, index: int) -> None:
        self.pool: Pool = f"cuda:{index}"
        self._nvml = nvml
        self._handle = nvml.nvmlDeviceGetHandleByIndex(index)
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
    """Returns the CUDA devices of this machine; none without NVIDIA's library or driver."""
    try:
        import pynvml as nvml  # type: ignore[import-untyped]
    except ImportError:
        logger.debug("no CUDA devices: nvidia-ml-py is not installed")
        return ()
    try:
        nvml.nvmlInit()
        return tuple(Device(nvml, index) for index in range(nvml.nvmlDeviceGetCount()))
    except nvml.NVMLError as error:
        logger.debug("no CUDA devices: %s", error)
        return ()
