"""Vectors as JSON text or base64, without a Python object per number."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import orjson
import pybase64
from numpy.typing import NDArray

SMALL_FLOATS = 16_384  # about 0.4 ms of formatting: so long may one answer hold the event loop
PIECE_FLOATS = 4_096  # of a larger one: an ingest has several of them on their way, and others wait for each


def blocks(vectors: NDArray[np.float32]) -> Iterator[NDArray[np.float32]]:
    """Yields the rows in order, in blocks of about `PIECE_FLOATS` numbers."""
    step = max(1, PIECE_FLOATS // vectors.shape[1])
    for start in range(0, len(vectors), step):
        yield vectors[start : start + step]


def is_small(vectors: NDArray[np.float32]) -> bool:
    """Returns whether the answer can be made in one go."""
    return vectors.size <= SMALL_FLOATS


def json_rows(vectors: NDArray[Any]) -> bytes:
    """Returns the JSON array of rows `[[...],[...]]`."""
    return orjson.dumps(np.ascontiguousarray(vectors), option=orjson.OPT_SERIALIZE_NUMPY)


def json_row_list(vectors: NDArray[Any]) -> list[bytes]:
    """Returns each row's JSON array; one call formats all numbers."""
    text = json_rows(vectors)
    return [b"[%b]" % row for row in text[2:-2].split(b"],[")]


def base64_row(row: NDArray[Any]) -> bytes:
    """Returns the row's bytes, little-endian, in standard base64."""
    return pybase64.b64encode(row.astype(row.dtype.newbyteorder("<"), copy=False).data)
