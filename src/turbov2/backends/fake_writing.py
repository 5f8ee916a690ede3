"""What the fake model writes: the prompt's own words, or what the prompt and its options tell it to.

    CALL name {"a": 1}    as a line of what the user said: it calls that tool with these arguments
    SAY words             as a line: it writes these words alone
    THEN                  as a line: what follows it is for the turn after, and so on
    a tool is demanded    and no line tells which: it calls the named or the first one, with no arguments
    a schema              it writes the least JSON of that shape

With `thinks` it thinks before, with `calls_tools` it calls; else it writes words alone.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from turbov2.types import (
    GenerateTask,
    ImagePart,
    ReplyFormat,
    Tags,
    TextPart,
    ThinkingPart,
)

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

THINKING = Tags("<think>", "</think>")
CALLS = Tags("<tool_call>", "</tool_call>")
_CALL_LINE = re.compile(r"^\s*CALL (\S+) (\{.*\})\s*$", re.MULTILINE)
_SAY_LINE = re.compile(r"^\s*SAY (.+)$", re.MULTILINE)
_THEN_LINE = re.compile(r"^\s*THEN\s*$", re.MULTILINE)
_N_LETTERS = 7  # of a piece of what is no word: marks then lie across pieces
_LEAST: dict[str, Any] = {"string": "word", "integer": 1, "number": 0.5, "boolean": True, "null": None}


def reply_format(*, thinks: bool, calls_tools: bool) -> ReplyFormat:
    """Returns how the fake model marks what it writes."""
    return ReplyFormat(THINKING if thinks else None, (CALLS,) if calls_tools else (), calls_tools)


def pieces_of(task: GenerateTask, images: Sequence[Pixels], form: ReplyFormat) -> list[str]:
    """Returns what it writes, a token a piece."""
    said = list(words_of(task, images))
    thought = f"{THINKING.begin}\nI read {len(said)} words.\n{THINKING.end}\n\n"
    pieces = _cut(thought) if form.thinking is not None and task.thinks is not False else []
    calls = list(_calls(task)) if form.calls else []
    if calls:
        return pieces + _cut("I call.\n" + "\n".join(f"{CALLS.begin}\n{call}\n{CALLS.end}" for call in calls))
    if task.schema is not None:
        return pieces + _cut(json.dumps(_least(json.loads(task.schema))))
    words = " ".join(_SAY_LINE.findall(_told(task))).split() or said
    return pieces + [word if not at else f" {word}" for at, word in enumerate(words)]


def words_of(task: GenerateTask, images: Sequence[Pixels]) -> Iterator[str]:
    """Yields the words of the prompt; an image as its size, a call and a result as what they are of."""
    for message in task.messages:
        if message.role == "tool":
            yield f"{message.name}:"
        for part in message.parts:
            if isinstance(part, ImagePart):
                height, width, _ = images[part.index].shape
                yield f"{width}x{height}"
            elif isinstance(part, TextPart):
                yield from part.text.split()
            elif not isinstance(part, ThinkingPart):
                yield f"{part.name}({part.arguments})"


def n_prompt_tokens(task: GenerateTask, images: Sequence[Pixels]) -> int:
    """Returns a token for each word, those that describe tools as well."""
    told = [word for tool in task.tools for word in (tool.name, *tool.description.split())]
    return len(told) + sum(1 for _ in words_of(task, images))


def _calls(task: GenerateTask) -> Iterator[str]:
    if not task.tools or task.choice.kind == "none":
        return
    lines = _CALL_LINE.findall(_told(task))
    for name, arguments in lines:
        yield f'{{"name": "{name}", "arguments": {arguments}}}'
    if not lines and task.choice.kind == "required":
        yield f'{{"name": "{task.choice.name or task.tools[0].name}", "arguments": {{}}}}'


def _told(task: GenerateTask) -> str:
    """Returns what the user said to do in this turn; a result of a tool tells nobody what to do."""
    n_turns = 0
    for message in reversed(task.messages):
        n_turns += message.role == "assistant"
        text = "\n".join(part.text for part in message.parts if isinstance(part, TextPart))
        if message.role == "user" and (_CALL_LINE.search(text) or _SAY_LINE.search(text)):
            return "".join(_THEN_LINE.split(text)[n_turns : n_turns + 1])
    return ""


def _least(schema: dict[str, Any]) -> Any:
    kind = schema.get("type", "object")
    if "enum" in schema:
        return schema["enum"][0]
    if kind == "array":
        return [_least(schema["items"])] if "items" in schema else []
    if kind != "object":
        return _LEAST.get(kind)
    return {name: _least(each) for name, each in schema.get("properties", {}).items()}


def _cut(text: str) -> list[str]:
    return [text[at : at + _N_LETTERS] for at in range(0, len(text), _N_LETTERS)]
