"""Reranking: how well documents answer a query."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import msgspec

from turbov2.types.embed import ItemError

if TYPE_CHECKING:
    from turbov2.types.embed import FloatVector


class RerankRequest(msgspec.Struct, frozen=True):
    """Scores wanted for `documents` against `query`. `model` is a name or alias of the catalogue."""

    model: str
    query: str
    documents: Sequence[str]
    instruction: str = ""  # what makes a document relevant, for models that read one
    is_normalized: bool = False  # True: scores in 0..1; False: as the model gives them
    truncate: bool = True  # False: a text longer than the model reads is an InputTooLong
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever
    is_partial_ok: bool = False  # True: documents that fail alone are reported beside the others' scores


class RerankResult(msgspec.Struct, frozen=True):
    """The answer: `scores` `[n]` float32 in the documents' order, higher is better. Sorting is the wire's."""

    model: str  # catalogue name of the model that was used
    scores: FloatVector
    n_tokens: int  # summed over all that was read
    truncated: tuple[int, ...]  # indices of documents whose end was cut off
    load_ns: int  # time spent waiting for the model to become ready
    total_ns: int
    queue_ns: int = 0  # the rest: waiting in the queue, and for others' batches
    tokenize_ns: int = 0
    inference_ns: int = 0
    failed: tuple[ItemError, ...] = ()  # only with partial results; their scores mean nothing
    is_query_truncated: bool = False  # its end was cut off, where the model reads it apart from the documents
