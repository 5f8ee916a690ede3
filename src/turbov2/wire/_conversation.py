"""Turns, images and calls as a request tells them → one canonical request, within the server's limits."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby

from msgspec.structs import replace

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
    ToolCallPart,
)
from turbov2.wire._http import Limits
from turbov2.wire._json_objects import object_text


class Conversation:
    """Grows turn by turn. `name` is always what the request calls a thing, for errors."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._turns: list[tuple[PromptMessage, list[Part]]] = []
        self._images: list[ImageSource] = []
        self._calls: dict[str, tuple[int, str]] = {}  # by id: which of all calls it was, and its tool
        self._shown: list[Part] = []  # by results of tools, until the user's next turn

    @property
    def is_begun(self) -> bool:
        """Whether anybody but the system has spoken."""
        return any(turn.role != "system" for turn, _ in self._turns)

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

    def call(self, call_id: str, tool: str, arguments: object, name: str) -> ToolCallPart:
        """Returns a call as part of the assistant's turn. arguments: an object, or one as JSON text.

        Raises: InvalidRequest for other arguments, or no tool.
        """
        if not tool:
            raise InvalidRequest(f"{name} names no tool", param=name)
        self._calls[call_id] = (len(self._calls), tool)
        return ToolCallPart(call_id, tool, object_text(arguments, name))

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
        self._show()
        if not self._turns or self._turns[-1][0].role != role:
            self._turns.append((PromptMessage(role, ()), []))
        self._turns[-1][1].extend(parts)

    def answer(self, call_id: str, parts: Sequence[Part], tool: str = "") -> None:
        """Adds what a call came to. Its images follow as the user's, for in no other turn do models see any.

        tool: its name, where the request tells it; else it is that of the call with this id.
        """
        _, called = self._calls.get(call_id, (0, ""))
        texts: list[Part] = [part for part in parts if isinstance(part, TextPart)]
        if images := [part for part in parts if isinstance(part, ImagePart)]:
            self._shown += [TextPart(f"What {tool or called or 'the tool'} showed:"), *images]
            texts = texts or [TextPart("An image; it follows.")]
        self._turns.append((PromptMessage("tool", (), call_id, tool or called), texts))

    def request(self, model: str, sampling: Sampling, keep_alive_s: float | None = None) -> ChatRequest:
        """Returns what was said as a request. Raises: InvalidRequest when nothing was, or a result is due."""
        self._show()
        if not self._turns:
            raise InvalidRequest("messages is empty: send at least one of role user", param="messages")
        last, parts = self._turns[-1]
        if last.role == "assistant" and any(isinstance(part, ToolCallPart) for part in parts):
            raise InvalidRequest(
                "messages ends with a call of a tool; send what it came to", param="messages"
            )
        messages = tuple(replace(turn, parts=_joined(parts)) for turn, parts in self._in_order())
        return ChatRequest(model, messages, tuple(self._images), sampling, keep_alive_s)

    def _show(self) -> None:
        if self._shown:
            self._turns.append((PromptMessage("user", ()), self._shown))
            self._shown = []

    def _in_order(self) -> list[tuple[PromptMessage, list[Part]]]:
        """Returns the turns, results side by side in their calls' order: templates pair them by place."""
        ordered: list[tuple[PromptMessage, list[Part]]] = []
        for is_results, group in groupby(self._turns, key=lambda turn: turn[0].role == "tool"):
            turns = list(group)
            if is_results:
                turns.sort(key=lambda turn: self._calls.get(turn[0].call_id, (len(self._calls), ""))[0])
            ordered += turns
        return ordered


def _joined(parts: Sequence[Part]) -> tuple[Part, ...]:
    """Returns the parts, texts side by side as one with a line each: templates put nothing between them."""
    joined: list[Part] = []
    for _, group in groupby(parts, key=type):
        alike = list(group)
        texts = [part.text for part in alike if isinstance(part, TextPart)]
        joined += [TextPart("\n".join(texts))] if texts else alike
    return tuple(joined)
