"""Token ids in rows of bytes, and the batches they become: what all backends that embed share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeGuard, cast

import numpy as np
from numpy.typing import NDArray

from turbov2.errors import InvalidRequest
from turbov2.types import Inputs, Pair, TokenBatch

Ids = bytes  # of one input: int32 in machine order, so joining inputs is one copy each
ID_BYTES = 4


def is_text(inputs: Inputs) -> TypeGuard[Sequence[str]]:
    """Returns whether these are texts, not token ids. No inputs at all are texts."""
    return not inputs or isinstance(inputs[0], str)


def is_pairs(inputs: Inputs) -> TypeGuard[Sequence[Pair]]:
    """Returns whether these are pairs of texts for a reranker."""
    first = inputs[0] if inputs else ()
    return isinstance(first, tuple | list) and bool(first) and isinstance(first[0], str)


def check_ids(inputs: Sequence[Sequence[int]], n_vocabulary: int) -> None:
    """Returns if every id is in the vocabulary. Raises: InvalidRequest, naming the first that is not."""
    for index, ids in enumerate(inputs):
        bad = next((each for each in ids if not 0 <= each < n_vocabulary), None)
        if bad is not None:
            raise InvalidRequest(
                f"input {index} has token id {bad}, but this model's vocabulary ends at {n_vocabulary - 1}: "
                "token ids must come from the model's own tokenizer; send text instead (LangChain: "
                "check_embedding_ctx_length=False)",
                param="input",
            )


def require_pairs(inputs: Inputs) -> Sequence[Pair]:
    """Returns the inputs, which are pairs. Raises: InvalidRequest if they are texts or token ids."""
    if inputs and not is_pairs(inputs):
        raise InvalidRequest(
            "this model scores pairs of query and document: use a rerank route", param="model"
        )
    return cast(Sequence[Pair], inputs)


def to_batch(rows: Sequence[Ids], max_tokens: int | None) -> TokenBatch:
    """Returns the rows, each cut to its first `max_tokens` ids."""
    full_lengths = np.fromiter(map(len, rows), np.int32, len(rows)) // ID_BYTES
    lengths = full_lengths
    if max_tokens is not None and len(rows) and full_lengths.max() > max_tokens:
        lengths = np.minimum(full_lengths, np.int32(max_tokens))
        rows = [row[: max_tokens * ID_BYTES] for row in rows]
    return TokenBatch(np.frombuffer(b"".join(rows), np.int32), lengths, full_lengths)


def offsets_of(lengths: NDArray[np.int32]) -> NDArray[np.int32]:
    """Returns `[n + 1]` int32: row i of the flat ids is `ids[offsets[i]:offsets[i + 1]]`."""
    offsets = np.zeros(len(lengths) + 1, np.int32)
    np.add.accumulate(lengths, out=offsets[1:])
    return offsets


def pad_right(tokens: TokenBatch, pad_id: int) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Returns the rows as `[n, longest]` int64 with `pad_id` behind them, and where the real tokens stand."""
    is_token = np.arange(tokens.lengths.max(initial=0)) < tokens.lengths[:, None]
    ids = np.full(is_token.shape, pad_id, np.int64)
    ids[is_token] = tokens.ids
    return ids, is_token
