"""From what a graph gives to what was asked: lexical weights and token vectors, and which output is which."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.errors import LoadFailed
from turbov2.types import OutputKind, SparseRows, TokenBatch

# Names that exporters use: optimum and Sentence Transformers; BAAI/bge-m3 and its conversions.
_HIDDEN = ("last_hidden_state", "token_embeddings")
_POOLED = ("sentence_embedding", "dense_vecs", "dense_embeddings", "dense")
_SPARSE = ("sparse_vecs", "sparse_weights", "sparse")
_COLBERT = ("colbert_vecs", "colbert_embeddings", "colbert")
_SCORE = ("logits",)


class Heads(msgspec.Struct, frozen=True):
    """The graph's output for each purpose, None where it has none. One of the first three is there.

    hidden: `[k, longest, d]`, the last layer's states.
    pooled: `[k, d]`, a text's vector, used as it is.
    score: `[k, 1]`, a pair's raw score.
    sparse: `[k, longest, 1]` or `[k, longest]`, a weight for each token.
    colbert: `[k, longest, d]`, or one row less where the graph has dropped the first token itself.
    """

    hidden: str | None
    pooled: str | None
    score: str | None
    sparse: str | None
    colbert: str | None

    @property
    def dense(self) -> str:
        """The output that `Outputs.dense` is made of."""
        name = self.score or self.pooled or self.hidden
        assert name is not None, "find_heads lets no other graph pass. This is a bug."
        return name

    @property
    def tokens(self) -> str | None:
        """The output that `Outputs.tokens` is made of."""
        return self.colbert or self.hidden

    @property
    def kinds(self) -> tuple[OutputKind, ...]:
        """What the model gives."""
        if self.score:
            return ("dense",)
        has = {"dense": True, "sparse": bool(self.sparse), "tokens": bool(self.tokens)}
        kinds: tuple[OutputKind, ...] = ("dense", "sparse", "tokens")
        return tuple(kind for kind in kinds if has[kind])

    def needed(self, kinds: Sequence[OutputKind]) -> list[str]:
        """Returns the names of the outputs that these are made of."""
        name_of = {"dense": self.dense, "sparse": self.sparse, "tokens": self.tokens}
        return sorted({name for kind in kinds if (name := name_of[kind])})


def find_heads(outputs: Sequence[str]) -> Heads:
    """Returns which output is which, by name. Raises: LoadFailed when there is no vector and no score."""

    def first(names: tuple[str, ...]) -> str | None:
        return next((name for name in names if name in outputs), None)

    heads = Heads(first(_HIDDEN), first(_POOLED), first(_SCORE), first(_SPARSE), first(_COLBERT))
    if not (heads.hidden or heads.pooled or heads.score):
        raise LoadFailed(
            f"the graph gives {', '.join(outputs)}, but none of {', '.join(_HIDDEN + _POOLED + _SCORE)}"
        )
    return heads


def to_sparse_rows(tokens: TokenBatch, weights: NDArray[np.float32], dropped: Sequence[int]) -> SparseRows:
    """Returns the largest weight of each token id of a row, if it is above 0 and the id is none of `dropped`.

    weights: `[sum(lengths)]` float32. Source: FlagOpen/FlagEmbedding, BGEM3FlagModel's token weights.
    """
    n_rows = len(tokens.lengths)
    is_kept = (weights > 0) & ~np.isin(tokens.ids, np.array(dropped, np.int32))
    rows = np.repeat(np.arange(n_rows), tokens.lengths)[is_kept]
    ids, kept = tokens.ids[is_kept], weights[is_kept]
    order = np.lexsort((-kept, ids, rows))  # of equal tokens in a row the largest comes first
    rows, ids, kept = rows[order], ids[order], kept[order]
    is_first = np.ones(len(ids), np.bool_)
    is_first[1:] = (rows[1:] != rows[:-1]) | (ids[1:] != ids[:-1])
    lengths = np.bincount(rows[is_first], minlength=n_rows).astype(np.int32)
    return SparseRows(ids[is_first], kept[is_first], lengths)


def split_tokens(
    states: NDArray[np.float32], lengths: NDArray[np.int32], longest: int, *, is_colbert: bool
) -> list[NDArray[np.float32]]:
    """Returns `[t, d]` float32 for each row, L2-normalised: its tokens' vectors without padding.

    Of a ColBERT head's the first token's is left out, as bge-m3 was trained (FlagOpen/FlagEmbedding, M3's
    modeling.py), whether the graph gives it or not; of a plain encoder's all stay, special tokens included.
    """
    n_missing = longest - states.shape[1]  # 1 where the graph has dropped the first token
    begin = int(is_colbert) - n_missing
    rows = (row[begin : length - n_missing] for row, length in zip(states, lengths, strict=True))
    return [normalise(row) for row in rows]


def normalise(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the rows divided by their L2 norms; zero rows stay zero."""
    norms = np.linalg.norm(vectors, axis=-1, keepdims=True)
    normalised: NDArray[np.float32] = vectors / np.maximum(norms, np.finfo(np.float32).tiny)
    return normalised
