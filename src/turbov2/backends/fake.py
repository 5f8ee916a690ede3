"""A model that is none: exact vectors, chosen delays and chosen failures, for API tests and fault injection.

The vector of an input depends on that input alone, so equal inputs get equal vectors whatever the batch.
"""

from __future__ import annotations

import hashlib
import os
import signal
import threading
import time
from collections.abc import Sequence
from typing import Annotated, cast

import msgspec
import numpy as np
from numpy.typing import NDArray

from turbov2.errors import InferenceFailed, InputTooLong, InvalidRequest, LoadFailed
from turbov2.types import EmbedBatch, EmbedOutput, Loaded, LoadSpec

N_VOCABULARY = 32_000

_Seconds = Annotated[float, msgspec.Meta(ge=0)]


class FakeOptions(msgspec.Struct, frozen=True):
    """What `LoadSpec.options` may hold. An input that contains one of the `_on` texts triggers it."""

    dimensions: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 8
    delay_s: _Seconds = 0.0  # per forward
    load_delay_s: _Seconds = 0.0
    fail_on: str | None = None  # InferenceFailed
    crash_on: str | None = None  # SIGKILL to its own process: only for a process runner
    hang_on: str | None = None  # waits for ever
    nan_on: str | None = None  # that input's row is NaN
    load_fails: bool = False
    host_bytes: Annotated[int, msgspec.Meta(ge=0)] = 0  # allocated and touched while loaded


class FakeBackend:
    """Implements Embedder. Thread-safe: nothing changes between `__init__` and `close`."""

    def __init__(self, spec: LoadSpec) -> None:
        self._options = options = parse_options(spec)
        time.sleep(options.load_delay_s)
        if options.load_fails:
            raise LoadFailed(f"model '{spec.model}' was told not to load")
        self._weights = np.ones(options.host_bytes, dtype=np.uint8)
        self.loaded = Loaded(
            capabilities=("embed",),
            dtype="float32",
            dimensions=options.dimensions,
            max_tokens=spec.max_tokens,
            pooling="mean",
            n_vocabulary=N_VOCABULARY,
        )

    def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns `[n, dimensions]` float32 in [-1, 1), in input order; a word or a token id is a token.

        Raises: InputTooLong, InvalidRequest as every Embedder; InferenceFailed when told to.
        """
        if not batch.inputs or isinstance(batch.inputs[0], str):
            texts = cast(Sequence[str], batch.inputs)
            used = [self._cut_text(i, text, truncate=batch.truncate) for i, text in enumerate(texts)]
        else:
            texts = []
            ids = cast(Sequence[Sequence[int]], batch.inputs)
            used = [self._cut_ids(i, each, truncate=batch.truncate) for i, each in enumerate(ids)]
        if self._options.delay_s:  # sleep(0) costs tens of microseconds
            time.sleep(self._options.delay_s)
        self._misbehave(texts)
        vectors = np.empty((len(used), self._options.dimensions), dtype=np.float32)
        for i, (seed, _, _) in enumerate(used):
            vectors[i] = self._vector(seed)
        nan_on = self._options.nan_on
        vectors[[i for i, text in enumerate(texts) if nan_on is not None and nan_on in text]] = np.nan
        return EmbedOutput(
            vectors=vectors,
            n_tokens=np.array([n for _, n, _ in used], dtype=np.int32),
            truncated=np.array([cut for _, _, cut in used], dtype=np.bool_),
        )

    def close(self) -> None:
        """Afterwards `host_bytes` are free again."""
        self._weights = np.empty(0, dtype=np.uint8)

    def _cut_text(self, index: int, text: str, *, truncate: bool) -> tuple[bytes, int, bool]:
        words = text.split()
        n = self._n_used(index, len(words), truncate=truncate)
        if n < len(words):
            text = " ".join(words[:n])
        return b"text:" + text.encode(errors="surrogatepass"), n, n < len(words)

    def _cut_ids(self, index: int, ids: Sequence[int], *, truncate: bool) -> tuple[bytes, int, bool]:
        for token_id in ids:
            if not 0 <= token_id < N_VOCABULARY:
                raise InvalidRequest(
                    f"token id {token_id} of input {index} is outside the vocabulary: ids go from 0 to "
                    f"{N_VOCABULARY - 1}"
                )
        n = self._n_used(index, len(ids), truncate=truncate)
        return b"ids:" + np.array(ids[:n], dtype=np.int32).tobytes(), n, n < len(ids)

    def _n_used(self, index: int, n_tokens: int, *, truncate: bool) -> int:
        """Returns how many of an input's tokens the model reads. Raises: InputTooLong."""
        limit = self.loaded.max_tokens
        if limit is None or n_tokens <= limit:
            return n_tokens
        if truncate:
            return limit
        raise InputTooLong(
            f"the input length exceeds the context length: input {index} has {n_tokens} tokens, the model "
            f"reads {limit}; shorten it or allow truncation"
        )

    def _vector(self, seed: bytes) -> NDArray[np.float64]:
        """Returns values of 23 random bits each, which float32 holds exactly."""
        digest = hashlib.shake_256(seed).digest(4 * self._options.dimensions)
        return (np.frombuffer(digest, dtype="<u4") >> np.uint32(9)) / 2.0**22 - 1.0

    def _misbehave(self, texts: Sequence[str]) -> None:
        options = self._options
        if _any_holds(texts, options.crash_on):
            os.kill(os.getpid(), signal.SIGKILL)
        if _any_holds(texts, options.hang_on):
            threading.Event().wait()
        if _any_holds(texts, options.fail_on):
            raise InferenceFailed("an input holds what the fake model was told to fail on")


def parse_options(spec: LoadSpec) -> FakeOptions:
    """Returns the options, checked. Raises: LoadFailed, naming the option that is unknown or wrong."""
    known = FakeOptions.__struct_fields__
    for name, value in spec.options.items():
        if name not in known:
            raise LoadFailed(f"the fake backend has no option '{name}'; it has {', '.join(known)}")
        try:
            msgspec.convert({name: value}, FakeOptions)
        except msgspec.ValidationError as error:
            message = f"option '{name}' of the fake backend has the wrong type or range: {value!r:.80}"
            raise LoadFailed(message) from error
    return msgspec.convert(spec.options, FakeOptions)


def _any_holds(texts: Sequence[str], needle: str | None) -> bool:
    return needle is not None and any(needle in text for text in texts)
