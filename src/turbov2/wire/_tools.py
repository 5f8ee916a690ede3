"""Tools, and how they may be chosen, as all families tell them."""

from __future__ import annotations

from collections.abc import Sequence

from turbov2.errors import InvalidRequest
from turbov2.types import Tool, ToolChoice
from turbov2.wire._json_objects import object_text

_MAX_TOOLS = 512
_MAX_NAME_CHARS = 256
_ANY_OBJECT = {"type": "object", "properties": {}}


def parse_tool(tool: str | None, description: str | None, parameters: object, name: str) -> Tool:
    """Returns a tool. parameters: its schema; None: it takes any. Raises: InvalidRequest."""
    if not tool or len(tool) > _MAX_NAME_CHARS:
        raise InvalidRequest(
            f"{name}.name is required and has at most {_MAX_NAME_CHARS} characters", param=f"{name}.name"
        )
    return Tool(tool, description or "", object_text(parameters or _ANY_OBJECT, f"{name}'s schema"))


def check_tools(tools: Sequence[Tool], choice: ToolChoice) -> None:
    """Raises: InvalidRequest for too many tools, two of one name, or a choice of one that is not there."""
    if len(tools) > _MAX_TOOLS:
        raise InvalidRequest(f"tools has {len(tools)} tools, the limit is {_MAX_TOOLS}", param="tools")
    names = {tool.name for tool in tools}
    if len(names) < len(tools):
        raise InvalidRequest("tools has two tools of the same name", param="tools")
    if choice.name and choice.name not in names:
        raise InvalidRequest(
            f"tool_choice names the tool '{choice.name[:80]}', which is not among tools", param="tool_choice"
        )
    if choice.kind == "required" and not tools:
        raise InvalidRequest("tool_choice demands a call, and tools is empty", param="tool_choice")
