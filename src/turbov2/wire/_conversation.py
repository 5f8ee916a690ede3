"""Turns and images as a request tells them → one canonical request, within the server's limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from turbov2.errors import InvalidRequest
from turbov2.types import (
    ChatRequest,
    ImagePart,
    ImageSource,
    Part,
    PromptMessage,
    Role,
    Sampling,
    TextPart,
)
from turbov2.wire._http import Limits


class Conversation:
    """Grows turn by turn. `name` is always what the request calls a thing, for errors."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turns: list[tuple[Role, list[Part]]] = []
        self._images: list[ImageSource] = []

    @property
    def is_begun(self) -> bool:
        """Whether anybody but the system has spoken."""
        return any(role != "system" for role, _ in self._turns)

    def text(self, text: str, name: str) -> TextPart:
        """Returns the words as part of a turn. Raises: InvalidRequest for too long a text."""
        if len(text) > self._limits.max_text_chars:
            raise InvalidRequest(
                f"{name} has {len(text)} characters, the limit is {self._limits.max_text_chars}; shorten it "
                "or raise TURBOV2_MAX_TEXT_CHARS",
                param=name,
            )
        return TextPart(text)

    def image(self, payload: bytes, name: str, *, has_all_pages: bool = False) -> ImagePart:
        """Returns the file as part of a turn: its first page, or all of them. Raises: InvalidRequest."""
        if not payload:
            raise InvalidRequest(f"{name} is empty: 0 bytes came", param=name)
        self._images.append(ImageSource(payload, None if has_all_pages else 0, name))
        return ImagePart(len(self._images) - 1)

    def say(self, role: Role, parts: Sequence[Part], name: str) -> None:
        """Adds what one side says, if anything; twice in a row is one turn, as most templates want it.

        Raises: InvalidRequest for an image that is not the user's.
        """
        if not parts:
            return
        if role != "user" and any(isinstance(part, ImagePart) for part in parts):
            raise InvalidRequest(
                f"{name} is the {role}'s and holds an image; only a user shows one", param=name
            )
        if not self._turns or self._turns[-1][0] != role:
            self._turns.append((role, []))
        self._turns[-1][1].extend(parts)

    def request(self, model: str, sampling: Sampling, keep_alive_s: float | None = None) -> ChatRequest:
        """Returns what was said as a request. Raises: InvalidRequest when nothing was."""
        if not self._turns:
            raise InvalidRequest("messages is empty: send at least one of role user", param="messages")
        messages = tuple(PromptMessage(role, _joined(parts)) for role, parts in self._turns)
        return ChatRequest(model, messages, tuple(self._images), sampling, keep_alive_s)


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Returns the parts, texts side by side as one with a line each: templates put nothing between them."""
    joined: list[Part] = []
    for _, group in groupby(parts, key=type):
        alike = list(group)
        texts = [part.text for part in alike if isinstance(part, TextPart)]
        joined += [TextPart("\n".join(texts))] if texts else alike
    return tuple(joined)
