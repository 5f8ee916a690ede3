"""Where a model runs: on the CPU, or on a CUDA device."""

from __future__ import annotations

from collections.abc import Mapping

from turbov2.backends.registry import can_use_cuda
from turbov2.catalog import ModelSpec
from turbov2.errors import ModelUnavailable


class Placement:
    """Chooses devices. `wanted`: the setting; `budgets`: bytes by memory pool, as `cuda:0`.

    device_bytes: what each CUDA device has in all.
    """

    def __init__(
        self, wanted: str, budgets: Mapping[str, int], device_bytes: Mapping[str, int] | None = None
    ) -> None:
        self.device_bytes = device_bytes or {}
        self._wanted = wanted
        self._cuda = {pool: n_bytes for pool, n_bytes in budgets.items() if pool.startswith("cuda")}

    def device_of(self, spec: ModelSpec) -> str:
        """Returns "cpu" or "cuda:N".

        A model whose table names a device runs there or not at all. Others follow the setting if a CUDA
        device is of use to them: `device_bytes` says that they are meant for one.
        Raises: ModelUnavailable when the device that is named cannot be used.
        """
        if spec.device == "cpu":
            return "cpu"
        if spec.device == "auto" and spec.backend == "vllm_local":
            return self._device_of_build(spec)
        if spec.device == "auto":
            return self._usual_device(spec) if spec.device_bytes and _is_able(spec) else "cpu"
        if not _is_able(spec):
            raise ModelUnavailable(
                f"model '{spec.name}' is to run on '{spec.device}', but its libraries here are built for the "
                "CPU, or its runner is not 'process'; install their CUDA builds, or set `device` to \"cpu\"",
                param="model",
            )
        return self._require(spec.device, "the model's `device`")

    def _device_of_build(self, spec: ModelSpec) -> str:
        """Returns the device of a library that is built for CUDA or for the CPU and runs nowhere else."""
        if not _is_able(spec):
            return "cpu"
        first = next(iter(self._cuda), "cuda:0")
        device = first if self._wanted in ("auto", "cpu") else self._wanted
        return self._require(device, f"what the vLLM of model '{spec.name}' is built for")

    def _usual_device(self, spec: ModelSpec) -> str:
        if self._wanted == "cpu":
            return "cpu"
        if self._wanted != "auto":
            return self._require(self._wanted, "TURBOV2_DEVICE")
        fitting = (pool for pool, n_bytes in self._cuda.items() if n_bytes >= spec.device_bytes)
        return next(fitting, "cpu")

    def _require(self, device: str, named_by: str) -> str:
        if device not in self._cuda:
            found = ", ".join(self._cuda) or "none"
            raise ModelUnavailable(f"{named_by} is '{device}', but the CUDA devices here are: {found}")
        return device


def _is_able(spec: ModelSpec) -> bool:
    """Returns whether the model could use a CUDA device if there were one. Reads a file of its library."""
    return spec.runner == "process" and can_use_cuda(spec.backend, spec.options)
