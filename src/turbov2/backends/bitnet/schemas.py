"""What an answer has to match, as the one JSON schema that bitnet.cpp's server makes a grammar of."""

from __future__ import annotations

import json
from typing import Any

from turbov2.errors import InvalidRequest
from turbov2.types import GenerateTask, Tool

Schema = dict[str, Any]

_OBJECT: Schema = {"type": "object"}


def schema_of(task: GenerateTask) -> Schema | None:
    """Returns the schema; None where the answer may be any text. Raises: InvalidRequest for what is none.

    Of calls, one is held to: a list of them is more than these models are good for.
    """
    ways: list[Schema] = []
    if task.schema is not None and task.choice.kind != "required":
        ways.append(_read(task.schema))
    if task.choice.kind == "required" or (ways and task.choice.kind != "none"):
        ways += [_call_of(tool) for tool in task.tools if task.choice.name in ("", tool.name)]
    if not ways:
        return None
    return ways[0] if len(ways) == 1 else {"anyOf": ways}


def _call_of(tool: Tool) -> Schema:
    properties = {"name": {"const": tool.name}, "arguments": _read(tool.parameters)}
    return {**_OBJECT, "properties": properties, "required": [*properties], "additionalProperties": False}


def _read(text: str) -> Schema:
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError):
        schema = None
    if not isinstance(schema, dict):
        raise InvalidRequest(
            "answers cannot be held to this JSON schema: it is no JSON object", param="schema"
        )
    return schema or _OBJECT
