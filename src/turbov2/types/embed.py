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
    BoolVector = NDArray[np.bool_]

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


class EmbedBatch(msgspec.Struct, frozen=True):
    """What one forward of a backend reads. `inputs` already carry their prompt."""

    inputs: Inputs
    truncate: bool = True

    def n_chars(self) -> int:
        """Returns the summed length of the inputs: characters of texts, or ids."""
        return sum(map(len, self.inputs))


class EmbedOutput(msgspec.Struct, frozen=True):
    """What one forward returns.

    vectors: `[n, d]` float32, pooled, not yet cut and not normalised unless the model's own graph does it.
    n_tokens: `[n]` int32, tokens that were used, special tokens included, padding never.
    truncated: `[n]` bool, True where the end of the input was cut off.
    """

    vectors: FloatMatrix
    n_tokens: IntVector
    truncated: BoolVector


class EmbedResult(msgspec.Struct, frozen=True):
    """The answer: `vectors` `[n, d]` float32 in input order, cut and normalised as asked."""

    model: str  # catalogue name of the model that was used
    vectors: FloatMatrix
    n_tokens: int  # summed over the inputs
    truncated: tuple[int, ...]  # indices of inputs whose end was cut off
    load_ns: int  # time spent waiting for the model to become ready
    total_ns: int
