"""Ollama's messages → turns of a conversation."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from turbov2.errors import InvalidRequest
from turbov2.types import Part, Role, ThinkingPart
from turbov2.wire._conversation import Conversation
from turbov2.wire._media import unpack_file
from turbov2.wire.ollama.schema import ChatMessage

_ROLES: dict[str, Role] = {"system": "system", "user": "user", "assistant": "assistant", "tool": "tool"}


class Turns:
    """Says messages in a conversation. Calls need no ids here: a result is then of the next of its tool."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation
        # Ids of the calls whose results have not come, in their order: of each tool, and of all under "".
        self._due: defaultdict[str, dict[str, None]] = defaultdict(dict)
        self._tools: dict[str, str] = {}  # by id

    def say(self, message: ChatMessage, name: str) -> None:
        """Adds one message. Raises: InvalidRequest."""
        role = _ROLES.get(message.role.lower())
        if role is None:
            known = ", ".join(_ROLES)
            raise InvalidRequest(
                f"{name}.role is '{message.role[:40]}', expected {known}", param=f"{name}.role"
            )
        parts = images_of(self._conversation, message.images, f"{name}.images")
        if message.content or not message.tool_calls:
            parts.append(self._conversation.text(message.content or "", f"{name}.content"))
        if role == "tool":
            self._answer(message, parts)
            return
        thoughts: list[Part] = [ThinkingPart(message.thinking)] if message.thinking else []
        self._conversation.say(role, [*thoughts, *parts, *self._calls(message, name)], name)

    def _calls(self, message: ChatMessage, name: str) -> list[Part]:
        calls: list[Part] = []
        for index, call in enumerate(message.tool_calls or ()):
            where = f"{name}.tool_calls[{index}]"
            call_id = call.id or where
            part = self._conversation.call(call_id, call.function.name or "", call.function.arguments, where)
            calls.append(part)
            self._tools[call_id] = part.name
            self._due[""][call_id] = self._due[part.name][call_id] = None
        return calls

    def _answer(self, message: ChatMessage, parts: Sequence[Part]) -> None:
        tool = message.tool_name or message.name or ""
        call_id = message.tool_call_id or ""
        if call_id not in self._tools:  # some clients send ids of results, and none of calls
            call_id = next(iter(self._due[tool]), "")
        for name in ("", self._tools.get(call_id, "")):
            self._due[name].pop(call_id, None)
        self._conversation.answer(call_id, parts, tool)


def images_of(conversation: Conversation, images: Sequence[str] | None, name: str) -> list[Part]:
    """Returns the images, which Ollama puts in front of a turn's text. Raises: InvalidRequest."""
    names = [f"{name}[{index}]" for index in range(len(images or ()))]
    return [
        conversation.image(unpack_file(image, each), each)
        for image, each in zip(images or (), names, strict=True)
    ]
