"""Outputs whose rows differ in length, taken apart by row and put together again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from turbov2.types import OutputKind, Outputs, SparseRows, TokenVectors

Piece = tuple[NDArray[Any], ...]  # one row's arrays, equally long
Pieces = dict[OutputKind, list[Piece | None]]  # by kind and row; None: a row that has none, or not yet


def pieces_of(outputs: Outputs) -> Pieces:
    """Returns the rows of what is neither dense nor absent, as views."""
    pieces: Pieces = {}
    if (sparse := outputs.sparse) is not None:
        pieces["sparse"] = _split(sparse.lengths, sparse.token_ids, sparse.weights)
    if (tokens := outputs.tokens) is not None:
        pieces["tokens"] = _split(tokens.lengths, tokens.vectors)
    return pieces


def join_sparse(rows: Sequence[Piece | None]) -> SparseRows:
    """Returns one behind the other what `pieces_of` took apart; rows of None are empty."""
    (ids, weights), lengths = _join(rows, 2)
    return SparseRows(ids.astype(np.int32, copy=False), weights.astype(np.float32, copy=False), lengths)


def join_tokens(rows: Sequence[Piece | None]) -> TokenVectors:
    """Returns the same of token vectors; `[0, 0]` if no row has any."""
    (vectors,), lengths = _join(rows, 1)
    return TokenVectors(vectors if vectors.ndim == 2 else np.zeros((0, 0), np.float32), lengths)


def _split(lengths: NDArray[np.int32], *arrays: NDArray[Any]) -> list[Piece | None]:
    ends = np.cumsum(lengths)[:-1]
    return list(zip(*(np.split(array, ends) for array in arrays), strict=True)) if len(lengths) else []


def _join(rows: Sequence[Piece | None], n_arrays: int) -> tuple[list[NDArray[Any]], NDArray[np.int32]]:
    lengths = np.array([0 if row is None else len(row[0]) for row in rows], np.int32)
    there = [row for row in rows if row is not None]
    nothing: NDArray[Any] = np.zeros(0, np.float32)
    return [np.concatenate([row[i] for row in there]) if there else nothing for i in range(n_arrays)], lengths
