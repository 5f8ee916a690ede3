"""How much memory a model will take, read from its files before it is loaded."""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import msgspec

from turbov2.backends import gguf, slots
from turbov2.backends.registry import BACKENDS
from turbov2.catalog import ModelSpec
from turbov2.residency.footprints import MARGIN_PERCENT
from turbov2.types import LoadSpec

# A child's interpreter with its libraries, before any weights: USS 21 MB with numpy alone, about 40 MB with a
# tokenizer loaded, measured on Linux with Python 3.11.
PROCESS_BYTES = 40_000_000
_WEIGHT_SUFFIXES = (".safetensors", ".onnx", ".gguf", ".bin", ".npz")
_ITEM_BYTES = {"F64": 8, "I64": 8, "F32": 4, "I32": 4, "F16": 2, "BF16": 2, "I16": 2, "I8": 1, "U8": 1}
_WIDENED = ("F16", "BF16")  # to float32 on a CPU
_NF4_BYTES = 0.52  # with the scales of its blocks of 64, themselves in 8 bits
_CACHE_BYTES = {"llama_cpp": gguf.cache_bytes, "bitnet": gguf.cache_bytes, "huggingface": slots.cache_bytes}
_UNQUANTIZED = ("embed", "lm_head", "wte", "wpe")
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit


class _Tensor(msgspec.Struct):
    """A header's entry; the one of the file's own remarks has neither."""

    dtype: str = ""
    shape: list[int] = []


_HEADER = msgspec.json.Decoder(dict[str, _Tensor])


def estimate_bytes(
    spec: ModelSpec, load: LoadSpec, device_bytes: Mapping[str, int] | None = None
) -> dict[str, int]:
    """Returns bytes per memory pool: the weights as they will lie in memory, and the process around them.

    On a CPU half-precision weights are widened to float32. In NF4 they take what their files tell, for the
    catalogue's figure for the host is of whole ones. Models that write several answers at a time allot whole
    contexts' keys and values with the weights. A model that another server runs is in no pool. The
    catalogue's figure counts where it is larger: it knows what a file does not say.
    Blocks: reads the headers of files.
    """
    if spec.runner == "remote":
        return {}
    if spec.backend == "vllm_local":
        return _vllm_bytes(load, device_bytes or {})
    is_on_cpu = load.device == "cpu"
    is_nf4 = load.options.get("quantization") == "nf4"
    weights = sum(
        _weights_bytes(Path(path), is_widened=is_on_cpu, is_nf4=is_nf4)
        for name, path in load.files.items()
        if name.endswith(_WEIGHT_SUFFIXES)
    )
    if spec.backend in _CACHE_BYTES:
        weights += _CACHE_BYTES[spec.backend](load)
    process = PROCESS_BYTES + BACKENDS[spec.backend].library_bytes if spec.runner == "process" else 0
    if is_on_cpu:
        return {"host": max(weights, 0 if is_nf4 else spec.host_bytes) + process}
    return {"host": process + spec.host_bytes, load.device: max(weights, spec.device_bytes)}


def _vllm_bytes(load: LoadSpec, device_bytes: Mapping[str, int]) -> dict[str, int]:
    """Returns what vLLM takes at its start, for good: a part of each device, or weights and a cache."""
    process = PROCESS_BYTES + BACKENDS["vllm_local"].library_bytes
    if load.device == "cpu":
        weights = (Path(path) for name, path in load.files.items() if name.endswith(_WEIGHT_SUFFIXES))
        on_disk = sum(_weights_bytes(path, is_widened=False, is_nf4=False) for path in weights)
        return {"host": process + on_disk + (int(load.options.get("cpu_cache_gib", 0)) << 30)}
    first = int(load.device.removeprefix("cuda:"))
    pools = [f"cuda:{first + n}" for n in range(load.options.get("tensor_parallel_size", 1))]
    part = load.options.get("gpu_memory_utilization", 1.0)
    # It takes no more than its part, so what estimates are given on top lies within it.
    taken = {pool: int(device_bytes.get(pool, 0) * part * 100 / (100 + MARGIN_PERCENT)) for pool in pools}
    return {"host": process, **taken}


def _weights_bytes(path: Path, *, is_widened: bool, is_nf4: bool) -> int:
    on_disk = path.stat().st_size if path.exists() else 0
    if path.suffix != ".safetensors":
        return on_disk
    tensors = _tensors(path)
    if not tensors:
        return on_disk
    if is_nf4:
        return int(sum(math.prod(each.shape) * _nf4_bytes(name, each) for name, each in tensors.items()))
    return sum(
        math.prod(tensor.shape)
        * (4 if is_widened and tensor.dtype in _WIDENED else _ITEM_BYTES.get(tensor.dtype, 1))
        for tensor in tensors.values()
    )


def _nf4_bytes(name: str, tensor: _Tensor) -> float:
    """Returns bytes of an item: linear layers are quantised, tables of words and the last layer stay."""
    is_linear = len(tensor.shape) == 2 and not any(part in name for part in _UNQUANTIZED)
    return _NF4_BYTES if is_linear else 2


def _tensors(path: Path) -> dict[str, _Tensor]:
    """Returns the tensors a safetensors file declares, by name; none when it is no such file.

    The format: https://github.com/huggingface/safetensors#format
    """
    try:
        with path.open("rb") as file:
            (n_bytes,) = struct.unpack("<Q", file.read(8))
            header = _HEADER.decode(file.read(n_bytes)) if n_bytes <= _MAX_HEADER_BYTES else {}
    except (OSError, struct.error, msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return {name: entry for name, entry in header.items() if name != "__metadata__"}
