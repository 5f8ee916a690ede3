"""The static model's vocabulary: which tokens get a row, and what the teacher reads for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, cast

import msgspec
import orjson
from tokenizers import Tokenizer

from turbov2.errors import InvalidRequest, LoadFailed

_UNUSED = re.compile(r"\[unused\d+\]")  # BERT's spare tokens, which no text has
_MAX_WORD_TOKENS = 64


class Vocabulary(msgspec.Struct, frozen=True):
    """One row per token, in the order of the static tokenizer's ids."""

    tokenizer: bytes  # tokenizer.json of the static model
    inputs: tuple[tuple[int, ...], ...]  # ids that the teacher reads for each row, special tokens included


def build_vocabulary(tokenizer: bytes, padding: str | None, words: Sequence[str] = ()) -> Vocabulary:
    """Returns the teacher's tokens without its special ones, then `words` as tokens of their own.

    tokenizer: the teacher's tokenizer.json. padding: its padding token. Unknown and padding token keep
    their rows, though no text reaches them, because Model2Vec weighs tokens by rank and keeps them too.
    words: the ones that are one token already are left out. A word matches only as a whole.
    Raises: LoadFailed, InvalidRequest.
    """
    teacher = _read(tokenizer, "the teacher's tokenizer.json is not a tokenizer this version reads")
    teacher.no_truncation()
    teacher.no_padding()
    definition = orjson.loads(teacher.to_str())  # older files lack fields that this one has
    before, after = _template(teacher)
    kept = _kept_tokens(definition, padding)
    new = _new_words(teacher, words)
    id_of = teacher.get_vocab()
    rows = [(*before, id_of[token], *after) for token in kept]
    rows += new.values()
    return Vocabulary(_static_tokenizer(definition, kept, list(new)), tuple(rows))


def _read(text: bytes, complaint: str) -> Tokenizer:
    try:
        return Tokenizer.from_buffer(text)
    except Exception as error:  # the library raises bare Exception for every malformed file
        raise LoadFailed(complaint) from error


def _template(teacher: Tokenizer) -> tuple[list[int], list[int]]:
    """Returns the ids that the teacher's template puts before and after a text."""
    encoding = teacher.encode("a")
    is_special = encoding.special_tokens_mask
    first = is_special.index(0)
    last = len(is_special) - is_special[::-1].index(0)
    return encoding.ids[:first], encoding.ids[last:]


def _model_tokens(model: dict[str, Any]) -> list[str]:
    """Returns the model's own tokens by id."""
    if isinstance(model["vocab"], list):  # Unigram: (token, score) pairs
        return [token for token, _ in model["vocab"]]
    return sorted(model["vocab"], key=model["vocab"].__getitem__)


def _unknown_token(model: dict[str, Any]) -> str | None:
    if model["type"] == "Unigram":
        return None if model.get("unk_id") is None else cast(str, model["vocab"][model["unk_id"]][0])
    return cast("str | None", model.get("unk_token"))


def _kept_tokens(definition: dict[str, Any], padding: str | None) -> list[str]:
    """Returns the tokens that get rows. Those outside the model's own list come last, as the library does."""
    model = definition["model"]
    own = _model_tokens(model)
    added = [each["content"] for each in sorted(definition["added_tokens"], key=lambda each: each["id"])]
    dropped = set(added) - {padding, _unknown_token(model)}
    tokens = dict.fromkeys([*own, *added])
    return [token for token in tokens if token not in dropped and not _UNUSED.match(token)]


def _new_words(teacher: Tokenizer, words: Sequence[str]) -> dict[str, tuple[int, ...]]:
    """Returns how the teacher reads each word that it cuts into several tokens. Raises: InvalidRequest.

    Of words that it reads alike, such as "Café" and "cafe" for some, the first is taken.
    """
    found: dict[tuple[int, ...], str] = {}
    for word in words:
        encoding = teacher.encode(word)
        if len(encoding) > _MAX_WORD_TOKENS:
            raise InvalidRequest(
                f"the word '{word[:40]}...' of the vocabulary has {len(encoding)} tokens; "
                f"words have {_MAX_WORD_TOKENS} at most"
            )
        if encoding.special_tokens_mask.count(0) > 1:
            found.setdefault(tuple(encoding.ids), word)
    return {word: ids for ids, word in found.items()}


def _static_tokenizer(definition: dict[str, Any], kept: list[str], words: list[str]) -> bytes:
    """Returns the tokenizer.json of these tokens and words, without template, truncation and padding."""
    rank = {token: index for index, token in enumerate([*kept, *words])}
    model = dict(definition["model"])
    if isinstance(model["vocab"], list):
        unknown = _unknown_token(model)
        model["vocab"] = [pair for pair in model["vocab"] if pair[0] in rank]
        model["unk_id"] = None if unknown is None else rank[unknown]
    else:
        model["vocab"] = {token: rank[token] for token in _model_tokens(model) if token in rank}
    added = [
        each | {"id": rank[each["content"]]} for each in definition["added_tokens"] if each["content"] in rank
    ]
    static = definition | {
        "model": model,
        "added_tokens": sorted(added, key=lambda each: each["id"])
        + [_whole_word(word, rank[word]) for word in words],
        "pre_tokenizer": _with_prefix_space(definition["pre_tokenizer"]),
        "post_processor": None,
        "truncation": None,
        "padding": None,
    }
    text = orjson.dumps(static)
    complaint = "the teacher's tokenizer is of a kind whose tokens cannot be renumbered"
    if _read(text, complaint).get_vocab() != rank:
        raise LoadFailed(complaint)
    return text


def _whole_word(word: str, token_id: int) -> dict[str, Any]:
    # lstrip: a space in front belongs to the match, so that it does not become a token of its own.
    shape = {"single_word": True, "lstrip": True, "rstrip": False, "normalized": True, "special": False}
    return {"id": token_id, "content": word, **shape}


def _with_prefix_space(step: Any) -> Any:
    """Returns the step, its byte-level part reading a text's first word like any other, as Model2Vec."""
    if step is None:
        return None
    if step["type"] == "Sequence":
        return step | {"pretokenizers": [_with_prefix_space(each) for each in step["pretokenizers"]]}
    return step | {"add_prefix_space": True} if step["type"] == "ByteLevel" else step
