"""The tokenizer of a checkpoint that chats: texts that stay texts, and answers whose marks stay in them."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from tokenizers import Tokenizer

from turbov2.types import ReplyFormat

# Makers reserve tokens of this form, and not all of them say that these are special.
_CONTROL_FORM = re.compile(r"<[|\uff5c].*[|\uff5c]>")


class ChatTokenizer:
    """A copy of a tokenizer that nothing changes any more. Thread-safe.

    control_names: of its special tokens, and of others that look like such.
    mark_ids: of the marks that are tokens, in calls and around thoughts.
    """

    def __init__(self, source: Tokenizer, reply: ReplyFormat) -> None:
        """reply: whose marks an answer's text has to hold, also where they are special tokens."""
        self._tokenizer = Tokenizer.from_str(source.to_str())
        self._tokenizer.no_padding()
        self._tokenizer.no_truncation()
        added = self._tokenizer.get_added_tokens_decoder()
        special = {token_id: token.content for token_id, token in added.items() if token.special}
        self.control_names = frozenset(special.values()) | {
            token.content for token in added.values() if _CONTROL_FORM.fullmatch(token.content)
        }
        self._control_ids = {self._tokenizer.token_to_id(name) for name in self.control_names}
        tags = (*([reply.thinking] if reply.thinking else []), *reply.calls)
        marks = {mark for each in tags for mark in (each.begin, each.end)}
        self.mark_ids = {
            token.content: token_id for token_id, token in added.items() if token.content in marks
        }
        self._hidden_ids = frozenset(special).difference(self.mark_ids.values())
        self._plain = Tokenizer.from_str(_without_added(self._tokenizer))

    def encode(self, text: str, *, adds_special: bool = False) -> list[int]:
        """Returns the ids of a text; names of tokens in it are these tokens. adds_special: around it, as
        the tokenizer does for a text by itself.
        """
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=adds_special).ids
        return ids

    def letters(self, name: str) -> list[int]:
        """Returns the ids of a control token's name as a mere text."""
        ids: list[int] = self._plain.encode(name, add_special_tokens=False).ids
        if self._control_ids.isdisjoint(ids):
            return ids
        # Some vocabularies have it as a word as well.
        return [each for char in name for each in self._plain.encode(char, add_special_tokens=False).ids]

    def decode(self, ids: Sequence[int]) -> str:
        """Returns the text of ids, without special tokens that mark nothing."""
        shown = [token_id for token_id in ids if token_id not in self._hidden_ids]
        text: str = self._tokenizer.decode(shown, skip_special_tokens=False)
        return text

    def to_json(self) -> str:
        """Returns the tokenizer as its file has it."""
        text: str = self._tokenizer.to_str()
        return text


def _without_added(tokenizer: Tokenizer) -> str:
    fields: dict[str, Any] = json.loads(tokenizer.to_str())
    return json.dumps(fields | {"added_tokens": [], "post_processor": None})
