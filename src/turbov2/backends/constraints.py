"""What an answer may be, as a grammar of llguidance: calls of tools that are demanded, schemas, calls begun.

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md. Its limits and ours bound the time that
any schema takes. Objects are written as Python's json.dumps does, which models have seen most.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any

from llguidance import LLMatcher, LLTokenizer

from turbov2.errors import InvalidRequest
from turbov2.types import GenerateTask, ReplyFormat, Tags, Tool

MAX_SCHEMA_BYTES = 256 << 10  # of one schema, and of all tools' together
# What follows is unrolled where no limit of llguidance counts: a schema of 40 characters took half a minute.
_MAX_ITEMS = 20_000  # that a schema's lists may be told to have, all together
_MAX_PROPERTIES = 2000  # of one object
_MAX_MULTIPLE = 100_000  # that all `multipleOf` have in common, in units of their last digit
_STYLE = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": ", "coerce_one_of": True}
_ANY_OBJECT = {"type": "object"}
_HEAD = "%llguidance {}\nTEXT: /(.|\\n)*/\nWS: /[ \\n]{1,4}/\n"


def grammar_of(
    task: GenerateTask, reply: ReplyFormat, begun: str, tokens: Mapping[str, str] | None = None
) -> str | None:
    """Returns the grammar of the task's answer in Lark's syntax, None where it may be any text.

    begun: what the prompt has written of the answer. tokens: marks that
    are tokens for which no text can stand, each with what a grammar calls it.
    Raises: InvalidRequest for a schema that no grammar can be made of.
    """
    tools = _allowed(task)
    if task.schema is None and not tools:
        return None
    rules = _Rules(tokens or {})
    if task.schema is not None:
        rules.add("value", f"%json {_checked(task.schema, is_lenient=False)}")
    if tools:
        demanded = task.choice.kind == "required"
        if not demanded and task.schema is None and not reply.calls:
            return None  # nothing announces a call
        rules.add_calls(tools, reply.calls[0] if reply.calls else None, is_strict=demanded)
        if not demanded and task.schema is None:
            return rules.text_with_calls(reply.calls[0], task.choice.is_parallel)
    return rules.whole(task, reply.thinking, begun, has_calls=bool(tools), may_close=_may_close(reply))


def _allowed(task: GenerateTask) -> list[Tool]:
    """Returns the tools that may be called."""
    if task.choice.kind == "none":
        return []
    return [tool for tool in task.tools if task.choice.name in ("", tool.name)]


def _may_close(reply: ReplyFormat) -> bool:
    """Returns whether one call ends where the next may begin."""
    return not reply.calls or bool(reply.calls[0].end)


class _Rules:
    """The rules of one grammar."""

    def __init__(self, tokens: Mapping[str, str]) -> None:
        self._tokens = tokens
        self._lines: list[str] = []

    def add(self, name: str, body: str) -> None:
        self._lines.append(f"{name}: {body}")

    def add_calls(self, tools: list[Tool], tags: Tags | None, *, is_strict: bool) -> None:
        """Afterwards `call` is a call with its tags, and `called` what stands behind the first of them.

        is_strict: an argument's schema that cannot be held to is an error, and not any object.
        """
        parameters = _parameters_of(tools, is_strict=is_strict)
        for number, (tool, schema) in enumerate(zip(tools, parameters, strict=True)):
            begin = _quoted(f'{{"name": {json.dumps(tool.name, ensure_ascii=False)}, "arguments": ')
            self.add(f"tool_{number}", f'{begin} arguments_{number} "}}"')
            self.add(f"arguments_{number}", f"%json {schema}")
        self.add("object", " | ".join(f"tool_{number}" for number in range(len(tools))))
        end = self._mark(tags.end) if tags is not None and tags.end else ""
        self.add("called", f"WS? object WS? {end}" if end else "object")
        self.add("call", f"{self._mark(tags.begin)} called" if tags is not None else "object")

    def text_with_calls(self, tags: Tags, is_parallel: bool) -> str:
        """Returns the grammar of an answer in words, in which a call that is begun is a valid one."""
        if tags.begin in self._tokens:
            self.add("said_call", f"TEXT? {self._tokens[tags.begin]} called")
        else:
            self._lines.append(f"said[lazy]: TEXT {_quoted(tags.begin)}")
            self.add("said_call", "said called")
        self.add("start", "said_call* TEXT" if is_parallel and tags.end else "said_call | TEXT")
        return self._text()

    def whole(
        self, task: GenerateTask, thinking: Tags | None, begun: str, *, has_calls: bool, may_close: bool
    ) -> str:
        """Returns the grammar of an answer that is calls, or what its schema says, behind its thoughts."""
        ways = ["value"] if task.schema is not None and task.choice.kind != "required" else []
        if has_calls:
            ways.append('call ("\\n" call)*' if task.choice.is_parallel and may_close else "call")
        self.add("answer", " | ".join(ways))
        if thinking is None or (task.thinks is False and not begun):
            self.add("start", "answer")
        else:
            self._add_thoughts(thinking)
            self.add("start", "thoughts WS? answer" if begun else "(opened thoughts WS?)? answer")
            self.add("opened", self._mark(thinking.begin))
        return self._text()

    def _add_thoughts(self, thinking: Tags) -> None:
        if thinking.end in self._tokens:
            self.add("thoughts", f"TEXT? {self._tokens[thinking.end]}")
        else:
            self._lines.append(f"thoughts[lazy]: TEXT {_quoted(thinking.end)}")

    def _mark(self, mark: str) -> str:
        return self._tokens.get(mark) or _quoted(mark)

    def _text(self) -> str:
        return _HEAD + "\n".join(self._lines) + "\n"


def _parameters_of(tools: list[Tool], *, is_strict: bool) -> list[str]:
    if sum(len(tool.parameters) for tool in tools) > MAX_SCHEMA_BYTES:
        if is_strict:
            raise _unusable(f"the schemas of the tools have more than {MAX_SCHEMA_BYTES} characters together")
        return [json.dumps(_ANY_OBJECT)] * len(tools)
    return [_checked_or_any(tool.parameters, is_strict=is_strict) for tool in tools]


def _checked_or_any(schema: str, *, is_strict: bool) -> str:
    try:
        return _checked(schema, is_lenient=True, is_object=True)
    except InvalidRequest:
        if is_strict:
            raise
        return json.dumps(_ANY_OBJECT)


def _checked(schema: str, *, is_lenient: bool, is_object: bool = False) -> str:
    """Returns the schema as llguidance is to take it. Raises: InvalidRequest, saying why it does not."""
    if len(schema) > MAX_SCHEMA_BYTES:
        raise _unusable(f"it has {len(schema)} characters, and may have {MAX_SCHEMA_BYTES}")
    told, problem = _tried(schema, is_lenient, is_object)
    if problem:
        raise _unusable(problem)
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
        told = json.dumps(_completed(read, is_object) | {"x-guidance": {**_STYLE, "lenient": is_lenient}})
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


def _completed(schema: dict[str, Any], is_object: bool) -> dict[str, Any]:
    """Returns what is meant where a schema says too little: an object."""
    if not schema or (is_object and "type" not in schema and "properties" in schema):
        return schema | _ANY_OBJECT
    return schema


def _unusable(why: str) -> InvalidRequest:
    said = " ".join(why.split())[:300]
    return InvalidRequest(f"answers cannot be held to this JSON schema: {said}", param="schema")


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
