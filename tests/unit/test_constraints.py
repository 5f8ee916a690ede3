"""Grammars of answers, read by the library that reads them inside llama.cpp."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("llguidance", reason="reads grammars: needs the extra gguf")

import llguidance

from turbov2.backends import schemas
from turbov2.backends.constraints import grammar_of
from turbov2.errors import InvalidRequest
from turbov2.types import GenerateTask, PromptMessage, ReplyFormat, Tags, TextPart, Tool, ToolChoice

CALLS = ReplyFormat(None, (Tags("<tool_call>", "</tool_call>"),), True)
THINKER = ReplyFormat(Tags("<think>", "</think>"), CALLS.calls, True)
PARAMETERS = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
TOOLS = (Tool("add", "", json.dumps(PARAMETERS)), Tool('s"ü', "", "{}"))
ADD, ODD = '{"name": "add", "arguments": {"n": 1}}', '{"name": "s\\"ü", "arguments": {}}'


def marked(call: str) -> str:
    return f"<tool_call>\n{call}\n</tool_call>"


def is_taken(text: str, reply: ReplyFormat = CALLS, begun: str = "", **fields: object) -> bool:
    """Returns whether an answer may be this text and end there."""
    task = GenerateTask((PromptMessage("user", (TextPart("a"),)),), **fields)  # type: ignore[arg-type]
    grammar = grammar_of(task, reply, begun)
    assert grammar is not None
    matcher = llguidance.LLMatcher(llguidance.LLTokenizer("byte"), grammar, log_level=0)
    assert not matcher.is_error(), matcher.get_error()
    ids = list(text.encode())
    return matcher.try_consume_tokens(ids) == len(ids) and matcher.is_accepting()


@pytest.mark.parametrize("text", ["", "a <tool> b\n", "<tool_cal", "{", '{"name": "x"}', "ü" * 99])
def test_words_are_free_where_no_call_is_begun(text: str) -> None:
    assert is_taken(text, tools=TOOLS)


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        (marked(ADD), True),
        ("I add. " + marked(ADD) + "\n" + marked(ODD) + " Done.", True),
        (f"<tool_call>{ADD}</tool_call>", True),
        (marked('{"name": "add", "arguments": {"n": "1"}}'), False),
        (marked('{"name": "sub", "arguments": {"n": 1}}'), False),
        (marked('{"name": "add"}'), False),
        ("<tool_call>\nadd(1)", False),
        ("<tool_call>" + ADD, False),
    ],
)
def test_a_call_that_is_begun_is_a_valid_one(text: str, taken: bool) -> None:
    assert is_taken(text, tools=TOOLS) == taken


def test_only_one_call_where_only_one_is_allowed() -> None:
    for kind in ("auto", "required"):
        choice = ToolChoice(kind, is_parallel=False)
        assert is_taken(marked(ADD), tools=TOOLS, choice=choice)
        assert not is_taken(marked(ADD) + "\n" + marked(ADD), tools=TOOLS, choice=choice)
        assert is_taken(marked(ADD) + "\n" + marked(ADD), tools=TOOLS, choice=ToolChoice(kind))


def test_what_is_demanded() -> None:
    required, named = ToolChoice("required"), ToolChoice("required", "add")
    assert not is_taken("words", tools=TOOLS, choice=required)
    assert not is_taken("", tools=TOOLS, choice=required)
    assert is_taken(marked(ODD), tools=TOOLS, choice=required)
    assert not is_taken(marked(ODD), tools=TOOLS, choice=named)
    assert is_taken(marked(ADD), tools=TOOLS, choice=named)
    assert is_taken(ADD, ReplyFormat(), tools=TOOLS, choice=required)


def test_thoughts_come_first() -> None:
    schema = json.dumps({"const": 1})
    assert is_taken("1", schema=schema)
    assert not is_taken("<think>a</think>1", schema=schema)
    assert is_taken("1", THINKER, schema=schema)
    assert is_taken("<think>\n<a></b>\n</think>\n\n1", THINKER, schema=schema)
    assert not is_taken("<think>a</think>1", THINKER, schema=schema, thinks=False)
    assert is_taken("a</think>1", THINKER, "<think>\n", schema=schema)
    assert not is_taken("1", THINKER, "<think>\n", schema=schema)
    assert is_taken("<think>a</think>\n" + marked(ADD), THINKER, tools=TOOLS, choice=ToolChoice("required"))


def test_a_schema_beside_tools() -> None:
    schema = json.dumps({"const": 1})
    assert is_taken("1", tools=TOOLS, schema=schema)
    assert is_taken(marked(ADD), tools=TOOLS, schema=schema)
    assert not is_taken("a", tools=TOOLS, schema=schema)
    assert not is_taken("1", tools=TOOLS, schema=schema, choice=ToolChoice("required"))
    assert not is_taken(marked(ADD), tools=TOOLS, schema=schema, choice=ToolChoice("none"))


@pytest.mark.parametrize("fields", [{}, {"tools": TOOLS, "choice": ToolChoice("none")}])
def test_no_grammar_where_all_is_allowed(fields: dict[str, object]) -> None:
    task = GenerateTask((PromptMessage("user", (TextPart("a"),)),), **fields)  # type: ignore[arg-type]
    assert grammar_of(task, CALLS, "") is None
    calling = GenerateTask(task.messages, tools=TOOLS)
    assert grammar_of(calling, ReplyFormat(), "") is None


LONG = [
    {"multipleOf": 999983},
    {"multipleOf": 99999.83},
    {"allOf": [{"multipleOf": 997}, {"multipleOf": 1009}]},
    {"allOf": [{"multipleOf": 7}, {"multipleOf": 1e-6}]},
    {"type": "array", "minItems": 10**7},
    {"properties": {str(at): {"type": "array", "maxItems": 1000} for at in range(100)}},
    {"properties": {str(at): {} for at in range(7000)}},
]


@pytest.mark.parametrize("schema", LONG, ids=range(len(LONG)))
def test_what_would_take_long_to_read_is_refused_before_it_is_read(
    schema: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schemas, "LLMatcher", None)
    with pytest.raises(InvalidRequest, match="cannot be held to this JSON schema: .* (and may|more than)"):
        is_taken("", schema=json.dumps(schema))


@pytest.mark.parametrize(
    ("schema", "taken", "refused"),
    [
        ({"type": "number", "multipleOf": 0.01}, "1.25", "1.255"),
        ({"type": "integer", "multipleOf": 1000}, "7000", "7001"),
        ({"type": "array", "items": {"type": "integer"}, "maxItems": 2}, "[1, 2]", "[1, 2, 3]"),
    ],
)
def test_what_is_counted_is_held_to(schema: object, taken: str, refused: str) -> None:
    assert is_taken(taken, schema=json.dumps(schema))
    assert not is_taken(refused, schema=json.dumps(schema))
