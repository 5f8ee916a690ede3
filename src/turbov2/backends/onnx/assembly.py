"""Results of a batch's runs, put back into the batch's order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from turbov2.backends.onnx.heads import Heads, split_tokens, to_sparse_rows
from turbov2.backends.onnx.modules import SentenceModules
from turbov2.backends.onnx.rows import Rows
from turbov2.backends.tokens import offsets_of
from turbov2.types import OutputKind, Outputs, SparseRows, TokenBatch, TokenVectors


class Assembly:
    """Takes runs in any order, also from several threads: each writes only the places of its own rows."""

    def __init__(
        self, tokens: TokenBatch, kinds: Sequence[OutputKind], heads: Heads, dense_size: int, tokens_size: int
    ) -> None:
        n_rows = len(tokens.lengths)
        self._tokens, self._kinds, self._heads = tokens, kinds, heads
        self._offsets = offsets_of(tokens.lengths)
        self._dense = np.zeros((n_rows, dense_size), np.float32)
        self._weights = np.zeros(len(tokens.ids), np.float32)
        self._no_vectors = np.zeros((0, tokens_size), np.float32)
        self._vectors = [self._no_vectors] * n_rows

    def add(
        self,
        rows: Rows,
        indices: NDArray[np.intp],
        found: Mapping[str, NDArray[np.float32]],
        modules: SentenceModules,
    ) -> None:
        """Afterwards the places `indices` hold what the graph `found` for `rows`."""
        heads = self._heads
        if "dense" in self._kinds:
            states = found[heads.dense]
            self._dense[indices] = modules.apply(states, rows) if heads.dense == heads.hidden else states
        if "sparse" in self._kinds and heads.sparse:
            weights = found[heads.sparse].reshape(rows.ids.shape)
            for row, length, index in zip(weights, rows.lengths, indices, strict=True):
                self._weights[self._offsets[index] : self._offsets[index + 1]] = row[:length]
        if "tokens" in self._kinds and heads.tokens:
            states = found[heads.tokens]
            vectors = split_tokens(states, rows.lengths, rows.ids.shape[1], is_colbert=bool(heads.colbert))
            for index, each in zip(indices, vectors, strict=True):
                self._vectors[index] = each

    def finish(self, dropped: Sequence[int]) -> Outputs:
        """Returns what was asked for. `dropped` token ids get no lexical weight."""
        dense = self._dense if "dense" in self._kinds else None
        sparse: SparseRows | None = None
        if "sparse" in self._kinds:
            sparse = to_sparse_rows(self._tokens, self._weights, dropped)
        vectors: TokenVectors | None = None
        if "tokens" in self._kinds:
            lengths = np.fromiter(map(len, self._vectors), np.int32, len(self._vectors))
            vectors = TokenVectors(np.concatenate([self._no_vectors, *self._vectors]), lengths)
        return Outputs(dense, sparse, vectors)
