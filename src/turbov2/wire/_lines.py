"""JSON on one line, whoever splits the lines."""

from __future__ import annotations

import msgspec

# Line breaks to Python's str.splitlines, and so to clients that read lines with httpx; not to JSON.
_BREAKS = {"\u2028": b"\\u2028", "\u2029": b"\\u2029", "\x85": b"\\u0085"}


def on_one_line(encoded: bytes) -> bytes:
    """Returns JSON that holds no character at which a reader would split it; the value is the same."""
    for character, escaped in _BREAKS.items():
        encoded = encoded.replace(character.encode(), escaped)
    return encoded


def json_line(value: object) -> bytes:
    """Returns the value on a line of its own."""
    return on_one_line(msgspec.json.encode(value)) + b"\n"
