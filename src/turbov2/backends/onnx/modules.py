"""What Sentence Transformers puts behind an encoder: pooling, dense layers and normalisation, in numpy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file

from turbov2.backends.onnx.heads import normalise
from turbov2.backends.onnx.rows import Rows
from turbov2.errors import LoadFailed

Vectors = NDArray[np.float32]
Step = Callable[[Vectors], Vectors]

_ACTIVATIONS: dict[str, Step] = {
    "Identity": lambda x: x,
    "Tanh": lambda x: np.tanh(x),
    "ReLU": lambda x: np.maximum(x, 0),
}
# Pooling/config.json says "pooling_mode" from Sentence Transformers 5.5 on, one flag a mode before.
_FLAGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_lasttoken": "last",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len",
    "pooling_mode_weightedmean_tokens": "weightedmean",
}


class SentenceModules(msgspec.Struct, frozen=True):
    """The pooling's name and the steps behind it, in order."""

    pooling: str
    steps: tuple[Step, ...] = ()

    def apply(self, states: NDArray[np.float32], rows: Rows) -> Vectors:
        """Returns `[k, d]` float32 from the states `[k, longest, d]`."""
        vectors = POOLINGS[self.pooling](states, rows)
        for step in self.steps:
            vectors = step(vectors)
        return vectors


def read_modules(files: Mapping[str, str], pooling: str) -> SentenceModules:
    """Returns what `modules.json` names; without it the pooling that `1_Pooling` names, else `pooling`.

    Raises: LoadFailed when a module or a pooling is none of those built here.
    """
    modules = read_json(files, "modules.json") or [{"type": "Pooling", "path": "1_Pooling"}]
    steps: list[Step] = []
    for module in modules:
        kind, path = str(module["type"]).rpartition(".")[2], str(module.get("path", ""))
        if kind == "Pooling":
            pooling = _pooling_of(read_json(files, f"{path}/config.json") or {}) or pooling
        elif kind == "Dense":
            steps.append(_dense(files, path))
        elif kind == "Normalize":
            steps.append(normalise)
        elif kind != "Transformer":
            raise LoadFailed(f"modules.json names the module '{kind}', which this backend does not build")
    if pooling not in POOLINGS:
        raise LoadFailed(f"pooling '{pooling}' is none of {', '.join(POOLINGS)}")
    return SentenceModules(pooling, tuple(steps))


def _mean(states: Vectors, rows: Rows) -> Vectors:
    sums: Vectors = np.where(rows.mask[..., None], states, np.float32(0)).sum(1)
    sums /= rows.lengths[:, None]
    return sums


def _last(states: Vectors, rows: Rows) -> Vectors:
    last: Vectors = states[np.arange(len(states)), rows.lengths - 1]
    return last


def _max(states: Vectors, rows: Rows) -> Vectors:
    largest: Vectors = np.where(rows.mask[..., None], states, np.float32(-np.inf)).max(1)
    return largest


POOLINGS: dict[str, Callable[[Vectors, Rows], Vectors]] = {
    "mean": _mean,
    "cls": lambda states, rows: states[:, 0],
    "last": _last,
    "max": _max,
}


def _pooling_of(config: Mapping[str, Any]) -> str:
    named = config.get("pooling_mode") or [mode for flag, mode in _FLAGS.items() if config.get(flag)]
    modes: Sequence[str] = [named] if isinstance(named, str) else named
    return "+".join(mode.replace("lasttoken", "last") for mode in modes)


def _dense(files: Mapping[str, str], path: str) -> Step:
    """Returns a linear layer with its activation, from `config.json` and `model.safetensors`."""
    config = read_json(files, f"{path}/config.json") or {}
    name = str(config.get("activation_function", "Tanh")).rpartition(".")[2]
    activation = _ACTIVATIONS.get(name)
    if activation is None:
        raise LoadFailed(f"{path} has the activation '{name}'; built are {', '.join(_ACTIVATIONS)}")
    weights = f"{path}/model.safetensors"
    if weights not in files:
        raise LoadFailed(f"the model folder has no {weights}: save the model again with safetensors")
    try:
        tensors = load_file(files[weights])
        weight = np.ascontiguousarray(tensors["linear.weight"].T, np.float32)
        bias = tensors.get("linear.bias", np.zeros(1)).astype(np.float32)
    except (SafetensorError, KeyError, ValueError) as error:
        raise LoadFailed(f"{weights} holds no linear layer") from error
    return lambda vectors: activation(vectors @ weight + bias)


def read_json(files: Mapping[str, str], name: str) -> Any:
    """Returns the file's content, None if there is no such file. Raises: LoadFailed if it is not JSON."""
    if name not in files:
        return None
    try:
        return msgspec.json.decode(Path(files[name]).read_bytes())
    except msgspec.DecodeError as error:
        raise LoadFailed(f"{name} is not JSON") from error
