"""Token ids of texts and pairs against transformers' own tokenizers, at every small limit."""

from __future__ import annotations

import random
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support.tiny_tokenizers import CORPUS, FAMILIES, save_tokenizer
from turbov2.backends.tokenizer import TextTokenizer, longest_first
from turbov2.errors import InvalidRequest, LoadFailed
from turbov2.types import TokenBatch

ODD = [
    "",
    " ",
    "a",
    "  two  spaces \t tab\nline ",
    "[SEP] [CLS] </s> <s> <|endoftext|> <mask>",
    "\u200b\ufeffzero width",
    "naïve cafe\u0301 ﬁ ½ Ⅷ",
    "👩‍👩‍👧 🇫🇷 𝔘𝔫𝔦",
    "機械学習は面白い",
    "▁▁x▁y",
    "x" * 300,
    *CORPUS[:5],
]
LIMITS = [None, *range(3, 21)]


@pytest.fixture(scope="module", params=sorted(FAMILIES))
def both(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[TextTokenizer, Any]:
    transformers = pytest.importorskip("transformers", reason="needs the extra 'sentence'")
    folder = save_tokenizer(request.param, tmp_path_factory.mktemp(request.param))
    reference = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True)
    return TextTokenizer(folder / "tokenizer.json"), reference


def rows_of(batch: TokenBatch) -> list[list[int]]:
    return [row.tolist() for row in np.split(batch.ids, np.cumsum(batch.lengths)[:-1])]


@pytest.mark.parametrize("limit", LIMITS)
def test_texts_have_the_ids_of_transformers(both: tuple[TextTokenizer, Any], limit: int | None) -> None:
    ours, reference = both
    batch = ours.encode(ODD, limit)
    expected = reference(ODD, truncation=limit is not None, max_length=limit)["input_ids"]
    assert rows_of(batch) == expected
    assert batch.lengths.tolist() == [len(ids) for ids in expected]
    assert batch.full_lengths.tolist() == [len(ids) for ids in reference(ODD)["input_ids"]]
    assert batch.second_starts is None


@pytest.mark.parametrize("limit", LIMITS)
def test_pairs_have_the_ids_and_types_of_transformers(
    both: tuple[TextTokenizer, Any], limit: int | None
) -> None:
    ours, reference = both
    n_special = len(reference([""], [""])["input_ids"][0])
    if limit is not None and limit <= n_special:
        limit = n_special + limit  # the library refuses limits that leave no room
    pairs = [(a, b, "") for a in ODD[::2] for b in ODD[1::2]]
    batch = ours.encode(pairs, limit)
    firsts, seconds = [a for a, _, _ in pairs], [b for _, b, _ in pairs]
    expected = reference(
        firsts, seconds, truncation=limit is not None, max_length=limit, return_token_type_ids=True
    )
    assert rows_of(batch) == expected["input_ids"]
    types = expected["token_type_ids"]
    if batch.second_starts is None:
        assert not any(any(row) for row in types)
    else:
        starts = [row.index(1) if 1 in row else len(row) for row in types]
        assert batch.second_starts.tolist() == starts


def test_random_pairs_are_cut_as_the_library_cuts_them(both: tuple[TextTokenizer, Any]) -> None:
    ours, reference = both
    chance = random.Random(7)
    words = " ".join(CORPUS[:5]).split()
    for _ in range(300):
        first, second = (" ".join(chance.choices(words, k=chance.randrange(0, 30))) for _ in range(2))
        limit = chance.randrange(5, 40)
        expected = reference([first], [second], truncation=True, max_length=limit)["input_ids"][0]
        assert ours.encode([(first, second, "")], limit).ids.tolist() == expected


def test_token_ids_get_the_special_tokens_of_texts(both: tuple[TextTokenizer, Any]) -> None:
    ours, _ = both
    plain = ours.encode_plain(ODD)
    for limit in (None, 3, 10):
        assert rows_of(ours.encode(plain, limit)) == rows_of(ours.encode(ODD, limit))


def test_many_threads_get_the_same_ids(both: tuple[TextTokenizer, Any]) -> None:
    ours, _ = both
    limits = LIMITS * 8
    with ThreadPoolExecutor(8) as threads:
        many = list(threads.map(lambda limit: ours.encode(ODD, limit), limits))
    for limit, batch in zip(limits, many, strict=True):
        assert batch.ids.tolist() == ours.encode(ODD, limit).ids.tolist()


def test_special_tokens_stay_even_without_room_for_others(tmp_path: Path) -> None:
    ours = TextTokenizer(save_tokenizer("xlm-roberta", tmp_path) / "tokenizer.json")
    assert ours.encode(["the dog"], 1).ids.tolist() == [0, 2]
    assert ours.encode([("the dog", "the fox", "")], 2).ids.tolist() == [0, 2, 2, 2]


def test_nothing_gives_no_rows(tmp_path: Path) -> None:
    batch = TextTokenizer(save_tokenizer("bert", tmp_path) / "tokenizer.json").encode([], 8)
    assert (batch.ids.size, batch.lengths.size, batch.full_lengths.size) == (0, 0, 0)


def test_a_long_text_is_counted_whole_and_cut(tmp_path: Path) -> None:
    ours = TextTokenizer(save_tokenizer("bert", tmp_path) / "tokenizer.json")
    batch = ours.encode(["dog " * 25_000], 256)
    assert batch.lengths.tolist() == [256]
    assert batch.full_lengths.tolist() == [25_002]
    assert batch.ids[[0, -1]].tolist() == [2, 3]


def test_bad_ids_and_instructions_are_refused(tmp_path: Path) -> None:
    ours = TextTokenizer(save_tokenizer("bert", tmp_path) / "tokenizer.json")
    with pytest.raises(InvalidRequest, match="token id 999999"):
        ours.encode([[5, 999_999]], None)
    with pytest.raises(InvalidRequest, match="instruction"):
        ours.encode([("a", "b", "be strict")], None)


def test_what_is_no_tokenizer_does_not_load(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(LoadFailed, match="tokenizer.json"):
        TextTokenizer(tmp_path / "tokenizer.json")


@pytest.mark.parametrize(
    ("n_first", "n_second", "n_max", "expected"),
    [
        (3, 9, 8, (3, 5)),
        (9, 3, 8, (5, 3)),
        (9, 9, 7, (3, 4)),
        (9, 8, 7, (4, 3)),
        (9, 0, 4, (4, 0)),
        (5, 5, -1, (0, 0)),
    ],
)
def test_the_longer_text_gives_way_first(
    n_first: int, n_second: int, n_max: int, expected: tuple[int, int]
) -> None:
    assert longest_first(n_first, n_second, n_max) == expected
