"""Which rows of a batch share a run of the graph, and how they stand in it."""

from __future__ import annotations

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.backends.tokens import offsets_of
from turbov2.types import TokenBatch


class Rows(msgspec.Struct, frozen=True):
    """Rows for one run of the graph.

    ids: `[k, longest]` int32, shorter rows filled up with the pad token.
    lengths: `[k]` int32, tokens of each row.
    types: `[k, longest]` bool, True for tokens of a pair's second text; None: all of type 0.
    """

    ids: NDArray[np.int32]
    lengths: NDArray[np.int32]
    types: NDArray[np.bool_] | None = None

    @property
    def mask(self) -> NDArray[np.bool_]:
        """`[k, longest]`, True for tokens, False for padding."""
        mask: NDArray[np.bool_] = np.arange(self.ids.shape[1]) < self.lengths[:, None]
        return mask


def group_rows(lengths: NDArray[np.int32], max_tokens: int, *, is_padded: bool) -> list[NDArray[np.intp]]:
    """Returns indices of the rows of each run, the longest rows first; rows without tokens are in none.

    A run has at most `max_tokens`, padding counted, or a single row. Without padding rows of one length share
    a run, with it any do.
    """
    groups: list[list[int]] = []
    longest = 0
    for index in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[index])
        has_room = bool(groups) and longest * (len(groups[-1]) + 1) <= max_tokens
        if length and has_room and (is_padded or length == longest):
            groups[-1].append(index)
        elif length:
            groups.append([index])
            longest = length
    return [np.array(group, np.intp) for group in groups]


def take_rows(tokens: TokenBatch, indices: NDArray[np.intp], pad_id: int) -> Rows:
    """Returns rows `indices` of the batch, none of them empty, side by side."""
    lengths = tokens.lengths[indices]
    starts = offsets_of(tokens.lengths)[indices]
    places = np.arange(lengths.max())
    is_token = places < lengths[:, None]
    ids = np.full(is_token.shape, pad_id, np.int32)
    ids[is_token] = tokens.ids[(starts[:, None] + places)[is_token]]
    if tokens.second_starts is None:
        return Rows(ids, lengths)
    return Rows(ids, lengths, is_token & (places >= tokens.second_starts[indices][:, None]))
