"""Embedding: what is asked, what a backend computes, what is answered."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    FloatMatrix = NDArray[np.float32]
    FloatVector = NDArray[np.float32]
    IntVector = NDArray[np.int32]

InputType = Literal["document", "query"]
OutputKind = Literal["dense", "sparse", "tokens"]
Pair = tuple[str, str, str]  # query, document, instruction ("" for none): what rerankers read
# Texts, token ids of the model's own tokenizer, or pairs; a request holds one kind only.
Inputs = Sequence[str] | Sequence[Sequence[int]] | Sequence[Pair]


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
    outputs: tuple[OutputKind, ...] = ("dense",)  # what is wanted of each input
    windows: bool = False  # True: of a text longer than the model reads, the mean of overlapping windows


class TokenBatch(msgspec.Struct, frozen=True):
    """Inputs as the model reads them, one behind the other.

    ids: `[sum(lengths)]` int32, special tokens included, padding never.
    lengths: `[n]` int32, tokens of each input after truncation: what it costs and what usage counts.
    full_lengths: `[n]` int32, tokens before truncation; larger than `lengths` where the end was cut off.
    second_starts: `[n]` int32, of pairs whose model wants token types: where the second text's tokens begin.
    """

    ids: IntVector
    lengths: IntVector
    full_lengths: IntVector
    second_starts: IntVector | None = None


class SparseRows(msgspec.Struct, frozen=True):
    """Lexical weights of inputs, one behind the other.

    token_ids: `[sum(lengths)]` int32, each at most once per input, ascending.
    weights: `[sum(lengths)]` float32, above 0.
    lengths: `[n]` int32, weights of each input.
    """

    token_ids: IntVector
    weights: FloatVector
    lengths: IntVector


class TokenVectors(msgspec.Struct, frozen=True):
    """Vectors of inputs' tokens, one input behind the other, for late interaction.

    vectors: `[sum(lengths), d]` float32, rows L2-normalised.
    lengths: `[n]` int32, vectors of each input.
    """

    vectors: FloatMatrix
    lengths: IntVector


class EmbedTask(msgspec.Struct, frozen=True):
    """What a model is to make of its inputs. Inputs of different tasks share no forward."""

    outputs: tuple[OutputKind, ...] = ("dense",)
    layers: int | None = None  # run only the first so many; None runs all


DENSE = EmbedTask()


class Outputs(msgspec.Struct, frozen=True):
    """What was asked of a batch, in its order; the others are None.

    dense: `[n, d]` float32, pooled, as the model gives it: not cut, normalised only if its own graph does so.
    """

    dense: FloatMatrix | None = None
    sparse: SparseRows | None = None
    tokens: TokenVectors | None = None


class ItemError(msgspec.Struct, frozen=True):
    """One input that failed while its neighbours did not. `code` and `message` are a TurboError's."""

    index: int
    code: str
    message: str


class EmbedResult(msgspec.Struct, frozen=True):
    """The answer: `vectors` `[n, d]` float32 in input order, cut and normalised as asked.

    Where "dense" was not asked for, `vectors` is `[n, 0]`; `sparse` and `tokens` are None unless asked for.
    """

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
    sparse: SparseRows | None = None
    tokens: TokenVectors | None = None
    n_windows: dict[int, int] = {}  # by index, of inputs embedded in several windows
