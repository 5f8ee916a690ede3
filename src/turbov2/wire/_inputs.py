"""What the embedding wires do with inputs before the engine sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from turbov2.errors import EmptyInput, InvalidRequest
from turbov2.types.embed import Inputs
from turbov2.wire._http import Limits


def parse_inputs(value: str | list[str | int | list[int]] | None, field: str) -> Inputs:
    """Returns texts, or token id lists. Raises: EmptyInput for none, InvalidRequest for a mixture."""
    if isinstance(value, str):
        return [value]
    if not value:
        raise EmptyInput(f"{field} is empty: expected a text, a list of texts, or token ids", param=field)
    kinds = set(map(type, value))
    if kinds == {int}:
        return [cast("list[int]", value)]
    if kinds == {list} and not all(value):
        raise EmptyInput(f"{field} holds an empty list of token ids", param=field)
    if len(kinds) == 1:
        return cast(Inputs, value)
    raise InvalidRequest(f"{field} mixes texts and token ids: send one kind", param=field)


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
