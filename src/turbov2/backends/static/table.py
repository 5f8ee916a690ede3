"""The embedding table: memory-mapped rows, widened to float32 only when first used."""

from __future__ import annotations

import math
import struct
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np
from numpy.typing import NDArray

# The C++ kernel behind `csr_array @ dense`. The public operator checks and copies its arguments first, which
# costs several times the kernel for one short text (bench/kernel.py); a test pins both to the same bits.
from scipy.sparse import _sparsetools

from turbov2.errors import LoadFailed

_DTYPES: dict[str, np.dtype[Any]] = {
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "F16": np.dtype("<f2"),
    "I64": np.dtype("<i8"),
    "I32": np.dtype("<i4"),
    "I8": np.dtype("i1"),
}
_MAX_HEADER_BYTES = 100_000_000  # the format's own limit

_Size = Annotated[int, msgspec.Meta(ge=0)]


class _Entry(msgspec.Struct):
    """What the header says of one tensor."""

    dtype: str
    shape: Annotated[tuple[_Size, ...], msgspec.Meta(max_length=8)]
    data_offsets: tuple[_Size, _Size]


def map_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Returns the tensors of a safetensors file as read-only views of the mapped file.

    The library's own loader copies every tensor into memory; a table of 0.5 GB should stay in the page
    cache. Format: 8 bytes little-endian header length, JSON header, data.
    Raises: LoadFailed when header and file do not agree.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(8)
        n_header = struct.unpack("<Q", head)[0] if len(head) == 8 else size
        if n_header > min(_MAX_HEADER_BYTES, size - 8):
            raise LoadFailed("the weights are not a safetensors file: its header is longer than the file")
        header = _read_header(file.read(n_header))
    if size == 8 + n_header:
        raise LoadFailed("the weights hold no tensors")
    data = np.memmap(path, dtype=np.uint8, mode="r", offset=8 + n_header)
    return {name: _view(data, name, entry) for name, entry in header.items()}


def _read_header(text: bytes) -> dict[str, _Entry]:
    try:
        header = msgspec.json.decode(text, type=dict[str, Any])
        header.pop("__metadata__", None)
        return msgspec.convert(header, dict[str, _Entry])
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        message = "the weights are not a safetensors file: its header is not the format's JSON"
        raise LoadFailed(message) from error


def _view(data: NDArray[Any], name: str, entry: _Entry) -> NDArray[Any]:
    dtype = _DTYPES.get(entry.dtype)
    if dtype is None:
        raise LoadFailed(f"tensor '{name}' has dtype {entry.dtype}, which static tables do not use")
    begin, end = entry.data_offsets
    # `end - begin` is the file's own size at most, so no product below passes what numpy can hold.
    if not begin <= end <= data.size or end - begin != dtype.itemsize * math.prod(entry.shape):
        raise LoadFailed(f"tensor '{name}' does not lie inside the weights file")
    if begin == end:
        raise LoadFailed(f"tensor '{name}' is empty")
    tensor = np.asarray(data[begin:end]).view(dtype).reshape(entry.shape)
    return tensor if tensor.flags.aligned else tensor.copy()


class Table:
    """Rows of float32 for `sum_rows`. A float32 file is used where it lies; other dtypes are widened.

    Widening happens row by row at first use, into memory the system commits only when it is written, so
    a large table costs what its used vocabulary costs. Two threads may widen one row at once: both write
    the same bits, and a row counts as done only after it is written.
    """

    def __init__(self, stored: NDArray[Any]) -> None:
        if stored.ndim != 2 or 0 in stored.shape:
            raise LoadFailed(
                f"the embedding table has shape {list(stored.shape)}, expected [tokens, dimensions]"
            )
        self.n_rows, self.dimensions = stored.shape
        self._stored = stored
        self._is_widened = stored.dtype != np.float32
        self._rows: NDArray[np.float32] = np.zeros(stored.shape, np.float32) if self._is_widened else stored
        self._flat = self._rows.reshape(-1)
        self._is_ready = np.zeros(self.n_rows, np.bool_)

    def sum_rows(
        self, ids: NDArray[np.int32], offsets: NDArray[np.int32], weights: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Returns `[n, d]` float32: row i is the weighted sum of rows `ids[offsets[i]:offsets[i + 1]]`.

        `ids` lie in 0..n_rows-1 (checked by the caller), `offsets` is `[n + 1]`. Adds in token order in
        float32, so a text's sum has the same bits whatever else is in the batch. No row is copied.
        """
        if self._is_widened:
            self._widen(ids)
        n_texts = len(offsets) - 1
        sums = np.zeros((n_texts, self.dimensions), np.float32)
        _sparsetools.csr_matvecs(
            n_texts, self.n_rows, self.dimensions, offsets, ids, weights, self._flat, sums.reshape(-1)
        )
        return sums

    def _widen(self, ids: NDArray[np.int32]) -> None:
        fresh = ids[~self._is_ready[ids]]
        if fresh.size:
            is_wanted = np.zeros(self.n_rows, np.bool_)  # each row once, however often its token occurs
            is_wanted[fresh] = True
            rows = np.flatnonzero(is_wanted)
            self._rows[rows] = self._stored[rows]
            self._is_ready[rows] = True
