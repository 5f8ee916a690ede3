"""Token ids as text, bit by bit, and the texts that end an answer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

_INCOMPLETE = "\ufffd"  # what a decoder gives for the first bytes of a character


class Detokenizer:
    """The text of a growing list of ids.

    The pieces together are the text of all ids. What a token adds may depend on the one before, as a space in
    front does, so each piece is the difference of two decodings that begin at the same, earlier token.
    """

    def __init__(self, decode: Callable[[Sequence[int]], str]) -> None:
        self._decode = decode
        self._ids: list[int] = []  # from the token on which the next decoding begins
        self._n_told = 0  # of those, whose text was given out

    def add(self, token_id: int) -> str:
        """Returns the text that is certain now; empty while a character is incomplete."""
        self._ids.append(token_id)
        told, whole = self._decode(self._ids[: self._n_told]), self._decode(self._ids)
        if whole.endswith(_INCOMPLETE) or len(whole) <= len(told):
            return ""
        self._ids = self._ids[self._n_told :]
        self._n_told = len(self._ids)
        return whole[len(told) :]

    def rest(self) -> str:
        """Returns what was held back, at the end: a character that was never completed as U+FFFD."""
        return self._decode(self._ids)[len(self._decode(self._ids[: self._n_told])) :]


class StopTexts:
    """Text up to the first of some stop texts; what may be the beginning of one is held back."""

    def __init__(self, stops: Sequence[str]) -> None:
        self._stops = [stop for stop in stops if stop]
        self._held = ""
        self.stopped_by: str | None = None  # the stop text that was found

    @property
    def has_stopped(self) -> bool:
        """Whether a stop text was found."""
        return self.stopped_by is not None

    def add(self, text: str) -> str:
        """Returns what is certainly in front of any stop text; nothing once one was found."""
        if self.has_stopped:
            return ""
        text = self._held + text
        found = [(at, stop) for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            at, self.stopped_by = min(found, key=lambda each: each[0])
            self._held = ""
            return text[:at]
        n_held = max((_n_begun(text, stop) for stop in self._stops), default=0)
        self._held = text[len(text) - n_held :]
        return text[: len(text) - n_held]

    def rest(self) -> str:
        """Returns what was held back and turned out to be no stop text."""
        held, self._held = self._held, ""
        return held


def _n_begun(text: str, stop: str) -> int:
    """Returns how many characters at the end of the text are the beginning of `stop`."""
    longest = min(len(stop) - 1, len(text))
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
