"""What the models file and the variables may say of a model that vLLM runs, and what vLLM is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import msgspec

from turbov2.types import Sampling

_Fraction = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Count = Annotated[int, msgspec.Meta(ge=1, le=1024)]
MODEL = "model"  # its name there
_WAYS = (
    "temperature", "top_k", "top_p", "min_p", "repetition_penalty", "presence_penalty", "frequency_penalty",
)  # fmt: skip
_SEEDS = 1 << 63


class VllmOptions(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What `LoadSpec.options` may hold: how to compute, and to sample where a request does not say.

    python: of the environment in which vLLM is installed. None of a way to sample: as the checkpoint's
    generation_config.json says, else vLLM's own.
    """

    python: str = ""
    gpu_memory_utilization: Annotated[float, msgspec.Meta(gt=0, le=1)] = 0.9
    tensor_parallel_size: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1
    max_model_len: Annotated[int, msgspec.Meta(ge=1)] | None = None
    max_num_seqs: _Count = 64
    dtype: str = "auto"
    quantization: str = ""
    enforce_eager: bool = False
    prefix_caching: bool = True
    cpu_cache_gib: Annotated[int, msgspec.Meta(ge=1)] = 2  # keys and values, without a GPU
    temperature: Annotated[float, msgspec.Meta(ge=0)] | None = None
    top_k: Annotated[int, msgspec.Meta(ge=0)] | None = None
    top_p: _Fraction | None = None
    min_p: _Fraction | None = None
    repetition_penalty: Annotated[float, msgspec.Meta(gt=0)] | None = None


def arguments(folder: Path, n_context: int, socket: Path, options: VllmOptions) -> list[str]:
    """Returns the arguments of vLLM's server."""
    told = {
        "--model": folder,
        "--served-model-name": MODEL,
        "--uds": socket,
        "--load-format": "safetensors",  # others may hold programs
        "--max-model-len": n_context,
        "--max-num-seqs": options.max_num_seqs,
        "--gpu-memory-utilization": options.gpu_memory_utilization,
        "--tensor-parallel-size": options.tensor_parallel_size,
        "--dtype": options.dtype,
        "--structured-outputs-config": json.dumps({"backend": "guidance"}),  # whose grammars ours are
        "--uvicorn-log-level": "warning",
    }
    if options.quantization:
        told["--quantization"] = options.quantization
    flags = ["--enable-prompt-tokens-details", "--disable-uvicorn-access-log"]
    flags += ["--enforce-eager"] if options.enforce_eager else []
    flags += ["--enable-prefix-caching" if options.prefix_caching else "--no-enable-prefix-caching"]
    return [*(str(each) for pair in told.items() for each in pair), *flags]


def sampling_fields(sampling: Sampling, options: VllmOptions) -> dict[str, Any]:
    """Returns the request's way to sample, else the options'; else vLLM takes the checkpoint's."""
    asked = {name: getattr(sampling, name) for name in _WAYS}
    chosen = {name: getattr(options, name, None) if value is None else value for name, value in asked.items()}
    fields = {name: value for name, value in chosen.items() if value is not None}
    return fields | ({} if sampling.seed is None else {"seed": sampling.seed % _SEEDS})
