"""Embedding: what is asked, what a backend computes, what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatMatrix = NDArray[np.float32]
    IntVector = NDArray[np.int32]

InputType = Literal["document", "query"]
Inputs = Sequence[str] | Sequence[Sequence[int]]  # texts, or token ids of the model's own tokenizer


class EmbedRequest(msgspec.Struct, frozen=True):
    """Vectors wanted for `inputs`, in order. `model` is a name or alias of the catalogue."""

    model: str
    inputs: Inputs
    input_type: InputType = "document"  # chooses the prompt, for models that define one
    dimensions: int | None = None  # keep the first N values; None keeps all
    must_be_matryoshka: bool = False  # True: refuse `dimensions` the model was not trained for
    normalize: bool = True  # L2, after cutting to `dimensions`
    truncate: bool = True  # False: a text longer than the model reads is an InputTooLong
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever
    is_partial_ok: bool = False  # True: items that fail alone are reported beside the others' vectors


class TokenBatch(msgspec.Struct, frozen=True):
    """Inputs as the model reads them, one behind the other.

    ids: `[sum(lengths)]` int32, special tokens included, padding never.
    lengths: `[n]` int32, tokens of each input after truncation: what it costs and what usage counts.
    full_lengths: `[n]` int32, tokens before truncation; larger than `lengths` where the end was cut off.
    """

    ids: IntVector
    lengths: IntVector
    full_lengths: IntVector


class ItemError(msgspec.Struct, frozen=True):
    """One input that failed while its neighbours did not. `code` and `message` are a TurboError's."""

    index: int
    code: str
    message: str


class EmbedResult(msgspec.Struct, frozen=True):
    """The answer: `vectors` `[n, d]` float32 in input order, cut and normalised as asked."""

    model: str  # catalogue name of the model that was used
    vectors: FloatMatrix
    n_tokens: int  # summed over the inputs
    truncated: tuple[int, ...]  # indices of inputs whose end was cut off
    load_ns: int  # time spent waiting for the model to become ready
    total_ns: int
    failed: tuple[ItemError, ...] = ()  # only if the request allowed partial results; their rows are zero
    queue_ns: int = 0  # the rest: waiting in the queue, and for others' batches
    tokenize_ns: int = 0
    inference_ns: int = 0
