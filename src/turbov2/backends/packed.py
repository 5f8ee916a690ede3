"""Forwards of rows of unequal lengths without padding.

A padded forward computes `longest x n` tokens, this one `sum(lengths)`: nearly twice the texts per second
for eight texts of mixed lengths (bench/sentence_ways.py, against the padding library). A row meets nobody
else's tokens, so its vector does not depend on its batch, and there is no padding side to get wrong.
"""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from transformers import AttentionInterface, AttentionMaskInterface, PreTrainedModel
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS

from turbov2.backends.tokens import offsets_of

if TYPE_CHECKING:
    from turbov2.types.embed import IntVector

# Architectures whose attention takes keyword arguments down to one function and sees all of a row. Each is
# compared with its padded forward in the tests; others run rows of one length at a time.
_PACKABLE = frozenset(("bert", "roberta", "xlm-roberta", "camembert", "electra", "qwen2", "qwen3"))


class _Layout(msgspec.Struct, frozen=True):
    """Rows in order of length, so that those of one length stand together.

    taken: `[sum(lengths)]` int64, where each token, so ordered, stands in the batch.
    positions: `[sum(lengths)]` int64, its position in its row, from 0.
    groups: (rows, length) in rising length; empty rows are left out.
    """

    taken: NDArray[np.int64]
    positions: NDArray[np.int64]
    groups: tuple[tuple[int, int], ...]


def pack(module: PreTrainedModel) -> bool:
    """Returns whether the architecture runs rows of all lengths together; afterwards its attention does."""
    config = module.config
    has_window = "sliding_attention" in (getattr(config, "layer_types", None) or ())
    if config.model_type not in _PACKABLE or has_window or getattr(config, "is_decoder", False):
        return False
    module.set_attn_implementation(_PACKED[config._attn_implementation])
    return True


def hidden_states(module: PreTrainedModel, ids: IntVector, lengths: IntVector) -> torch.Tensor:
    """Returns `[sum(lengths), h]`, each token's last hidden state, in the batch's order and model's dtype.

    ids: `[sum(lengths)]` int32, rows one behind the other. lengths: `[n]` int32. At least one token.
    To be called inside `TorchModel.computing`, for a model without a head.
    """
    layout = _layout(lengths)
    sorted_ids = torch.from_numpy(ids[layout.taken].astype(np.int64)).to(module.device)
    is_packed = module.config._attn_implementation in _PACKED.values()
    by_length = (_run_packed if is_packed else _run_groups)(module, sorted_ids, layout)
    states = torch.empty_like(by_length)
    states[torch.from_numpy(layout.taken).to(states.device)] = by_length
    return states


def first_position(module: PreTrainedModel) -> int:
    """Returns the position of a row's first token: RoBERTa's family counts from behind its padding id."""
    padding_id = getattr(getattr(module, "embeddings", None), "padding_idx", None)
    return 0 if padding_id is None else int(padding_id) + 1


def _layout(lengths: IntVector) -> _Layout:
    order = np.argsort(lengths, kind="stable")
    sorted_lengths = lengths[order]
    n_tokens = int(lengths.sum())
    positions = np.arange(n_tokens) - np.repeat(offsets_of(sorted_lengths)[:-1], sorted_lengths)
    taken = np.repeat(offsets_of(lengths)[order], sorted_lengths) + positions
    sizes, counts = np.unique(sorted_lengths[sorted_lengths > 0], return_counts=True)
    return _Layout(taken, positions, tuple(zip(counts.tolist(), sizes.tolist(), strict=True)))


def _run_packed(module: PreTrainedModel, ids: torch.Tensor, layout: _Layout) -> torch.Tensor:
    positions = torch.from_numpy(layout.positions + first_position(module)).to(ids.device)
    output = module(
        input_ids=ids[None], position_ids=positions[None], use_cache=False, row_groups=layout.groups
    )
    return output.last_hidden_state[0]


def _run_groups(module: PreTrainedModel, ids: torch.Tensor, layout: _Layout) -> torch.Tensor:
    pieces = ids.split([n_rows * length for n_rows, length in layout.groups])
    return torch.cat(
        [
            module(input_ids=piece.view(n_rows, length)).last_hidden_state.flatten(0, 1)
            for piece, (n_rows, length) in zip(pieces, layout.groups, strict=True)
        ]
    )


def _attend(
    inner: str,
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    row_groups: tuple[tuple[int, int], ...],
    **kwargs: Any,
) -> tuple[torch.Tensor, None]:
    """Returns `[1, sum(lengths), heads, d]`: each row attends to itself, rows of one length at once.

    query, key, value: `[1, heads, sum(lengths), d]`. inner: the transformers implementation that runs.
    """
    attended, start = [], 0
    for n_rows, length in row_groups:
        rows = slice(start, start := start + n_rows * length)
        parts = (t[0, :, rows].unflatten(1, (n_rows, length)).transpose(0, 1) for t in (query, key, value))
        states, _ = ALL_ATTENTION_FUNCTIONS[inner](module, *parts, None, **kwargs)
        attended.append(states.flatten(0, 1))
    return torch.cat(attended)[None], None


def _no_mask(*_: Any, **__: Any) -> None:
    return None


# No name with "flash" in it: transformers treats those as its own.
_PACKED = {"sdpa": "packed_rows", "flash_attention_2": "packed_rows_fa2"}
for _inner, _name in _PACKED.items():
    AttentionInterface.register(_name, partial(_attend, _inner))
    AttentionMaskInterface.register(_name, _no_mask)
