"""From a text's token states to its vector. Formulas: sentence_transformers' Pooling and Dense modules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from turbov2.errors import LoadFailed

if TYPE_CHECKING:
    from turbov2.backends.sentence.recipe import DenseStep

# What of a text's tokens makes its vector; weightedmean counts the i-th token i times.
MODES = ("mean", "cls", "last", "max", "mean_sqrt_len", "weightedmean")

_ACTIVATIONS: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "Identity": lambda x: x,
    "Tanh": torch.tanh,
    "ReLU": torch.relu,
    "GELU": torch.nn.functional.gelu,
    "SiLU": torch.nn.functional.silu,
    "Sigmoid": torch.sigmoid,
}


def pool(mode: str, states: torch.Tensor, lengths: torch.Tensor) -> torch.Tensor:
    """Returns `[n, h]` float32; a text without tokens has the zero vector.

    states: `[sum(lengths), h]` float32, texts one behind the other. lengths: `[n]` int64.
    """
    if not len(states):
        return states.new_zeros(len(lengths), states.shape[1])
    ends = lengths.cumsum(0)
    is_empty = (lengths == 0)[:, None]
    if mode in ("cls", "last"):
        places = ends - lengths if mode == "cls" else ends - 1
        return states[places.clamp(0, len(states) - 1)].masked_fill(is_empty, 0)
    if mode == "max":
        return torch.segment_reduce(states, "max", lengths=lengths).masked_fill(is_empty, 0)
    counts = lengths.clamp(min=1)[:, None].float()
    if mode == "weightedmean":
        starts = (ends - lengths).repeat_interleave(lengths)
        numbers = torch.arange(1, len(states) + 1, device=states.device) - starts
        states = states * numbers[:, None]
        counts = counts * (counts + 1) / 2
    sums = torch.segment_reduce(states, "sum", lengths=lengths)
    return sums / (counts.sqrt() if mode == "mean_sqrt_len" else counts)


class Dense:
    """A linear layer with its activation, in float32."""

    def __init__(self, step: DenseStep, weights: Path, n_inputs: int, device: torch.device) -> None:
        """Raises: LoadFailed when the weights do not fit the configuration or the layer before."""
        name = step.activation_function.rpartition(".")[2]
        if name not in _ACTIVATIONS or not step.activation_function.startswith("torch.nn."):
            raise LoadFailed(f"activation '{step.activation_function}' of a Dense is not served")
        try:
            tensors = load_file(weights)
        except (OSError, SafetensorError) as error:
            raise LoadFailed("the weights of a Dense are not a safetensors file") from error
        shapes: dict[str, tuple[int, ...]] = {"linear.weight": (step.out_features, n_inputs)}
        if step.bias:
            shapes["linear.bias"] = (step.out_features,)
        if {name: tuple(tensor.shape) for name, tensor in tensors.items()} != shapes:
            raise LoadFailed(f"the weights of a Dense do not lead from {n_inputs} to {step.out_features}")
        self._activation = _ACTIVATIONS[name]
        self._weight = tensors["linear.weight"].to(device, torch.float32)
        self._bias = tensors["linear.bias"].to(device, torch.float32) if step.bias else None

    def __call__(self, vectors: torch.Tensor) -> torch.Tensor:
        """Returns `[n, out]` of `[n, in]` float32."""
        return self._activation(torch.nn.functional.linear(vectors, self._weight, self._bias))
