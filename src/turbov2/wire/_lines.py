"""NDJSON: a JSON value a line."""

from __future__ import annotations

import msgspec

# Line breaks to Python's str.splitlines, and so to clients that read lines with httpx; not to JSON.
_BREAKS = {"\u2028": b"\\u2028", "\u2029": b"\\u2029", "\x85": b"\\u0085"}


def json_line(value: object) -> bytes:
    """Returns the value on a line of its own, whoever splits the lines."""
    line = msgspec.json.encode(value)
    for character, escaped in _BREAKS.items():
        line = line.replace(character.encode(), escaped)
    return line + b"\n"
