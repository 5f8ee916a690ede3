"""From what models give to relevance scores: pure functions, one query against its documents.

Scores are float32 in the documents' order. A text without tokens, or with a zero vector, scores 0.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from turbov2.types import SparseRows, TokenVectors
    from turbov2.types.embed import FloatMatrix, FloatVector

# Similarities held at a time: 32 for each document token, a small part of that token's own vector.
_QUERY_BLOCK = 32
_TINY = np.float32(1e-32)


def probabilities(raw: FloatVector, shift: float = 0.0) -> FloatVector:
    """Returns sigmoid(raw - shift) of `[n]` raw scores, in [0, 1], rising wherever `raw` rises.

    Computed as exp(-log(1 + exp(shift - raw))), which overflows nowhere and keeps the small ones apart.
    """
    return np.exp(-np.logaddexp(0.0, shift - raw.astype(np.float64))).astype(np.float32)


def cosine(query: FloatVector, documents: FloatMatrix) -> FloatVector:
    """Returns the cosine of the vector `query` `[d]` with each row of `documents` `[n, d]`."""
    norms = np.linalg.norm(documents, axis=1) * np.linalg.norm(query)
    cosines: FloatVector = documents @ query / (norms + _TINY)
    return cosines


def max_sim(query: FloatMatrix, documents: TokenVectors) -> FloatVector:
    """Returns each document's late-interaction score: the mean over query tokens of the best dot product.

    query: `[q, d]`. Vectors of length 1 give scores in [-1, 1]. Formula: ColBERT (arXiv:2004.12832, eq. 3),
    divided by the query's tokens as FlagOpen/FlagEmbedding does for bge-m3.
    """
    scores = np.zeros(len(documents.lengths), np.float32)
    filled = np.flatnonzero(documents.lengths)
    if not len(query) or not filled.size:
        return scores
    ends = np.cumsum(documents.lengths[filled])
    starts = ends - documents.lengths[filled]
    for first in range(0, len(query), _QUERY_BLOCK):
        similarities = documents.vectors @ query[first : first + _QUERY_BLOCK].T
        scores[filled] += np.maximum.reduceat(similarities, starts, axis=0).sum(axis=1)
    return scores / np.float32(len(query))


def lexical(query: SparseRows, documents: SparseRows) -> FloatVector:
    """Returns the sums of products of weights over the token ids a document shares with `query` (one row).

    Formula: FlagOpen/FlagEmbedding, `compute_lexical_matching_score` of bge-m3. Not bounded by 1.
    """
    n = len(documents.lengths)
    if not len(query.token_ids):
        return np.zeros(n, np.float32)
    order = np.argsort(query.token_ids)
    ids, weights = query.token_ids[order], query.weights[order]
    places = np.minimum(np.searchsorted(ids, documents.token_ids), len(ids) - 1)
    shared = np.where(ids[places] == documents.token_ids, weights[places], np.float32(0))
    rows = np.repeat(np.arange(n), documents.lengths)
    return np.bincount(rows, shared * documents.weights, minlength=n).astype(np.float32)
