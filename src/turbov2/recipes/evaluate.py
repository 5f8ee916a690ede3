"""Retrieval quality of an embedder, and of a reranker on what the embedder found, wherever they run."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from turbov2.recipes.metrics import DEPTH, Estimate, estimate, estimates, rank, score_rankings, unit_rows
from turbov2.recipes.retrieval import RetrievalSet

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix, InputType

EMBED_TEXTS = 64  # in one call

Embed = Callable[[Sequence[str], "InputType"], "FloatMatrix"]  # vectors [n, d], of any length
Rerank = Callable[[str, Sequence[str]], Sequence[int]]  # indices into the documents, best first
OnProgress = Callable[[int, int], None]  # done, total


class Evaluation(msgspec.Struct, frozen=True):
    """Each metric with its 95 % interval. `reranked` and `gain` are empty without a reranker."""

    n_documents: int
    n_queries: int
    quality: dict[str, Estimate]
    reranked: dict[str, Estimate] = {}
    gain: dict[str, Estimate] = {}  # reranked - quality, over the same queries


def evaluate(
    data: RetrievalSet, embed: Embed, rerank: Rerank | None, depth: int, on_progress: OnProgress
) -> Evaluation:
    """Returns the quality of ranking by cosine, and of its first `depth` documents in a new order."""
    n_steps = len(data.documents) + len(data.queries) * (1 if rerank is None else 2)
    documents = embed_all(embed, data.documents, "document", lambda done: on_progress(done, n_steps))
    offset = len(documents)
    queries = embed_all(embed, data.queries, "query", lambda done: on_progress(offset + done, n_steps))
    rankings = rank(queries @ documents.T, max(depth, DEPTH))
    scored = score_rankings(rankings, data.positives)
    quality = estimates(scored)
    if rerank is None:
        return Evaluation(len(data.documents), len(data.queries), quality)
    offset += len(queries)
    orders = []
    for row, (query, ranking) in enumerate(zip(data.queries, rankings, strict=True), 1):
        found = ranking[:depth]
        orders.append(
            [int(found[place]) for place in rerank(query, [data.documents[each] for each in found])]
        )
        on_progress(offset + row, n_steps)
    rescored = score_rankings(orders, data.positives)
    gain = {name: estimate(rescored[name] - scored[name]) for name in scored}
    return Evaluation(len(data.documents), len(data.queries), quality, estimates(rescored), gain)


def embed_all(
    embed: Embed, texts: Sequence[str], input_type: InputType, on_done: Callable[[int], None]
) -> FloatMatrix:
    """Returns `[n, d]` float32, L2-normalised; a zero vector stays zero."""
    parts = []
    for start in range(0, len(texts), EMBED_TEXTS):
        parts.append(embed(texts[start : start + EMBED_TEXTS], input_type))
        on_done(min(start + EMBED_TEXTS, len(texts)))
    return unit_rows(np.concatenate(parts))
