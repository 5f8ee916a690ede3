"""JSON as models write it: cut short, with a comma too many, with Python's words or quotes."""

from __future__ import annotations

import json
import re
from typing import Any

_STRICT = json.JSONDecoder(strict=False)  # a line break inside a text is met often
_SPACE = re.compile(r"[\s,;]*")
_WORD = re.compile(r"[^\s,:}\]]+")
_WORDS = {"true": True, "false": False, "null": None, "none": None}
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "b": "\b", "f": "\f"}
_HEX4 = re.compile(r"[0-9a-fA-F]{4}")
_ENDS_A_TEXT = re.compile(r"\s*(?:[,:}\]]|$)")


def read_json(text: str, start: int = 0) -> tuple[Any, int]:
    """Returns the value that begins at `start`, mended if need be, and the index behind it.

    Raises: ValueError where none begins.
    """
    start = _after_space(text, start)
    try:
        value, end = _STRICT.raw_decode(text, start)
    except (ValueError, RecursionError):
        try:
            return _Mender(text).value(start)
        except RecursionError as error:
            raise ValueError("nested too deeply") from error
    return value, end


class _Mender:
    """Reads on where JSON would stop. Each method takes where to begin and returns a value and its end."""

    def __init__(self, text: str) -> None:
        self._text = text

    def value(self, at: int) -> tuple[Any, int]:
        at = _after_space(self._text, at)
        opening = self._text[at : at + 1]
        if opening == "{":
            return self._object(at + 1)
        if opening == "[":
            return self._list(at + 1)
        if opening and opening in "\"'":
            return self._string(at + 1, opening)
        return self._word(at)

    def _object(self, at: int) -> tuple[dict[str, Any], int]:
        members: dict[str, Any] = {}
        while (at := _after_space(self._text, at)) < len(self._text) and self._text[at] not in "}]":
            key, at = self.value(at)
            at = _after_space(self._text, at)
            if self._text[at : at + 1] != ":":
                if at < len(self._text):
                    raise ValueError("a key without its value")
                break  # the text ends with a key
            members[str(key)], at = self.value(at + 1)
        return members, min(at + 1, len(self._text))

    def _list(self, at: int) -> tuple[list[Any], int]:
        items = []
        while (at := _after_space(self._text, at)) < len(self._text) and self._text[at] not in "}]":
            item, at = self.value(at)
            items.append(item)
        return items, min(at + 1, len(self._text))

    def _string(self, at: int, quote: str) -> tuple[str, int]:
        """A quote inside the text that nobody escaped is one behind which no text can end."""
        said: list[str] = []
        while at < len(self._text):
            letter = self._text[at]
            if letter == "\\":
                escaped, at = self._escaped(at + 1)
                said.append(escaped)
                continue
            at += 1
            if letter == quote and _ENDS_A_TEXT.match(self._text, at):
                break
            said.append(letter)
        return "".join(said), at

    def _escaped(self, at: int) -> tuple[str, int]:
        letter = self._text[at : at + 1]
        if letter == "u" and (code := _HEX4.match(self._text, at + 1)):
            return chr(int(code[0], 16)), code.end()
        return _ESCAPES.get(letter, letter), at + 1

    def _word(self, at: int) -> tuple[Any, int]:
        word = _WORD.match(self._text, at)
        if word is None:
            if at >= len(self._text):
                return None, at  # cut before the value
            raise ValueError("no value")
        if word[0].lower() in _WORDS:
            return _WORDS[word[0].lower()], word.end()
        for number in (int, float):
            try:
                return number(word[0]), word.end()
            except ValueError:
                continue
        return word[0], word.end()


def _after_space(text: str, at: int) -> int:
    space = _SPACE.match(text, at)
    return at if space is None else space.end()
