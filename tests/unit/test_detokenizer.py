"""Pieces of text add up to the text, wherever characters, spaces and stop texts are cut."""

from __future__ import annotations

import random
from collections.abc import Sequence

import pytest

from turbov2.backends.detokenizer import Detokenizer, StopTexts

TEXT = "Où est 機械学習 🙂🏽? naïve café\n\n- end of it"


def decode_bytes(ids: Sequence[int]) -> str:
    return bytes(ids).decode("utf-8", "replace")


def decode_words(ids: Sequence[int]) -> str:
    """As a tokenizer whose words carry their space in front, which the first of a text loses."""
    return "".join(f" w{token_id}" for token_id in ids)[1:]


def test_a_character_is_told_when_it_is_whole() -> None:
    detokenizer = Detokenizer(decode_bytes)
    pieces = [detokenizer.add(byte) for byte in TEXT.encode()]
    assert "".join(pieces) == TEXT
    assert not any("\ufffd" in piece for piece in pieces)
    assert pieces[:3] == ["O", "", "ù"]
    assert detokenizer.rest() == ""


def test_a_character_that_never_ends_is_told_at_the_end() -> None:
    detokenizer = Detokenizer(decode_bytes)
    assert [detokenizer.add(byte) for byte in "a🙂".encode()[:4]] == ["a", "", "", ""]
    assert detokenizer.rest() == "\ufffd"


def test_spaces_between_tokens_stay() -> None:
    detokenizer = Detokenizer(decode_words)
    assert [detokenizer.add(token_id) for token_id in range(4)] == ["w0", " w1", " w2", " w3"]


def test_tokens_without_text_change_nothing() -> None:
    detokenizer = Detokenizer(lambda ids: decode_bytes([each for each in ids if each < 128]))
    assert [detokenizer.add(each) for each in (200, 97, 201, 202, 98)] == ["", "a", "", "", "b"]


@pytest.mark.parametrize("seed", range(20))
def test_bytes_of_any_kind_add_up(seed: int) -> None:
    chance = random.Random(seed)
    ids = [chance.choice([*TEXT.encode(), chance.randrange(256)]) for _ in range(200)]
    detokenizer = Detokenizer(decode_bytes)
    told = "".join(detokenizer.add(each) for each in ids) + detokenizer.rest()
    assert told == decode_bytes(ids)


@pytest.mark.parametrize(
    ("pieces", "told"),
    [
        (["one ", "STOP two"], ["one ", ""]),
        (["one S", "T", "OP", "x"], ["one ", "", "", ""]),
        (["one S", "TO", "RY"], ["one ", "", "STORY"]),
        (["a", "</", "s>b"], ["a", "", ""]),
        (["S", "S", "TOP"], ["", "S", ""]),
    ],
)
def test_a_stop_text_is_never_told(pieces: list[str], told: list[str]) -> None:
    stops = StopTexts(["STOP", "</s>"])
    assert [stops.add(piece) for piece in pieces] == told
    has_stopped = "STORY" not in told
    assert stops.has_stopped == has_stopped
    assert stops.stopped_by == (("</s>" if pieces[0] == "a" else "STOP") if has_stopped else None)


def test_what_only_looked_like_a_stop_is_told_at_the_end() -> None:
    stops = StopTexts(["STOP", ""])
    assert stops.add("one ST") == "one "
    assert (stops.has_stopped, stops.rest()) == (False, "ST")


@pytest.mark.parametrize("seed", range(20))
def test_however_it_is_cut_the_text_ends_at_the_first_stop(seed: int) -> None:
    chance = random.Random(seed)
    text = "".join(chance.choice("ab") for _ in range(30))
    stops = StopTexts(["abab", "bba"])
    told, rest = "", text
    while rest:
        n = chance.randint(1, 5)
        told, rest = told + stops.add(rest[:n]), rest[n:]
    told += stops.rest()
    firsts = [text.find(stop) for stop in ("abab", "bba") if stop in text]
    assert told == text[: min(firsts, default=len(text))]
