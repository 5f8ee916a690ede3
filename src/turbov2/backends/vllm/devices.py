"""Which devices a vLLM sees, and how much of this machine's memory it takes without one."""

from __future__ import annotations

import os

from turbov2.backends.vllm.options import VllmOptions

_CUDA = "cuda:"


def environment_of(device: str, options: VllmOptions) -> dict[str, str]:
    """Returns the variables that vLLM gets. device: "cpu", or the first of those that it uses."""
    if not device.startswith(_CUDA):
        # A build for CUDA that is told to stay away from it does not start, and takes nothing unasked.
        return {"VLLM_CPU_KVCACHE_SPACE": str(options.cpu_cache_gib), "CUDA_VISIBLE_DEVICES": ""}
    first = int(device.removeprefix(_CUDA))
    numbers = range(first, first + options.tensor_parallel_size)
    # Ours are numbers within what this process may see, as CUDA counts them.
    visible = [each.strip() for each in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if each.strip()]
    return {"CUDA_VISIBLE_DEVICES": ",".join(visible[n] if visible else str(n) for n in numbers)}
