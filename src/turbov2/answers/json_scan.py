"""Where a JSON value ends in text that is still being written."""

from __future__ import annotations

import re

_IN_STRING = re.compile(r'["\\]')
_BESIDE_STRINGS = re.compile(r'["{}\[\]]')


class JsonScan:
    """Follows one object or list through a text that grows at its end. No character is looked at twice."""

    def __init__(self, start: int = 0) -> None:
        """start: where its opening bracket is, or white space before that."""
        self._at = start
        self._depth = 0
        self._is_in_string = False

    def end_in(self, text: str) -> int | None:
        """Returns the index behind the value's last bracket; None: not yet."""
        while True:
            found = (_IN_STRING if self._is_in_string else _BESIDE_STRINGS).search(text, self._at)
            if found is None:
                self._at = max(self._at, len(text))
                return None
            self._at = found.end()
            if found[0] == "\\":
                self._at += 1  # what it escapes, which may not have come yet
            elif found[0] == '"':
                self._is_in_string = not self._is_in_string
            else:
                self._depth += 1 if found[0] in "{[" else -1
                if self._depth <= 0:
                    return self._at

    def drop(self, n_chars: int) -> None:
        """Tells that so many characters were taken off the text's beginning."""
        self._at -= n_chars
