"""A model that is none: exact vectors, chosen delays and chosen failures, for API tests and fault injection.

A word or a token id is a token. The vector of an input depends on its ids alone, so equal inputs get equal
vectors whatever the batch. The ids say where they come from:

    0 to 31,999         token ids that a caller may send
    32,000 + k          stands for the first word of a text that holds the trigger TRIGGERS[k]
    65,536 to 2^31 - 1  words of texts, by their checksum

Told to write, it writes the prompt's own words, an image as its size, or thinks and calls tools; see
turbov2.backends.fake_writing. Told to listen, it hears a word in each second that is not silent: "s12" in the
one from 12 s on; see turbov2.backends.fake_speech.
"""

from __future__ import annotations

import hashlib
import math
import time
import zlib
from collections.abc import Callable, Sequence
from itertools import takewhile
from typing import TYPE_CHECKING, Annotated, cast

import msgspec
import numpy as np

from turbov2.backends.fake_speech import NEED, hear
from turbov2.backends.fake_speech import words_of as heard_words
from turbov2.backends.fake_writing import n_prompt_tokens, pieces_of, reply_format, words_of
from turbov2.backends.havoc import HAVOC
from turbov2.backends.prompt_errors import too_long
from turbov2.backends.tokens import Ids, check_ids, is_pairs, is_text, offsets_of, to_batch
from turbov2.errors import InferenceFailed, LoadFailed, OutOfMemory
from turbov2.types import (
    DENSE,
    EmbedTask,
    Finish,
    FinishReason,
    GenerateTask,
    Heard,
    ImageNeed,
    Inputs,
    Loaded,
    LoadSpec,
    Outputs,
    PromptCounted,
    SparseRows,
    SpeechTask,
    TokenBatch,
    TokenVectors,
    Written,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples
    from turbov2.types.embed import FloatMatrix
    from turbov2.types.images import Pixels

N_VOCABULARY = 32_000
_FIRST_WORD_ID = 1 << 16
_N_WORD_IDS = (1 << 31) - _FIRST_WORD_ID

_Seconds = Annotated[float, msgspec.Meta(ge=0)]
_Bytes = Annotated[int, msgspec.Meta(ge=0)]


class FakeOptions(msgspec.Struct, frozen=True):
    """What `LoadSpec.options` may hold.

    A text that contains one of the `_on` texts triggers it, in every forward that the text is part of; the
    first in this order if it contains several. Those marked "process" harm the process they run in.
    """

    dimensions: Annotated[int, msgspec.Meta(ge=1, le=65_536)] = 8
    is_reranker: bool = False  # reads pairs, gives one number for each
    is_writer: bool = False  # writes what it is told, a word a token, and neither embeds nor ranks
    thinks: bool = False  # of a writer: it thinks before it writes, unless it is told not to
    calls_tools: bool = False  # of a writer
    keeps_prefix: bool = (
        False  # of a writer: words that the last prompt began with as well are not read again
    )
    is_listener: bool = False  # hears words, and neither embeds nor ranks
    n_slots: Annotated[int, msgspec.Meta(ge=1, le=64)] = 1  # of a listener
    is_padded: bool = False  # cost of a batch: longest input times inputs, else the sum of lengths
    delay_s: _Seconds = 0.0  # per forward
    delay_s_per_token: _Seconds = 0.0  # per forward, for each token of its cost; before each word written
    load_delay_s: _Seconds = 0.0
    load_fails: bool = False
    host_bytes: _Bytes = 0  # allocated and touched while loaded
    leak_bytes: _Bytes = 0  # allocated and touched by each forward, and kept
    oom_above_tokens: Annotated[int, msgspec.Meta(ge=0)] | None = None  # OutOfMemory if the cost is larger
    nan_heals: bool = False  # a precise forward gives numbers where others give NaN
    oom_on: str | None = None  # OutOfMemory, however small the batch
    fail_on: str | None = None  # InferenceFailed
    nan_on: str | None = None  # that input's row is NaN
    hang_on: str | None = None  # waits for ever
    crash_on: str | None = None  # process: SIGKILL to itself
    segfault_on: str | None = None  # process: reads address 0
    stop_on: str | None = None  # process: SIGSTOP to itself
    exit_on: str | None = None  # process: ends with exit code 3
    garbage_on: str | None = None  # process: writes no frame to every open socket, then computes
    spawn_on: str | None = None  # process: leaves one behind that holds every open socket, then computes


TRIGGERS = tuple(name for name in FakeOptions.__struct_fields__ if name.endswith("_on"))
_NAN_ID = N_VOCABULARY + TRIGGERS.index("nan_on")


class FakeBackend:
    """Implements Embedder. Thread-safe: only the leak grows between `__init__` and `close`."""

    def __init__(self, spec: LoadSpec) -> None:
        self._options = options = parse_options(spec)
        time.sleep(options.load_delay_s)
        if options.load_fails:
            raise LoadFailed(f"model '{spec.model}' was told not to load")
        self._kept = [np.ones(options.host_bytes, dtype=np.uint8)]
        self.loaded = Loaded(
            capabilities=_capabilities(options),
            dtype="float32",
            dimensions=1 if options.is_reranker else options.dimensions,
            max_tokens=spec.max_tokens,
            pooling="mean",
            n_vocabulary=N_VOCABULARY,
            outputs=("dense",) if options.is_reranker else ("dense", "sparse", "tokens"),
            reads_instructions=options.is_reranker,
            is_padded=options.is_padded,
            image=ImageNeed() if options.is_writer else None,
            speech=NEED if options.is_listener else None,
            n_slots=options.n_slots,
            reply=reply_format(thinks=options.thinks, calls_tools=options.calls_tools),
        )
        self._last_prompt: list[str] = []

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns one token per word or id."""
        return to_batch(_rows(inputs, self._options), self.loaded.max_tokens)

    def embed(self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False) -> Outputs:
        """Returns dense `[n, dimensions]` float32 in [-1, 1), times `layers`; each id's count; token vectors.

        Raises: OutOfMemory, InferenceFailed when told to.
        """
        cost = self._cost(tokens)
        self._spend(cost)
        self._misbehave(tokens, cost)
        vectors = _vectors(tokens, self.loaded.dimensions or 0) * np.float32(task.layers or 1)
        if not (is_precise and self._options.nan_heals):
            vectors[[_NAN_ID in row for row in _ids_of(tokens)]] = np.nan
        return Outputs(
            vectors if "dense" in task.outputs else None,
            _counts(tokens) if "sparse" in task.outputs else None,
            _token_vectors(tokens, self._options.dimensions) if "tokens" in task.outputs else None,
        )

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Writes what turbov2.backends.fake_writing says. A piece with a trigger's text pulls it before.

        Raises: InputTooLong, and what it is told to.
        """
        n_read = n_prompt_tokens(task, images)
        if (limit := self.loaded.max_tokens) is not None and n_read >= limit:
            raise too_long(n_read, limit)
        n_tokens = min(task.sampling.max_tokens, limit - n_read if limit is not None else math.inf)
        n_written, n_cached = 0, self._n_cached(task, images)
        on_written(PromptCounted(n_read, n_cached))
        time.sleep(self._options.delay_s)
        reason: FinishReason = "stop"
        stopped_by = None
        for piece in pieces_of(task, images, self.loaded.reply):
            if n_written == n_tokens or is_cancelled():
                reason = "cancelled" if is_cancelled() else "length"
                break
            if (word := piece.strip()) in task.sampling.stop:
                stopped_by = word
                break
            time.sleep(self._options.delay_s_per_token)
            self._obey(word)
            on_written(piece)
            n_written += 1
        return Finish(
            reason,
            n_read,
            n_written,
            n_tiles=len(images),
            stopped_by=stopped_by,
            n_cached_tokens=n_cached,
        )

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Counts the words of the prompt."""
        return n_prompt_tokens(task, images)

    def _n_cached(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many words of the prompt the last one began with as well."""
        if not self._options.keeps_prefix:
            return 0
        prompt = list(words_of(task, images))
        same = takewhile(lambda pair: pair[0] == pair[1], zip(prompt, self._last_prompt, strict=False))
        self._last_prompt = prompt
        return sum(1 for _ in same)

    def listen(self, samples: Samples, task: SpeechTask, is_cancelled: Callable[[], bool]) -> Heard:
        """Hears what turbov2.backends.fake_speech says. A word that holds a trigger's text pulls it."""
        time.sleep(self._options.delay_s)
        heard = hear(samples, task)
        for word in heard_words(heard):
            if is_cancelled():
                raise InferenceFailed("nobody waits for this any more")
            time.sleep(self._options.delay_s_per_token)
            self._obey(word)
        return heard

    def free_caches(self) -> None:
        """Nothing is kept for reuse; a leak stays, as leaks do."""

    def close(self) -> None:
        """Afterwards `host_bytes` and what leaked are free again."""
        self._kept.clear()

    def _cost(self, tokens: TokenBatch) -> int:
        if self._options.is_padded:
            return int(tokens.lengths.max(initial=0)) * len(tokens.lengths)
        return len(tokens.ids)

    def _spend(self, cost: int) -> None:
        options = self._options
        if (
            delay_s := options.delay_s + options.delay_s_per_token * cost
        ):  # sleep(0) costs tens of microseconds
            time.sleep(delay_s)
        if options.leak_bytes:
            self._kept.append(np.ones(options.leak_bytes, dtype=np.uint8))

    def _misbehave(self, tokens: TokenBatch, cost: int) -> None:
        limit = self._options.oom_above_tokens
        if limit is not None and cost > limit:
            raise OutOfMemory(f"a batch of {cost} tokens is too large for a fake model of {limit}")
        marks = tokens.ids[(tokens.ids >= N_VOCABULARY) & (tokens.ids < _FIRST_WORD_ID)] - N_VOCABULARY
        for trigger in sorted({TRIGGERS[mark] for mark in marks}, key=TRIGGERS.index):
            self._pull(trigger)

    def _obey(self, word: str) -> None:
        for trigger in TRIGGERS:
            if (needle := getattr(self._options, trigger)) is not None and needle in word:
                self._pull(trigger)

    def _pull(self, trigger: str) -> None:
        if trigger == "oom_on":
            raise OutOfMemory("an input holds what the fake model was told to run out of memory on")
        if trigger == "fail_on":
            raise InferenceFailed("an input holds what the fake model was told to fail on")
        if trigger in HAVOC:
            HAVOC[trigger]()


def _capabilities(options: FakeOptions) -> tuple[str, ...]:
    if options.is_writer:
        return ("vision",)
    if options.is_listener:
        return ("transcribe",)
    return ("rerank",) if options.is_reranker else ("embed",)


def vectors_of(inputs: Inputs, *, dimensions: int = 8, max_tokens: int | None = None) -> FloatMatrix:
    """Returns `[n, dimensions]` float32: what a fake model answers for inputs that trigger nothing."""
    return _vectors(to_batch(_rows(inputs, FakeOptions()), max_tokens), dimensions)


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


def _rows(inputs: Inputs, options: FakeOptions) -> list[Ids]:
    if is_text(inputs):
        return [_row(text, options) for text in inputs]
    if is_pairs(inputs):
        return [_row(" ".join(pair), options) for pair in inputs]
    ids = cast(Sequence[Sequence[int]], inputs)
    check_ids(ids, N_VOCABULARY)
    return [np.array(each, np.int32).tobytes() for each in ids]


def _row(text: str, options: FakeOptions) -> Ids:
    words = (word.encode(errors="surrogatepass") for word in text.split())
    ids = [_FIRST_WORD_ID + zlib.crc32(word) % _N_WORD_IDS for word in words]
    for mark, trigger in enumerate(TRIGGERS, N_VOCABULARY):
        needle = getattr(options, trigger)
        if needle is not None and needle in text:
            ids[:1] = [mark]
            break
    return np.array(ids, np.int32).tobytes()


def _ids_of(tokens: TokenBatch) -> list[FloatMatrix]:
    return np.split(tokens.ids, offsets_of(tokens.lengths)[1:-1]) if len(tokens.lengths) else []


def _vectors(tokens: TokenBatch, dimensions: int) -> FloatMatrix:
    """Returns values of 23 random bits each, which float32 holds exactly."""
    vectors = np.empty((len(tokens.lengths), dimensions), dtype=np.float32)
    for row, ids in enumerate(_ids_of(tokens)):
        digest = hashlib.shake_256(ids.tobytes()).digest(4 * dimensions)
        vectors[row] = (np.frombuffer(digest, dtype="<u4") >> np.uint32(9)) / 2.0**22 - 1.0
    return vectors


def _counts(tokens: TokenBatch) -> SparseRows:
    rows = [np.unique(ids, return_counts=True) for ids in _ids_of(tokens)]
    return SparseRows(
        np.concatenate([np.zeros(0), *(ids for ids, _ in rows)]).astype(np.int32),
        np.concatenate([np.zeros(0), *(counts for _, counts in rows)]).astype(np.float32),
        np.array([len(ids) for ids, _ in rows], np.int32),
    )


def _token_vectors(tokens: TokenBatch, dimensions: int) -> TokenVectors:
    ones = np.ones(len(tokens.ids), np.int32)
    vectors = _vectors(TokenBatch(tokens.ids, ones, ones), dimensions)
    return TokenVectors(vectors / np.linalg.norm(vectors, axis=1, keepdims=True), tokens.lengths)
