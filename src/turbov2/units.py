"""Durations and sizes as people write them."""

from __future__ import annotations

import math
import re

_SIZE_UNITS = {"": 1, "b": 1, "k": 1000, "kb": 1000, "kib": 1024, "m": 10**6, "mb": 10**6, "mib": 1 << 20}
_SIZE_UNITS |= {"g": 10**9, "gb": 10**9, "gib": 1 << 30}
_DURATION_UNITS_S = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")


def parse_duration_s(text: str) -> float:
    """Returns the seconds of a Go-style duration ("5m", "1h30m", "300ms"); negative means for ever.

    Source of the grammar: Ollama's `keep_alive`. "0" needs no unit; any other bare number is an error.
    """
    body = text.strip()
    is_negative = body.startswith("-")
    body = body[1:] if body[:1] in ("+", "-") else body
    if body == "0":
        return 0.0
    parts = _DURATION_PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ValueError(f"'{text}' is not a duration such as 300ms, 5m or 1h30m")
    seconds = sum(float(number) * _DURATION_UNITS_S[unit] for number, unit in parts)
    return math.inf if is_negative else seconds


def parse_bytes(text: str) -> int:
    """Returns the bytes of "64MiB", "5GB" or "1000"."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([a-zA-Z]*)", text.strip())
    unit = _SIZE_UNITS.get(match[2].lower()) if match else None
    if match is None or unit is None:
        raise ValueError(f"'{text}' is not a size such as 64MiB or 5GB")
    return int(float(match[1]) * unit)
