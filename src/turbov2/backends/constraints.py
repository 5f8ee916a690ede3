"""What an answer may be, as a grammar of llguidance: calls of tools that are demanded, schemas, calls begun.

https://github.com/guidance-ai/llguidance/blob/main/docs/syntax.md
"""

from __future__ import annotations

import json
from collections.abc import Mapping

from turbov2.backends.schemas import ANY_OBJECT, MAX_SCHEMA_BYTES, checked, checked_or_any, unusable
from turbov2.types import GenerateTask, ReplyFormat, Tags, Tool

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
        rules.add("value", f"%json {checked(task.schema, is_lenient=False)}")
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
            raise unusable(f"the schemas of the tools have more than {MAX_SCHEMA_BYTES} characters together")
        return [json.dumps(ANY_OBJECT)] * len(tools)
    return [checked_or_any(tool.parameters, is_strict=is_strict) for tool in tools]


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
