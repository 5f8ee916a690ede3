"""Request bodies as typed values, whatever the Content-Type says."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from turbov2.errors import InvalidRequest

T = TypeVar("T")

_LARGE_BYTES = 262_144  # from here on it takes about a millisecond of the loop's time


def parse_json(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Returns the decoded body. Raises: InvalidRequest with what is wrong and where."""
    if not body or body.isspace():
        raise InvalidRequest("missing request body")
    try:
        return decoder.decode(body)
    except msgspec.ValidationError as error:
        raise _named(error) from error
    except RecursionError as error:
        raise InvalidRequest("the JSON body is nested too deeply") from error
    except UnicodeDecodeError as error:
        raise InvalidRequest(f"the body is not valid UTF-8 at byte {error.start}") from error
    except msgspec.DecodeError as error:
        if rb"\ud" in body.lower():
            return _parse_with_surrogates(body, decoder)
        raise InvalidRequest(f"the body is not valid JSON: {error}") from error


async def parse_aside(body: bytes, parse: Callable[[bytes], T]) -> T:
    """Returns `parse(body)`, made in a thread if the body is large. Raises: what `parse` raises."""
    return parse(body) if len(body) < _LARGE_BYTES else await asyncio.to_thread(parse, body)


def _named(error: msgspec.ValidationError) -> InvalidRequest:
    """Returns the error with the field's name in front: "input[1]: Expected `str`, got `int`"."""
    text, _, path = str(error).partition(" - at `$")
    field = path.removesuffix("`").lstrip(".")
    return InvalidRequest(f"{field}: {text}" if field else text, param=field.split("[")[0] or None)


def _parse_with_surrogates(body: bytes, decoder: msgspec.json.Decoder[T]) -> T:
    """Returns the body with each lone surrogate as U+FFFD.

    Text cut between the halves of an emoji arrives like this from JavaScript; Go's JSON, and so Ollama,
    reads it so. The strict decoder refuses it.
    """
    try:
        return msgspec.convert(_replaced(json.loads(body)), decoder.type)
    except msgspec.ValidationError as error:
        raise _named(error) from error
    except (ValueError, RecursionError) as error:
        raise InvalidRequest("the body is not valid JSON") from error


def _replaced(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, list):
        return [_replaced(item) for item in value]
    if isinstance(value, dict):
        return {_replaced(key): _replaced(item) for key, item in value.items()}
    return value
