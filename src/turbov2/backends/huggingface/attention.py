"""Attention of several answers in one forward: their tokens lie side by side, and each sees its own past.

All of them are one row, `[1, n]`. Everything in a transformer but attention treats each token by itself, so
nothing is padded, and nothing of one answer can reach another.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers import AttentionInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward

SIDE_BY_SIDE = "turbov2_side_by_side"  # the name of this attention in a model's config


class Slot:
    """The keys and values of one answer at a time, allotted for so many tokens when first used."""

    def __init__(self, n_tokens: int) -> None:
        self._n_tokens = n_tokens
        self._layers: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}

    @property
    def token_bytes(self) -> int:
        """What a token takes in all layers, once used."""
        n_bytes: int = sum(each.nbytes for pair in self._layers.values() for each in pair)
        return n_bytes // self._n_tokens

    def like(self, n_tokens: int) -> Slot:
        """Returns another one, of as many tokens, for the layers that this one was used for."""
        slot = Slot(n_tokens)
        for layer, (keys, values) in self._layers.items():
            slot._layers[layer] = (slot._allot(keys), slot._allot(values))
        return slot

    def extend(
        self, layer: int, n_kept: int, keys: torch.Tensor, values: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Returns the layer's first `n_kept` keys and values with these behind them, views `[1, h, n, d]`."""
        if layer not in self._layers:
            self._layers[layer] = (self._allot(keys), self._allot(values))
        n_all = n_kept + keys.shape[2]
        kept_keys, kept_values = (each[:, :, :n_all] for each in self._layers[layer])
        kept_keys[:, :, n_kept:] = keys
        kept_values[:, :, n_kept:] = values
        return kept_keys, kept_values

    def _allot(self, like: torch.Tensor) -> torch.Tensor:
        """Returns room `[1, h, n, d]`. It is written to, for only then does the system hand it out."""
        return like.new_empty(1, like.shape[1], self._n_tokens, like.shape[3]).zero_()


class Part(NamedTuple):
    """Tokens of one answer that a forward reads: so many, behind those whose keys and values its slot has.

    mask: `[1, 1, n, n_kept + n]` bool, what each token sees; None where that follows from the numbers.
    """

    slot: Slot
    n_kept: int
    n_tokens: int
    mask: torch.Tensor | None


def part_of(slot: Slot, n_kept: int, n_tokens: int, device: torch.device) -> Part:
    """Returns the part, in which every token sees those before it."""
    mask = None
    if n_kept and n_tokens > 1:
        seen = torch.ones(n_tokens, n_kept + n_tokens, dtype=torch.bool, device=device)
        mask = seen.tril_(n_kept)[None, None]
    return Part(slot, n_kept, n_tokens, mask)


def attend(
    module: Any,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: None,
    *,
    parts: Sequence[Part],
    **settings: Any,
) -> tuple[torch.Tensor, None]:
    """Returns what the layer's attention says of each token, `[1, n, h, d]`, n of all parts in order."""
    sizes = [part.n_tokens for part in parts]
    told = []
    own = (each.split(sizes, 2) for each in (query, key, value))
    for part, queries, keys, values in zip(parts, *own, strict=True):
        seen = part.slot.extend(module.layer_idx, part.n_kept, keys, values)
        told.append(sdpa_attention_forward(module, queries, *seen, part.mask, **settings)[0])
    return torch.cat(told, 1), None


AttentionInterface.register(SIDE_BY_SIDE, attend)


def read(module: Any, ids: torch.Tensor, parts: Sequence[Part]) -> torch.Tensor:
    """Returns the scores `[p, v]`, float32, of what comes behind each of p parts. ids: `[1, n]`, of all.

    Afterwards the slots have their keys and values. Reading the same again changes nothing.
    """
    positions = [position for part in parts for position in range(part.n_kept, part.n_kept + part.n_tokens)]
    ends = itertools.accumulate(part.n_tokens for part in parts)
    answer = module(
        input_ids=ids,
        position_ids=torch.tensor([positions], device=ids.device),
        use_cache=False,
        logits_to_keep=torch.tensor([end - 1 for end in ends], device=ids.device),
        parts=parts,
    )
    scores: torch.Tensor = answer.logits[0].float()
    return scores
