"""Token vectors and lexical weights as JSON, one input at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from turbov2.types import SparseRows, TokenVectors
from turbov2.wire._vectors import json_rows


def token_rows(tokens: TokenVectors) -> Iterator[bytes]:
    """Yields each input's JSON array of its tokens' vectors."""
    for rows in np.split(tokens.vectors, np.cumsum(tokens.lengths)[:-1]):
        yield json_rows(rows)


def sparse_rows(sparse: SparseRows) -> Iterator[tuple[bytes, bytes]]:
    """Yields each input's JSON arrays of token ids and of their weights."""
    starts = np.cumsum(sparse.lengths)[:-1]
    for ids, weights in zip(
        np.split(sparse.token_ids, starts), np.split(sparse.weights, starts), strict=True
    ):
        yield _numbers(ids), _numbers(weights)


def _numbers(values: NDArray[Any]) -> bytes:
    return orjson.dumps(np.ascontiguousarray(values), option=orjson.OPT_SERIALIZE_NUMPY)
