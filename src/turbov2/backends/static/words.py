"""Token ids of texts, remembered word by word.

Tokenizing is what a static model spends its time on. For a tokenizer that never joins across a space, a
text's ids are its words' ids in order, so each word needs the tokenizer once. `is_separable` proves that
from the tokenizer's own definition; where it cannot, every text goes through the tokenizer whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

SPACE_MARK = "\u2581"  # ▁, which SentencePiece-style tokenizers put for a space
MAX_WORDS = 65_536  # about 15 MB of English words
MAX_WORD_CHARS = 64  # longer ones are rarely seen twice
_GROUP_WORDS = 64  # words tokenized in one text: enough to share the call, few enough to use all cores
_ID_BYTES = 4

Ids = bytes  # int32, machine order: joining a text is then one copy per word


def is_separable(definition: dict[str, Any]) -> bool:
    """Returns whether ids("a b") == ids("a") + ids("b") for all words, by the tokenizer's definition.

    True for byte-pair models without a pre-tokenizer whose normalizer puts ▁ in front and for every
    space (Llama's), if no token of the vocabulary has ▁ behind another character: a merge across a
    word's start would make such a token.
    """
    model = definition["model"]
    steps = [
        {"type": "Prepend", "prepend": SPACE_MARK},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE_MARK},
    ]
    return (
        definition.get("normalizer") == {"type": "Sequence", "normalizers": steps}
        and definition.get("pre_tokenizer") is None
        and all(" " not in content for content in _added_tokens(definition))
        and model.get("type") == "BPE"
        and model.get("byte_fallback") is True  # so unknown characters never fuse across words
        and not model.get("dropout")
        and not model.get("ignore_merges")  # it looks whole texts up before cutting them
        and not model.get("continuing_subword_prefix")
        and not model.get("end_of_word_suffix")
        and SPACE_MARK in model["vocab"]
        and all(SPACE_MARK not in token.lstrip(SPACE_MARK) for token in model["vocab"])
    )


def _added_tokens(definition: dict[str, Any]) -> list[str]:
    return [token["content"] for token in definition.get("added_tokens") or ()]


class WordTokenizer:
    """Texts → token ids, the same as the tokenizer's own without special and unknown tokens. Thread-safe."""

    def __init__(self, tokenizer: Tokenizer, definition: dict[str, Any], unknown_id: int | None) -> None:
        self._tokenizer = tokenizer
        self._unknown_id = unknown_id
        self._is_separable = is_separable(definition)
        # Whoever writes these in a text changes how it is cut, so such texts take the whole-text way.
        self._marks = ("  ", SPACE_MARK, *_added_tokens(definition))
        vocabulary = tokenizer.get_vocab()
        # Ids may have gaps, so their number says nothing of the largest.
        self.n_ids = max(vocabulary.values(), default=-1) + 1
        self._starts_word = np.zeros(self.n_ids, np.bool_)
        for token, token_id in vocabulary.items():
            self._starts_word[token_id] = token.startswith(SPACE_MARK)
        self._known: dict[str, Ids] = {}

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Returns each text's ids as int32 bytes, in order."""
        if not self._is_separable:
            return self._encode_whole(texts)
        found = [_join(text, self._known) for text in texts]
        missed = [index for index, ids in enumerate(found) if ids is None]
        if missed:
            for index, ids in zip(missed, self._encode_missed([texts[i] for i in missed]), strict=True):
                found[index] = ids
        return cast(list[Ids], found)

    def _encode_missed(self, texts: Sequence[str]) -> list[Ids]:
        """Returns the ids of texts with words not seen yet; remembers the short ones."""
        words: set[str] = set()
        for text in texts:
            if self._is_plain(text):
                words.update(text.split(" "))
        of_word = {word: ids for word in words if (ids := self._known.get(word)) is not None}
        new = self._encode_words([word for word in words if word not in of_word])
        of_word |= new
        self._remember(new)
        found = [_join(text, of_word) if self._is_plain(text) else None for text in texts]
        rest = [index for index, ids in enumerate(found) if ids is None]
        for index, ids in zip(rest, self._encode_whole([texts[i] for i in rest]), strict=True):
            found[index] = ids
        return cast(list[Ids], found)

    def _encode_words(self, words: Sequence[str]) -> dict[str, Ids]:
        """Returns the ids of each word, except of words the tokenizer cuts into several starts."""
        groups = [words[i : i + _GROUP_WORDS] for i in range(0, len(words), _GROUP_WORDS)]
        of_word: dict[str, Ids] = {}
        for group, joined in zip(groups, self._encode_whole([" ".join(g) for g in groups]), strict=True):
            starts = np.flatnonzero(self._starts_word[np.frombuffer(joined, np.int32)]) * _ID_BYTES
            if len(starts) == len(group):
                bounds = [*starts.tolist(), len(joined)]
                of_word |= {word: joined[bounds[i] : bounds[i + 1]] for i, word in enumerate(group)}
        return of_word

    def _remember(self, new: dict[str, Ids]) -> None:
        short = {word: ids for word, ids in new.items() if 0 < len(word) <= MAX_WORD_CHARS}
        if len(self._known) + len(short) > MAX_WORDS:
            self._known.clear()
        if len(short) <= MAX_WORDS:
            self._known.update(short)

    def _is_plain(self, text: str) -> bool:
        # The ends are checked because a space there makes an empty word, which has no start of its own.
        return text[:1] not in ("", " ") and text[-1] != " " and not any(m in text for m in self._marks)

    def _encode_whole(self, texts: Sequence[str]) -> list[Ids]:
        if not texts:
            return []
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [self.to_ids(encoding.ids) for encoding in encodings]

    def to_ids(self, ids: Sequence[int]) -> Ids:
        """Returns the ids as bytes, unknown ones dropped: static models give them no vector."""
        array = np.array(ids, np.int32)
        return (array if self._unknown_id is None else array[array != self._unknown_id]).tobytes()


def _join(text: str, of_word: dict[str, Ids]) -> Ids | None:
    """Returns the text's ids if all its words are in `of_word`. The hot loop of static embedding."""
    try:
        return b"".join(map(of_word.get, text.split(" ")))  # type: ignore[arg-type]
    except TypeError:  # `get` gave None for an unknown word
        return None


def to_arrays(ids: Sequence[Ids]) -> tuple[NDArray[np.int32], NDArray[np.int32], NDArray[np.int32]]:
    """Returns all ids in one int32 array, the `[n]` lengths and the `[n + 1]` offsets of the texts in it."""
    lengths = np.fromiter(map(len, ids), np.int32, len(ids)) // _ID_BYTES
    offsets = np.zeros(len(ids) + 1, np.int32)
    lengths.cumsum(out=offsets[1:])
    return np.frombuffer(b"".join(ids), np.int32), lengths, offsets
