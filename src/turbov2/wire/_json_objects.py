"""JSON objects that pass through the wires as text: arguments of calls, schemas."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from turbov2.errors import InvalidRequest

_MAX_DEPTH = 256  # templates and marks of control tokens go down level by level


def object_text(value: object, name: str) -> str:
    """Returns a JSON object as text. value: the object, its text, or nothing, which is an empty one.

    Raises: InvalidRequest for anything else.
    """
    if value is None or value == "":
        return "{}"
    try:
        found = msgspec.json.decode(value) if isinstance(value, str) else value
        if isinstance(found, dict):
            _check_depth(found, name)
            return msgspec.json.encode(found).decode()
    except (msgspec.DecodeError, UnicodeEncodeError, RecursionError) as error:
        raise InvalidRequest(f"{name} is no JSON object", param=name) from error
    raise InvalidRequest(f"{name} is {type(found).__name__}, expected a JSON object", param=name)


def _check_depth(value: object, name: str) -> None:
    """Raises: InvalidRequest."""
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [inner for each in level for inner in _within(each)]
        if not level:
            return
    raise InvalidRequest(f"{name} is nested deeper than {_MAX_DEPTH} levels", param=name)


def _within(value: object) -> Iterable[object]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()
