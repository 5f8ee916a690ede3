"""VectorCache: what was computed lately, up to a number of bytes."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

_ENTRY_BYTES = 660  # of Python objects around an input and its vector, by tracemalloc
_ID_BYTES = 36  # a token id in a tuple: the pointer and the number


class CachedVector(NamedTuple):
    """One input's raw vector `[d]` float32 and its tokens after and before truncation."""

    vector: NDArray[np.float32]
    length: int
    full_length: int


class VectorCache:
    """Least recently used entries go first. One per loaded model.

    A loaded model fixes weights, revision, dtype and pooling, and a prompt is part of the text, so the
    input alone is the key, with its task where a model knows several. Vectors are kept as the model gave
    them: whatever dimensions or normalisation a request asks for is made from them afterwards and cannot
    be mixed up.
    """

    def __init__(self, max_bytes: int) -> None:
        self.n_bytes = 0
        self._max_bytes = max_bytes
        self._entries: OrderedDict[Hashable, tuple[CachedVector, int]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> CachedVector | None:
        """Returns the input's entry, from now on the most recently used one."""
        kept = self._entries.get(key)
        if kept is None:
            return None
        self._entries.move_to_end(key)
        return kept[0]

    def put(self, key: Hashable, content: Sequence[Any], entry: CachedVector) -> None:
        """Afterwards the entry of the input is kept, unless it alone is larger than the cache."""
        if key in self._entries:
            self.n_bytes -= self._entries.pop(key)[1]
        n_bytes = entry.vector.nbytes + _n_bytes(content) + _ENTRY_BYTES
        if n_bytes > self._max_bytes:
            return
        # A view would keep its whole batch in memory.
        self._entries[key] = entry._replace(vector=entry.vector.copy()), n_bytes
        self.n_bytes += n_bytes
        while self.n_bytes > self._max_bytes:
            self.n_bytes -= self._entries.popitem(last=False)[1][1]


def _n_bytes(content: Sequence[Any]) -> int:
    # Up to 4 bytes hold a character; an upper bound, so that the limit holds for every script.
    if isinstance(content, str):
        return 4 * len(content)
    return sum(_ID_BYTES + 4 * len(each) if isinstance(each, str) else _ID_BYTES for each in content)
