"""The tools that may be called: only their names make a call of what a model writes."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import msgspec

from turbov2.types import Tool, ToolChoice


class Declared:
    """The tools of one request, as far as its choice allows them."""

    def __init__(self, tools: Sequence[Tool], choice: ToolChoice) -> None:
        allowed = [] if choice.kind == "none" else tools
        self._tools = {tool.name: tool for tool in allowed if choice.name in ("", tool.name)}
        self._by_folded = {name.casefold(): name for name in self._tools}

    def __bool__(self) -> bool:
        return bool(self._tools)

    def name_of(self, written: object) -> str | None:
        """Returns the tool's name, which small models write in other cases; None for none of these."""
        if not isinstance(written, str):
            return None
        return written if written in self._tools else self._by_folded.get(written.strip().casefold())

    def kind_of(self, tool: str, argument: str) -> object:
        """Returns the JSON schema's type of a tool's argument, None where it says nothing."""
        properties = _schema_of(self._tools[tool].parameters).get("properties")
        argument_schema = properties.get(argument) if isinstance(properties, dict) else None
        return argument_schema.get("type") if isinstance(argument_schema, dict) else None


@functools.lru_cache(maxsize=256)
def _schema_of(parameters: str) -> dict[str, Any]:
    try:
        return msgspec.json.decode(parameters, type=dict[str, Any])
    except msgspec.DecodeError:
        return {}
