"""How vectors are written: as floats, or quantised to bytes or bits; as numbers, or in base64."""

from __future__ import annotations

from typing import Any, Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.wire._vectors import base64_row, json_row_list

Dtype = Literal["float", "int8", "uint8", "binary", "ubinary"]
Format = Literal["float", "base64", "int8", "uint8", "binary", "ubinary"]


class Encoding(msgspec.Struct, frozen=True):
    """The way one answer writes its vectors."""

    dtype: Dtype = "float"
    is_base64: bool = False

    def rows(self, vectors: NDArray[np.float32]) -> list[bytes]:
        """Returns each row as a JSON value: an array of numbers, or a string of its little-endian bytes."""
        values = quantised(vectors, self.dtype)
        if self.is_base64:
            return [b'"%b"' % base64_row(row) for row in values]
        return json_row_list(values)


def encoding_of(name: Format | None) -> Encoding:
    """Returns the encoding that one word names: base64 is of float32, all others are numbers."""
    if name == "base64":
        return Encoding(is_base64=True)
    return Encoding(name or "float")


def quantised(vectors: NDArray[np.float32], dtype: Dtype) -> NDArray[Any]:
    """Returns the unit vectors `[n, d]` in the dtype.

    int8: round(127 x), so -127 to 127; uint8: that plus 128.
    ubinary: `[n, ceil(d / 8)]` uint8, one bit a value, 1 where it is positive, the first value in the highest
    bit; binary: that minus 128, as int8. Both are Cohere's and Voyage's convention:
    https://docs.voyageai.com/docs/flexible-dimensions-and-quantization
    """
    if dtype == "float":
        return vectors
    if dtype in ("int8", "uint8"):
        steps = np.clip(np.rint(vectors * 127), -127, 127)  # rounding may pass 1 by a hair
        return steps.astype(np.int8) if dtype == "int8" else (steps + 128).astype(np.uint8)
    bits = np.packbits(vectors > 0, axis=1)
    return bits if dtype == "ubinary" else (bits.astype(np.int16) - 128).astype(np.int8)
