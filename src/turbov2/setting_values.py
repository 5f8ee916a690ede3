"""The kinds of values that settings have: each function here reads one, or makes the reader of one.

All take a text and return its value, or raise ValueError with what is wrong, without the setting's name.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from turbov2.units import parse_duration_s


def parse_bool(text: str) -> bool:
    """Returns whether a word says yes."""
    lowered = text.strip().lower()
    if lowered in ("1", "true", "yes", "on"):
        return True
    if lowered in ("0", "false", "no", "off"):
        return False
    raise ValueError(f"'{text}' is not one of true, false")


def parse_list(text: str) -> tuple[str, ...]:
    """Returns what stands between commas; nothing for the word none."""
    if text.strip().lower() == "none":  # an empty variable means "not set", so emptiness needs a word
        return ()
    return tuple(part.strip() for part in text.split(",") if part.strip())


def parse_aliases(text: str) -> tuple[str, ...]:
    """Returns pairs as they are written, NAME=MODEL."""
    pairs = parse_list(text)
    for pair in pairs:
        name, _, model = (part.strip() for part in pair.partition("="))
        if not name or not model or "*" in name[:-1]:
            raise ValueError(f"'{pair}' is not NAME=MODEL, where a * may end NAME")
    return pairs


def integer(low: int, high: int) -> Callable[[str], int]:
    """Returns the reader of a whole number within bounds."""

    def parse(text: str) -> int:
        value = int(text) if re.fullmatch(r"[+-]?\d+", text.strip()) else None
        if value is None or not low <= value <= high:
            raise ValueError(f"'{text}' is not a whole number from {low} to {high}")
        return value

    return parse


def duration(low_s: float, high_s: float) -> Callable[[str], float]:
    """Returns the reader of a duration within bounds, in seconds."""

    def parse(text: str) -> float:
        value_s = parse_duration_s(text)
        if not low_s <= value_s <= high_s:
            raise ValueError(f"'{text}' is not a duration from {low_s:g} to {high_s:g} seconds")
        return value_s

    return parse


def parse_fraction(text: str) -> float:
    """Returns a number above 0 and up to 1."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0 < value <= 1:
        raise ValueError(f"'{text}' is not a number above 0 and up to 1")
    return value


def parse_patience(text: str) -> float:
    """Returns seconds: as a duration; a bare number means seconds."""
    return duration(0.05, 86_400)(f"{text}s" if re.fullmatch(r"\d+(\.\d+)?", text.strip()) else text)


def parse_url(text: str) -> str:
    """Returns an address of HTTP that holds no secret; empty: none."""
    if text and not re.fullmatch(r"https?://[^\s@?#]+", text):
        raise ValueError("expected http:// or https:// and an address, without a user, a password or a query")
    return text


def parse_device(text: str) -> str:
    """Returns the name of a device."""
    if not re.fullmatch(r"auto|cpu|cuda:\d+", text):
        raise ValueError("expected auto, cpu or a CUDA device such as cuda:0")
    return text


def one_of(*allowed: str) -> Callable[[str], str]:
    """Returns the reader of one of these words."""

    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"'{text}' is not one of {', '.join(allowed)}")
        return text

    return parse


def parse_llm_backend(text: str) -> str:
    """Returns the name of what runs language models."""
    allowed = one_of("huggingface", "vllm_local", "vllm_remote", "remote_openai", "bitnet")
    return str(allowed(text.strip().lower()))


class Secret(str):
    """A text that does not show itself in a log or a debugger's print."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "'***'"


def parse_text(value: str) -> str:
    """Returns the text as it is."""
    return value
