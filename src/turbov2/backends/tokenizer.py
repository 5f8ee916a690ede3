"""Texts, token ids and pairs as a model reads them, by its `tokenizer.json`: shared by encoder backends."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from pathlib import Path
from typing import cast

import msgspec
import numpy as np
from tokenizers import Encoding, Tokenizer

from turbov2.backends.tokens import check_ids, is_pairs, is_text
from turbov2.errors import InvalidRequest, LoadFailed
from turbov2.types import Inputs, Pair, TokenBatch

Ids = list[int]
_PAD_TOKENS = ("[PAD]", "<pad>", "<|endoftext|>")  # BERT's, SentencePiece models' and Qwen's


class _Template(msgspec.Struct, frozen=True):
    """The special tokens a post-processor puts around one text, or around and between two."""

    before: Ids
    after: Ids
    between: Ids = []
    has_types: bool = False  # the second text's tokens and those after it have type 1

    @property
    def n_special(self) -> int:
        return len(self.before) + len(self.between) + len(self.after)


class TextTokenizer:
    """Inputs → token ids with the model's own special tokens. Thread-safe: nothing changes after `__init__`.

    The ids are those of transformers' fast tokenizers with `truncation=True`: what the file says, also where
    transformers 5 builds a normalizer of its own instead of the file's (DeBERTa-v2's). The file's own
    truncation and padding are switched off: the limit comes with each call. What is too long loses its end,
    never its special tokens; of pairs the longer text gives way first.
    """

    def __init__(self, path: str | Path) -> None:
        """Raises: LoadFailed when the file is not a tokenizer this version reads."""
        self._tokenizer = _load(Path(path))
        vocabulary = self._tokenizer.get_vocab(with_added_tokens=True)
        self.n_vocabulary = max(vocabulary.values(), default=-1) + 1  # ids may have gaps
        self.pad_id = next((vocabulary[token] for token in _PAD_TOKENS if token in vocabulary), 0)
        self._single = _single_template(self._tokenizer)
        self._pair = _pair_template(self._tokenizer)

    def id_of(self, token: str) -> int | None:
        """Returns the id of a token of the vocabulary, None if there is none."""
        return self._tokenizer.token_to_id(token)

    def encode(self, inputs: Inputs, max_tokens: int | None) -> TokenBatch:
        """Returns the inputs cut to `max_tokens`, special tokens included.

        Token ids are taken as they are, with the special tokens put around them.
        Raises: InvalidRequest when an id lies outside the vocabulary, or a pair has an instruction.
        """
        if is_pairs(inputs):
            return self._encode_pairs(inputs, max_tokens)
        if is_text(inputs):
            rows = [e.ids for e in self._tokenizer.encode_batch_fast(inputs)] if inputs else []
        else:
            numbers = cast(Sequence[Sequence[int]], inputs)
            check_ids(numbers, self.n_vocabulary)
            rows = [self._single.before + list(ids) + self._single.after for ids in numbers]
        return _to_batch([self._cut(row, max_tokens) for row in rows], rows)

    def encode_plain(self, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of each text, whole and without special tokens: for templates built by hand."""
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False) if texts else []
        return [encoding.ids for encoding in encodings]

    def _cut(self, row: Ids, max_tokens: int | None) -> Ids:
        if max_tokens is None or len(row) <= max_tokens:
            return row
        template = self._single
        kept = max(max_tokens - len(template.after), len(template.before))
        return row[:kept] + template.after

    def _encode_pairs(self, pairs: Sequence[Pair], max_tokens: int | None) -> TokenBatch:
        template = self._pair
        if template is None:
            raise InvalidRequest("this model's tokenizer has no form for pairs of texts", param="input")
        if any(instruction for _, _, instruction in pairs):
            raise InvalidRequest("this model reads no instruction: leave it out", param="instruction")
        texts = list(dict.fromkeys(chain.from_iterable(pair[:2] for pair in pairs)))  # a query is read once
        ids_of = dict(zip(texts, self.encode_plain(texts), strict=True))
        full_lengths, rows, starts = [], [], []
        for query, document, _ in pairs:
            first, second = ids_of[query], ids_of[document]
            full_lengths.append(len(first) + len(second) + template.n_special)
            if max_tokens is not None and full_lengths[-1] > max_tokens:
                n_first, n_second = longest_first(len(first), len(second), max_tokens - template.n_special)
                first, second = first[:n_first], second[:n_second]
            rows.append([*template.before, *first, *template.between, *second, *template.after])
            starts.append(len(template.before) + len(first) + len(template.between))
        batch = _to_batch(rows, rows)
        return TokenBatch(
            batch.ids,
            batch.lengths,
            np.array(full_lengths, np.int32),
            np.array(starts, np.int32) if template.has_types else None,
        )


def longest_first(n_first: int, n_second: int, n_max: int) -> tuple[int, int]:
    """Returns how many tokens of two texts, together more than `n_max`, stay: the longer gives way first.

    Equal halves once both have to give way; of an odd number the longer text gets one more, or the second of
    two equally long. As huggingface/tokenizers, tokenizers/src/utils/truncation.rs, `LongestFirst`.
    """
    n_max = max(n_max, 0)
    shorter = min(n_first, n_second)
    longer = n_max - shorter
    if longer < shorter:
        shorter, longer = n_max // 2, n_max - n_max // 2
    return (longer, shorter) if n_first > n_second else (shorter, longer)


def _to_batch(rows: Sequence[Ids], full_rows: Sequence[Ids]) -> TokenBatch:
    lengths = np.fromiter(map(len, rows), np.int32, len(rows))
    full_lengths = np.fromiter(map(len, full_rows), np.int32, len(rows))
    ids = np.fromiter(chain.from_iterable(rows), np.int32, int(lengths.sum()))
    return TokenBatch(ids, lengths, full_lengths)


def _load(path: Path) -> Tokenizer:
    try:
        tokenizer = Tokenizer.from_buffer(path.read_bytes())
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise LoadFailed("tokenizer.json is not a tokenizer this version reads") from error
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _single_template(tokenizer: Tokenizer) -> _Template:
    """Returns what stands around the text, read off an example."""
    encoding = tokenizer.encode("a")
    inner = _span(encoding, 0)
    return _Template(encoding.ids[: inner.start], encoding.ids[inner.stop :])


def _pair_template(tokenizer: Tokenizer) -> _Template | None:
    """Returns what stands around and between two texts, None if they do not come once each and in order."""
    encoding = tokenizer.encode("a", "a")
    first, second = _span(encoding, 0), _span(encoding, 1)
    ids, types = encoding.ids, encoding.type_ids
    if not first.start < first.stop <= second.start < second.stop:
        return None
    has_types = any(types)
    if has_types and types != [0] * second.start + [1] * (len(ids) - second.start):
        return None
    between = ids[first.stop : second.start]
    return _Template(ids[: first.start], ids[second.stop :], between, has_types)


def _span(encoding: Encoding, sequence: int) -> range:
    """Returns where text `sequence` stands between special tokens. Raises: LoadFailed if it is not there."""
    places = [
        place
        for place, (of, is_special) in enumerate(
            zip(encoding.sequence_ids, encoding.special_tokens_mask, strict=True)
        )
        if of == sequence and not is_special
    ]
    if not places or places != list(range(places[0], places[-1] + 1)):
        raise LoadFailed("tokenizer.json does not put texts into one place between its special tokens")
    return range(places[0], places[-1] + 1)
