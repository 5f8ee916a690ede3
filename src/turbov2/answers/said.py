"""What was understood of an answer so far, as events; white space around calls and thoughts is none of it."""

from __future__ import annotations

from turbov2.types import AnswerDelta, CallBegun, CallDelta, TextDelta, ThinkingDelta


class Said:
    """Gathers events. White space at a text's end waits until it is known what follows."""

    def __init__(self) -> None:
        self._events: list[AnswerDelta] = []
        self._space = ""
        self._is_fresh = True  # nothing was said since the beginning, a thought or a call
        self._keeps_first_space = True  # as the answer's very first text does

    @property
    def is_at_line_start(self) -> bool:
        """Whether nothing but white space stands before the next character in its line."""
        return self._is_fresh or "\n" in self._space

    @property
    def is_fresh(self) -> bool:
        """Whether nothing but white space was said since the beginning, a thought or a call."""
        return self._is_fresh

    def text(self, text: str, *, is_last: bool = False) -> None:
        """Says the next words. is_last: nothing but text follows, so its end need not wait."""
        text = self._space + text
        kept = text if is_last else text.rstrip()
        self._space = text[len(kept) :]
        if self._is_fresh and not self._keeps_first_space:
            kept = kept.lstrip()
        if kept:
            self._events.append(TextDelta(kept))
            self._is_fresh = False

    def thinking(self, text: str) -> None:
        """Thinks the next words."""
        if text:
            self._events.append(ThinkingDelta(text))

    def call(self, call_id: str, name: str, arguments: str) -> None:
        """Calls a tool."""
        self._events += [CallBegun(call_id, name), CallDelta(arguments)]

    def part(self) -> None:
        """Tells that a thought or a call ended: the white space before and behind it is not said."""
        self._space, self._is_fresh, self._keeps_first_space = "", True, False

    def take(self) -> list[AnswerDelta]:
        """Returns what was not taken yet."""
        events, self._events = self._events, []
        return events
