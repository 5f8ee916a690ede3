"""How an answer is to be written, as all families ask for it: numbers within their ranges, and stop texts."""

from __future__ import annotations

from typing import Any

from turbov2.errors import InvalidRequest

MAX_TOKENS = 131_072  # what "no limit" stands for: the model's context ends an answer long before
_MAX_STOPS, _MAX_STOP_CHARS = 16, 256


def within(value: float | None, name: str, low: float, high: float) -> float | None:
    """Returns the number, None if none was given. Raises: InvalidRequest outside `low` to `high`."""
    if value is None:
        return None
    if not low <= value <= high:
        raise InvalidRequest(
            f"{name} is {value!r:.40}, expected a number from {low:g} to {high:g}", param=name
        )
    return float(value)


def parse_max_tokens(value: int | None, name: str) -> int:
    """Returns the longest answer in tokens, however large a number was sent. Raises: InvalidRequest."""
    if value is None:
        return MAX_TOKENS
    if value < 1:
        raise InvalidRequest(f"{name} is {value}, expected at least 1", param=name)
    return min(value, MAX_TOKENS)


def parse_seed(value: int | None) -> int | None:
    """Returns a seed that every backend takes: 31 bits of whatever was sent."""
    return None if value is None else value & 0x7FFF_FFFF


def parse_stops(value: Any, name: str) -> tuple[str, ...]:
    """Returns the texts that end an answer: one, a list of them, or none. Raises: InvalidRequest."""
    stops = [value] if isinstance(value, str) and value else value or []
    is_list = isinstance(stops, list) and all(isinstance(each, str) for each in stops)
    if not is_list or len(stops) > _MAX_STOPS or any(not 0 < len(each) <= _MAX_STOP_CHARS for each in stops):
        raise InvalidRequest(
            f"{name} is not a text, or up to {_MAX_STOPS} of them, of 1 to {_MAX_STOP_CHARS} characters",
            param=name,
        )
    return tuple(stops)
