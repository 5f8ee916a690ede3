"""JSON schemas as llguidance takes them: completed, and refused where no grammar comes of them in time.

Its limits and ours bound the time that any schema takes. Objects are written as Python's json.dumps does,
which models have seen most.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from turbov2.errors import InvalidRequest

MAX_SCHEMA_BYTES = 256 << 10  # of one schema, and of all tools' together
# What follows is unrolled where no limit of llguidance counts: a schema of 40 characters took half a minute.
_MAX_ITEMS = 20_000  # that a schema's lists may be told to have, all together
_MAX_PROPERTIES = 2000  # of one object
_MAX_MULTIPLE = 100_000  # that all `multipleOf` have in common, in units of their last digit
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}
# That llguidance holds a text to. JSON Schema lets any other say nothing of what is valid.
_FORMATS = frozenset(
    ("date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid", "unknown")
)
_NO_SCHEMAS = ("const", "enum", "default", "examples")  # a schema's members that hold values
ANY_OBJECT = {"type": "object"}


def checked_or_any(schema: str, *, is_strict: bool) -> str:
    """Returns the schema of a tool's arguments, or that of any object unless `is_strict`; see `checked`."""
    try:
        return checked(schema, is_lenient=True, is_object=True)
    except InvalidRequest:
        if is_strict:
            raise
        return json.dumps(ANY_OBJECT)


def checked(schema: str, *, is_lenient: bool, is_object: bool = False) -> str:
    """Returns the schema as llguidance is to take it. Raises: InvalidRequest, saying why it does not."""
    if len(schema) > MAX_SCHEMA_BYTES:
        raise unusable(f"it has {len(schema)} characters, and may have {MAX_SCHEMA_BYTES}")
    told, problem = _tried(schema, is_lenient, is_object)
    if problem:
        raise unusable(problem)
    return told


@functools.lru_cache(maxsize=64)
def _tried(schema: str, is_lenient: bool, is_object: bool) -> tuple[str, str]:
    """Returns the schema for llguidance and what is wrong with it. A client sends the same ones each time."""
    try:
        read: Any = json.loads(schema)
        if not isinstance(read, dict):
            return "", "it is no JSON object"
        if problem := _excess_of(read):
            return "", problem
        told = json.dumps(
            _completed(_without_other_formats(read), is_object)
            | {"x-guidance": {**_STYLE, "lenient": is_lenient}}
        )
    except RecursionError:
        return "", "it is nested too deeply"
    except ValueError:
        return "", "it is no JSON"
    return told, _problem_of(f"%llguidance {{}}\nstart: %json {told}\n")


def _excess_of(schema: dict[str, Any]) -> str:
    """Returns what would take too long to make a grammar of, empty if nothing would."""
    n_items, multiples = 0.0, []
    for each in _objects_in(schema):
        n_items += sum(n for n in (each.get("minItems"), each.get("maxItems")) if isinstance(n, int | float))
        properties, multiple = each.get("properties"), each.get("multipleOf")
        if isinstance(properties, dict) and len(properties) > _MAX_PROPERTIES:
            return f"an object has {len(properties)} properties, and may have {_MAX_PROPERTIES}"
        if isinstance(multiple, int | float) and 0 < multiple < math.inf:
            multiples.append(Decimal(str(multiple)).normalize())
    if n_items > _MAX_ITEMS:
        return f"its minItems and maxItems add up to {n_items:.0f}, and may to {_MAX_ITEMS}"
    n_digits = max([0, *(-int(each.as_tuple().exponent) for each in multiples)])
    if math.lcm(*(int(each.scaleb(n_digits)) for each in multiples)) > _MAX_MULTIPLE:
        return f"its multipleOf lead to more than {_MAX_MULTIPLE} steps"
    return ""


def _objects_in(schema: Any) -> Iterator[dict[str, Any]]:
    waiting = [schema]
    while waiting:
        value = waiting.pop()
        if isinstance(value, dict):
            yield value
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value


def _problem_of(grammar: str) -> str:
    """Returns why nothing can be written by a grammar, empty if something can."""
    matcher = LLMatcher(_bytes(), grammar, log_level=0)
    matcher.compute_bitmask()
    if not matcher.is_error():
        return "" if not matcher.is_stopped() else "nothing matches it"
    problem = str(matcher.get_error())
    return problem.partition("compile JSON schema: ")[2].partition("\n   1 |")[0] or "nothing matches it"


@functools.cache
def _bytes() -> LLTokenizer:
    """Returns a vocabulary of single bytes, for which a grammar is as possible as for any other."""
    return LLTokenizer("byte")


def _without_other_formats(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_without_other_formats(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {
        key: value if key in _NO_SCHEMAS else _without_other_formats(value)
        for key, value in schema.items()
        if not (key == "format" and isinstance(value, str) and value not in _FORMATS)
    }


def _completed(schema: dict[str, Any], is_object: bool) -> dict[str, Any]:
    """Returns what is meant where a schema says too little: an object."""
    if not schema or (is_object and "type" not in schema and "properties" in schema):
        return schema | ANY_OBJECT
    return schema


def unusable(why: str) -> InvalidRequest:
    """Returns the error that tells why, in one line."""
    said = " ".join(why.split())[:300]
    return InvalidRequest(f"answers cannot be held to this JSON schema: {said}", param="schema")
