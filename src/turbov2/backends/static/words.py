"""Token ids of texts, remembered word by word.

Tokenizing is what a static model spends its time on. For a tokenizer that never joins across a space, a
text's ids are its words' ids in order, so each word needs the tokenizer once. `is_separable` proves that
from the tokenizer's own definition; where it cannot, every text goes through the tokenizer whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from turbov2.backends.tokens import ID_BYTES, Ids

SPACE_MARK = "\u2581"  # ▁, which SentencePiece-style tokenizers put for a space
MAX_WORDS = 65_536  # about 15 MB of English words
MAX_WORD_CHARS = 64  # longer ones are rarely seen twice
_GROUP_WORDS = 64  # words tokenized in one text: enough to share the call, few enough to use all cores
# The start or one space, then the word with any further spaces before it.
_SPACED_WORDS = re.compile("(?:^| )( *[^ ]+)")


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
        # Whoever writes these in a word changes how it is cut, so such words are never remembered.
        self._marks = (SPACE_MARK, *_added_tokens(definition))
        vocabulary = tokenizer.get_vocab()
        self.n_ids = max(vocabulary.values(), default=-1) + 1  # ids may have gaps
        self._has_mark_first = np.zeros(self.n_ids, np.bool_)
        self._is_all_marks = np.zeros(self.n_ids, np.bool_)
        for token, token_id in vocabulary.items():
            self._has_mark_first[token_id] = token.startswith(SPACE_MARK)
            self._is_all_marks[token_id] = not token.strip(SPACE_MARK)
        self._known: dict[str, Ids] = {}

    def encode(self, texts: Sequence[str]) -> list[Ids]:
        """Returns each text's ids as int32 bytes, in order."""
        if not self._is_separable:
            return self._encode_whole(texts)
        known = self._known
        found = [_join(text.split(" "), known) for text in texts]
        if None in found:
            self._complete(found, texts)
        return cast(list[Ids], found)

    def forget(self) -> None:
        """Afterwards no word is known, and the memory that known words took is free."""
        self._known.clear()

    def to_ids(self, ids: Sequence[int]) -> Ids:
        """Returns the ids as bytes, unknown ones dropped: static models give them no vector."""
        array = np.array(ids, np.int32)
        return (array if self._unknown_id is None else array[array != self._unknown_id]).tobytes()

    def _complete(self, found: list[Ids | None], texts: Sequence[str]) -> None:
        """Afterwards no ids are missing, and the words that were new are known."""
        words_of = {i: _split(texts[i]) for i, ids in enumerate(found) if ids is None}
        self._learn(set().union(*words_of.values()))
        for index, words in words_of.items():
            found[index] = _join(words, self._known) if words else None
        rest = [index for index, ids in enumerate(found) if ids is None]
        for index, ids in zip(rest, self._encode_whole([texts[i] for i in rest]), strict=True):
            found[index] = ids

    def _learn(self, words: set[str]) -> None:
        new = self._learnable(words.difference(self._known))
        if len(self._known) + len(new) > MAX_WORDS:
            self._known.clear()
            new = self._learnable(words)
        if len(new) <= MAX_WORDS:
            self._known.update(self._encode_words(new))

    def _learnable(self, words: Iterable[str]) -> list[str]:
        """Returns the words that are cut as they are in any text; texts with others go whole."""
        short = [word for word in words if len(word) <= MAX_WORD_CHARS]
        everything = " ".join(short)
        marks = [mark for mark in self._marks if mark in everything]
        return [word for word in short if not any(mark in word for mark in marks)] if marks else short

    def _encode_words(self, words: Sequence[str]) -> dict[str, Ids]:
        """Returns the ids of each word; a group that is not cut where its words begin is left out."""
        groups = [words[i : i + _GROUP_WORDS] for i in range(0, len(words), _GROUP_WORDS)]
        of_word: dict[str, Ids] = {}
        for group, joined in zip(groups, self._encode_whole([" ".join(g) for g in groups]), strict=True):
            bounds = self._word_starts(np.frombuffer(joined, np.int32))
            if len(bounds) == len(group):
                ends = [*bounds[1:], len(joined)]
                of_word |= {word: joined[a:b] for word, a, b in zip(group, bounds, ends, strict=True)}
        return of_word

    def _word_starts(self, ids: NDArray[np.int32]) -> list[int]:
        """Returns the byte offsets of tokens that begin a word: ▁ first, and not behind the word's own ▁s."""
        is_start = self._has_mark_first[ids]
        is_start[1:] &= ~self._is_all_marks[ids[:-1]]
        return (np.flatnonzero(is_start) * ID_BYTES).tolist()

    def _encode_whole(self, texts: Sequence[str]) -> list[Ids]:
        if not texts:
            return []
        encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
        return [self.to_ids(encoding.ids) for encoding in encodings]


def _split(text: str) -> list[str]:
    """Returns the words, each with the spaces before it less one; none if only the whole text will do."""
    if not text or text[-1] == " ":
        return []
    return _SPACED_WORDS.findall(text) if text[0] == " " or "  " in text else text.split(" ")


def _join(words: list[str], known: dict[str, Ids]) -> Ids | None:
    """Returns the ids of the words in a row if all are known. The hot loop of static embedding."""
    try:
        return b"".join(map(known.get, words))  # type: ignore[arg-type]
    except TypeError:  # `get` gave None for an unknown word
        return None
