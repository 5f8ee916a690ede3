"""Inputs, tokens and vectors as buffers of a frame.

Nothing is pickled. Arrays travel as their own bytes; both ends run on one machine, so in its byte order.
Texts travel as one msgpack list inside a buffer: 4-9 times faster than UTF-8 plus offsets (1.4 against
8.4 us for 32 texts, measured on the development box), and the header's limit stays small.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Literal, cast

import msgspec
import numpy as np

from turbov2.backends.tokens import is_text, offsets_of
from turbov2.errors import InvalidRequest
from turbov2.runners import messages as say
from turbov2.runners.frames import Array, Frame, FrameError, message_of
from turbov2.types import Inputs, TokenBatch

if TYPE_CHECKING:
    from turbov2.types.embed import FloatMatrix

_texts_decoder = msgspec.msgpack.Decoder(list[str])


def pack_inputs(inputs: Inputs) -> tuple[Literal["texts", "ids"], tuple[Array, ...]]:
    """Returns the kind and buffers that `unpack_inputs` turns back into `inputs`.

    Raises: InvalidRequest when a text is not Unicode or a token id cannot be one.
    """
    if is_text(inputs):
        return "texts", (_pack_texts(inputs),)
    return "ids", _pack_ids(cast(Sequence[Sequence[int]], inputs))


def unpack_inputs(frame: Frame, kind: Literal["texts", "ids"]) -> Inputs:
    """Returns the inputs a `Tokenize` frame carries. Raises: FrameError when its buffers do not fit."""
    if kind == "texts":
        (packed,) = _expect(frame, ("uint8", 1))
        try:
            return _texts_decoder.decode(packed.data)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrameError(f"texts buffer is malformed: {error}") from error
    flat, lengths = _expect(frame, ("int32", 1), ("int32", 1))
    _check_lengths(lengths, flat)
    ids = flat.tolist()
    return [ids[start:end] for start, end in pairwise(offsets_of(lengths).tolist())]


def pack_tokens(tokens: TokenBatch) -> tuple[Array, ...]:
    """Returns the buffers that `unpack_tokens` turns back into `tokens`."""
    return tuple(np.asarray(a, np.int32) for a in (tokens.ids, tokens.lengths, tokens.full_lengths))


def unpack_tokens(frame: Frame, n_rows: int | None = None) -> TokenBatch:
    """Returns the tokens an `Embed` or a `TokensReply` carries.

    Raises: FrameError when it is another message, when its buffers do not fit each other, and when the
    rows are not `n_rows`.
    """
    if not isinstance(frame.message, say.Embed | say.TokensReply):
        raise FrameError(f"{type(frame.message).__name__} came unexpectedly")
    ids, lengths, full_lengths = _expect(frame, ("int32", 1), ("int32", 1), ("int32", 1))
    _check_lengths(lengths, ids)
    if len(lengths) != len(full_lengths) or (full_lengths < lengths).any():
        raise FrameError("full lengths do not fit the lengths")
    _check_rows(len(lengths), n_rows)
    return TokenBatch(ids, lengths, full_lengths)


def pack_vectors(vectors: FloatMatrix) -> tuple[Array]:
    """Returns the buffer that `unpack_vectors` turns back into `vectors`."""
    return (np.asarray(vectors, np.float32),)


def unpack_vectors(frame: Frame, n_rows: int | None = None) -> FloatMatrix:
    """Returns the vectors a `VectorsReply` carries. Raises: FrameError, as `unpack_tokens`."""
    message_of(frame, say.VectorsReply)
    (vectors,) = _expect(frame, ("float32", 2))
    _check_rows(len(vectors), n_rows)
    return cast("FloatMatrix", vectors)


def _pack_texts(texts: Sequence[str]) -> Array:
    try:
        return np.frombuffer(msgspec.msgpack.encode(texts), dtype=np.uint8)
    except UnicodeEncodeError as error:
        message = "an input holds a lone surrogate, which is no Unicode text"
        raise InvalidRequest(message, param="input") from error


def _pack_ids(inputs: Sequence[Sequence[int]]) -> tuple[Array, Array]:
    lengths = np.fromiter(map(len, inputs), dtype=np.int32, count=len(inputs))
    flat = list(chain.from_iterable(inputs))
    for worst in (min(flat, default=0), max(flat, default=0)):  # numpy 1 wraps silently, numpy 2 raises
        if not -(1 << 31) <= worst < 1 << 31:
            message = f"token id {worst} is outside every vocabulary: ids have 31 bits"
            raise InvalidRequest(message, param="input")
    return np.array(flat, dtype=np.int32), lengths


def _check_lengths(lengths: Array, ids: Array) -> None:
    n_ids = int(lengths.sum(dtype=np.int64))
    if (lengths < 0).any() or n_ids != len(ids):
        raise FrameError(f"lengths sum to {n_ids}, but {len(ids)} token ids came")


def _check_rows(n: int, n_rows: int | None) -> None:
    if n_rows is not None and n != n_rows:  # else a caller would get another one's
        raise FrameError(f"{n} rows came instead of {n_rows}")


def _expect(frame: Frame, *wanted: tuple[str, int]) -> tuple[Array, ...]:
    got = tuple((buffer.dtype.name, buffer.ndim) for buffer in frame.buffers)
    if got != wanted:
        name = type(frame.message).__name__
        raise FrameError(f"{name} came with buffers {got} instead of {wanted}")
    return frame.buffers
