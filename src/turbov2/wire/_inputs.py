"""Checks on texts that every embedding wire makes before the engine sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from turbov2.errors import InvalidRequest
from turbov2.wire._http import Limits


def check_texts(texts: Sequence[Any], limits: Limits, field: str = "input") -> None:
    """Raises: InvalidRequest naming field, value and limit, for too many texts or too long a one."""
    if len(texts) > limits.max_texts:
        raise InvalidRequest(
            f"{field} has {len(texts)} texts, the limit is {limits.max_texts}; split the request "
            "or raise TURBOV2_MAX_TEXTS",
            param=field,
        )
    longest = max(map(len, texts), default=0)
    if longest > limits.max_text_chars:
        index = next(i for i, text in enumerate(texts) if len(text) == longest)
        raise InvalidRequest(
            f"{field} {index} has {longest} characters, the limit is {limits.max_text_chars}; split the text "
            "or raise TURBOV2_MAX_TEXT_CHARS",
            param=field,
        )
