"""Control tokens' names in users' words, told apart from those that a chat template writes.

Before the template is run each name in a user's text is put between two marks, random digits; behind it the
prompt is cut there. Two different marks, because templates cut messages, as those do that take an answer's
thoughts out: what lost the other one is no name.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable
from typing import Any

from tokenizers import Tokenizer, models

# Digits, because a template may write a text as JSON, or in capitals.
_OPEN, _CLOSE = (f"[{secrets.randbelow(10**18):018}]" for _ in range(2))
_MARK = re.compile("|".join(map(re.escape, (_OPEN, _CLOSE))))
_MARKED = re.compile(f"{re.escape(_OPEN)}((?:(?!{re.escape(_OPEN)}).)*?){re.escape(_CLOSE)}", flags=re.DOTALL)


class ControlTokens:
    """The names of a vocabulary's control tokens."""

    def __init__(self, names: Iterable[str]) -> None:
        self._names = frozenset(names)
        self._finder = Tokenizer(models.BPE())
        self._finder.add_special_tokens(sorted(self._names))

    def marked(self, text: str) -> str:
        """Returns the text with marks around each name."""
        pieces, at = [], 0
        for start, end in self._finder.encode(text, add_special_tokens=False).offsets:
            pieces += [text[at:start], _OPEN, text[start:end], _CLOSE]
            at = end
        return "".join([*pieces, text[at:]])

    def all_marked(self, value: Any) -> Any:
        """Returns a value of JSON with marks in all its texts."""
        if isinstance(value, str):
            return self.marked(value)
        if isinstance(value, list):
            return [self.all_marked(each) for each in value]
        if isinstance(value, dict):
            return {self.marked(key): self.all_marked(each) for key, each in value.items()}
        return value

    def cut(self, rendered: str) -> list[str]:
        """Returns texts and, between them, the names that a user wrote; what is left of marks is gone."""
        pieces = [""]
        for at, piece in enumerate(_MARKED.split(rendered)):
            if at % 2 and piece in self._names:
                pieces += [piece, ""]
            else:
                pieces[-1] += _MARK.sub("", piece)
        return pieces
