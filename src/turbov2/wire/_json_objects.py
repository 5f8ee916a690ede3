"""JSON objects that pass through the wires as text: arguments of calls, schemas."""

from __future__ import annotations

import msgspec

from turbov2.errors import InvalidRequest


def object_text(value: object, name: str) -> str:
    """Returns a JSON object as text. value: the object, its text, or nothing, which is an empty one.

    Raises: InvalidRequest for anything else.
    """
    if value is None or value == "":
        return "{}"
    try:
        found = msgspec.json.decode(value) if isinstance(value, str) else value
        if isinstance(found, dict):
            return msgspec.json.encode(found).decode()
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidRequest(f"{name} is no JSON object", param=name) from error
    raise InvalidRequest(f"{name} is {type(found).__name__}, expected a JSON object", param=name)
