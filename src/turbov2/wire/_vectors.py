"""float32 vectors as JSON text or base64, without a Python object per number."""

from __future__ import annotations

import numpy as np
import orjson
import pybase64
from numpy.typing import NDArray

# About 1 ms of formatting: between pieces the event loop may serve others.
PIECE_FLOATS = 65_536


def json_rows(vectors: NDArray[np.float32]) -> list[bytes]:
    """Returns the JSON array of rows `[[...],[...]]`, in pieces to be joined or sent in order."""
    step = max(1, PIECE_FLOATS // max(1, vectors.shape[1]))
    if len(vectors) <= step:
        return [_dump(vectors)]
    pieces = [b"["]
    for start in range(0, len(vectors), step):
        # Each block's own brackets go; a comma joins it to the one before.
        pieces += [b"," if start else b"", _dump(vectors[start : start + step])[1:-1]]
    return [*pieces, b"]"]


def base64_row(row: NDArray[np.float32]) -> bytes:
    """Returns the row's little-endian float32 bytes in standard base64."""
    return pybase64.b64encode(row.astype("<f4", copy=False).data)


def _dump(block: NDArray[np.float32]) -> bytes:
    return orjson.dumps(np.ascontiguousarray(block), option=orjson.OPT_SERIALIZE_NUMPY)
