"""VectorCache: what was computed lately, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

_ENTRY_BYTES = 560  # of Python objects around an input and its vector, by tracemalloc
_ID_BYTES = 36  # a token id in a tuple: the pointer and the number


class CachedVector(NamedTuple):
    """One input's raw vector `[d]` float32 and its tokens after and before truncation."""

    vector: NDArray[np.float32]
    length: int
    full_length: int


class VectorCache:
    """Least recently used entries go first. One per loaded model.

    A loaded model fixes weights, revision, dtype and pooling, and a prompt is part of the text, so the
    input alone is the key. Vectors are kept as the model gave them: whatever dimensions or normalisation
    a request asks for is made from them afterwards and cannot be mixed up.
    """

    def __init__(self, max_bytes: int) -> None:
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, CachedVector] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, content: str | tuple[int, ...]) -> CachedVector | None:
        """Returns the input's entry, from now on the most recently used one."""
        entry = self._entries.get(content)
        if entry is not None:
            self._entries.move_to_end(content)
        return entry

    def put(self, content: str | tuple[int, ...], entry: CachedVector) -> None:
        """Afterwards the entry is kept, unless it alone is larger than the cache."""
        if content in self._entries:
            self.n_bytes -= _n_bytes(content, self._entries.pop(content))
        n_bytes = _n_bytes(content, entry)
        if n_bytes > self._max_bytes:
            return
        # A view would keep its whole batch in memory.
        self._entries[content] = entry._replace(vector=entry.vector.copy())
        self.n_bytes += n_bytes
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= _n_bytes(*self._entries.popitem(last=False))


def _n_bytes(content: Hashable, entry: CachedVector) -> int:
    # Up to 4 bytes hold a character; an upper bound, so that the limit holds for every script.
    n_content = 4 * len(content) if isinstance(content, str) else _ID_BYTES * len(content)  # type: ignore[arg-type]
    return entry.vector.nbytes + n_content + _ENTRY_BYTES
