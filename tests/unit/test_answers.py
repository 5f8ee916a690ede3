"""What a model writes, understood: thoughts, calls in each of their forms, and what is only text."""

from __future__ import annotations

import itertools
import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from turbov2.answers import AnswerReader, Declared
from turbov2.types import (
    AnswerDelta,
    CallBegun,
    CallDelta,
    ReplyFormat,
    Tags,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolChoice,
)

THINK = Tags("<think>", "</think>")
FORM = ReplyFormat(
    thinking=THINK,
    calls=(
        Tags("<tool_call>", "</tool_call>"),
        Tags("<|tool_call_start|>", "<|tool_call_end|>"),
        Tags("[TOOL_CALLS]", ""),
    ),
)
SCHEMA = (
    '{"type":"object","properties":{"n":{"type":"integer"},"on":{"type":"boolean"},"s":{"type":"string"}}}'
)
TOOLS = (Tool("get_weather", "", SCHEMA), Tool("Bash", "", "{}"))
CALL = '{"name": "get_weather", "arguments": {"city": "Kyïv"}}'

Part = tuple[str, ...]


def read(
    *pieces: str,
    form: ReplyFormat = FORM,
    choice: ToolChoice = ToolChoice(),  # noqa: B008
    is_cut: bool = False,
    tools: tuple[Tool, ...] = TOOLS,
) -> list[AnswerDelta]:
    numbers = itertools.count(1)
    reader = AnswerReader(
        form, Declared(tools, choice), is_parallel=choice.is_parallel, new_id=lambda: f"id{next(numbers)}"
    )
    events = [event for piece in pieces for event in reader.read(piece)] + reader.end(is_cut=is_cut)
    assert reader.has_called == any(isinstance(event, CallBegun) for event in events)
    return events


def fold(events: list[AnswerDelta]) -> list[Part]:
    """Returns the parts of an answer, those of one kind side by side as one."""
    parts: list[list[str]] = []
    for event in events:
        match event:
            case CallBegun(call_id, name):
                parts.append(["call", call_id, name, ""])
            case CallDelta(arguments):
                assert parts[-1][0] == "call"
                parts[-1][3] += arguments
            case TextDelta(text) | ThinkingDelta(text):
                assert text
                kind = "text" if isinstance(event, TextDelta) else "thought"
                if not parts or parts[-1][0] != kind:
                    parts.append([kind, ""])
                parts[-1][1] += text
    return [tuple(part) for part in parts]


def said(*pieces: str, **options: Any) -> list[Part]:
    return fold(read(*pieces, **options))


def call(name: str = "get_weather", number: int = 1, **arguments: Any) -> Part:
    return ("call", f"id{number}", name, json.dumps(arguments, ensure_ascii=False, separators=(",", ":")))


KYIV = call(city="Kyïv")
FORMS = {
    "marked": (f"<tool_call>\n{CALL}\n</tool_call>", [KYIV]),
    "with words before": (f"Let me see.\n\n<tool_call>{CALL}</tool_call>\n", [("text", "Let me see."), KYIV]),
    "unclosed": (f"<tool_call>\n{CALL}", [KYIV]),
    "closed by the next": (
        f"<tool_call>\n{CALL}\n<tool_call>{CALL}</tool_call>",
        [KYIV, call(number=2, city="Kyïv")],
    ),
    "a bracket too many": (f"<tool_call>\n{CALL}}}\n</tool_call>after", [KYIV, ("text", "after")]),
    "two in one": (f"<tool_call>{CALL}\n{CALL}</tool_call>", [KYIV, call(number=2, city="Kyïv")]),
    "a list": (f"<tool_call>[{CALL}, {CALL}]</tool_call>", [KYIV, call(number=2, city="Kyïv")]),
    "tools": (f"<tools>\n{CALL}\n</tools>", [KYIV]),
    "fenced": (f"Sure:\n```json\n{CALL}\n```\n", [("text", "Sure:"), KYIV]),
    "fenced without its kind": (f"```\n{CALL}\n```", [KYIV]),
    "fenced and unclosed": (f"```json\n{CALL}", [KYIV]),
    "fenced and marked": (f"```xml\n<tool_call>\n{CALL}\n</tool_call>\n```", [KYIV]),
    "bare": (CALL, [KYIV]),
    "bare after words": (f"I call it:\n  {CALL}", [("text", "I call it:"), KYIV]),
    "bare, one after the other": (f"{CALL}\n{CALL}", [KYIV, call(number=2, city="Kyïv")]),
    "bare list": (f"[{CALL}]", [KYIV]),
    "parameters": ('{"name": "Bash", "parameters": {"command": "ls"}}', [call("Bash", command="ls")]),
    "arguments as text": (
        '<tool_call>{"name": "Bash", "arguments": "{\\"command\\": \\"ls\\"}"}</tool_call>',
        [call("Bash", command="ls")],
    ),
    "as OpenAI's": (
        '{"type": "function", "function": {"name": "Bash", "arguments": {"a": 1}}}',
        [call("Bash", a=1)],
    ),
    "no arguments": ('<tool_call>{"name": "Bash"}</tool_call>', [call("Bash")]),
    "arguments beside the name": ('<tool_call>{"name": "Bash", "a": 1}</tool_call>', [call("Bash", a=1)]),
    "a name in another case": ('<tool_call>{"name": "bash", "arguments": {}}</tool_call>', [call("Bash")]),
    "an end mark in a text": (
        '<tool_call>{"name": "Bash", "arguments": {"a": "</tool_call>"}}</tool_call>',
        [call("Bash", a="</tool_call>")],
    ),
    "a real line break in a text": (
        '<tool_call>{"name": "Bash", "arguments": {"a": "x\ny"}}</tool_call>',
        [call("Bash", a="x\ny")],
    ),
    "Python's words and quotes": (
        "<tool_call>{'name': 'Bash', 'arguments': {'a': True, 'b': None,}}</tool_call>",
        [call("Bash", a=True, b=None)],
    ),
    "a quote that nobody escaped": (
        '<tool_call>{"name": "Bash", "arguments": {"a": "say "hi" to"}}</tool_call>',
        [call("Bash", a='say "hi" to')],
    ),
    "cut before its end": (
        '<tool_call>{"name": "Bash", "arguments": {"a": [1, "b',
        [call("Bash", a=[1, "b"])],
    ),
    "Python": (
        '<|tool_call_start|>[get_weather(city="Kyïv", n=2, on=true)]<|tool_call_end|>Done',
        [call(city="Kyïv", n=2, on=True), ("text", "Done")],
    ),
    "XML": (
        "<tool_call>\n<function=get_weather>\n<parameter=n>\n3\n</parameter>\n<parameter=s>\n4\n</parameter>"
        "\n<parameter=on>\nTrue\n</parameter>\n<parameter=x>\n[1]\n</parameter>\n</function>\n</tool_call>",
        [call(n=3, s="4", on=True, x="[1]")],
    ),
    "Mistral's": (f"[TOOL_CALLS][{CALL}]", [KYIV]),
    "a thought before it": (
        f"<think>\nHm, {{.\n</think>\n\nI look.\n<tool_call>{CALL}</tool_call>",
        [("thought", "Hm, {."), ("text", "I look."), KYIV],
    ),
    "a thought without end": ("<think>a <tool_call>", [("thought", "a <tool_call>")]),
    "an empty thought": ("<think>\n\n</think>\n\nYes", [("text", "Yes")]),
    "an end too many": (f"<tool_call>{CALL}</tool_call></tool_call> So", [KYIV, ("text", "So")]),
    "a mark too many": (f"<tool_call>\n<tool_call>{CALL}", [("text", "<tool_call>"), KYIV]),
    "half an emoji": (
        '<tool_call>{"name": "Bash", "arguments": {"a": "\\ud83d"}}</tool_call>',
        [call("Bash", a="\ufffd")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("raw", "parts"), FORMS.values(), ids=FORMS)
def test_forms_of_calls(raw: str, parts: list[Part]) -> None:
    assert said(raw) == parts
    assert said(*raw) == parts  # letter by letter


TEXTS = (
    "",
    "  Two\n\nlines, and space at both ends \n ",
    "a < b <tool and `code` and {braces}",
    '{"answer": 42}',
    '{"name": "Ann", "age": 3}',
    '{"name": "Bash", "age": 3}',
    '{"steps": [\n{"name": "Bash", "arguments": {}}\n]}',
    "[1, 2]\n[\n",
    "```python\nprint({})\n```\nand ```inline``` too\n```inline```",
    '```json\n{"name": "Ann", "arguments": {}}\n```',
    "```xml\n<a>\n<tool_call>\n</a>\n```",
    "a\n```\nno end",
    '```json\n{"name": ',
    "<think> comes later",
    "so <think>not at the beginning</think>",
    "Models write <tool_call> and </tool_call> around a call.",
    "`<tools>` lists them; `</tools>` ends that.",
    "Between <tool_call>name and arguments</tool_call>, as JSON.",
    "</tool_call>",
)


@pytest.mark.parametrize("text", TEXTS)
def test_text_that_is_only_text_stays_as_it_is(text: str) -> None:
    cut = text.startswith('```json\n{"name": ')
    text = text.removeprefix("<think> comes")
    assert said(text, is_cut=cut) == ([("text", text)] if text else [])
    assert said(*text, is_cut=cut) == ([("text", text)] if text else [])


def test_without_tools_nothing_is_held_back_and_marks_are_text() -> None:
    text = f"<tool_call>{CALL}</tool_call> "
    assert read("a <", " ", form=ReplyFormat(), tools=()) == [TextDelta("a <"), TextDelta(" ")]
    assert said(text, tools=()) == [("text", text)]
    assert said(text, choice=ToolChoice("none")) == [("text", text)]


def test_text_comes_as_soon_as_it_can_be_no_mark() -> None:
    reader = AnswerReader(FORM, Declared(TOOLS, ToolChoice()), is_parallel=True, new_id=str)
    assert reader.read("<tool_call> ma") == []
    assert reader.read("rks a") == [TextDelta("<tool_call>"), TextDelta(" marks a")]
    assert reader.read("Hello <too") == [TextDelta("Hello")]
    assert reader.read("th") == [TextDelta(" <tooth")]


def test_what_nobody_declared_is_text_without_its_marks() -> None:
    raw = '<tool_call>{"name": "rm", "arguments": {}}</tool_call>'
    assert said(raw) == [("text", '{"name": "rm", "arguments": {}}')]
    assert said(f"<tool_call>{CALL}</tool_call>", choice=ToolChoice("required", "Bash")) == [("text", CALL)]
    assert said("Nothing: <tool_call></tool_call>") == [("text", "Nothing: ")]


def test_one_call_where_only_one_is_allowed() -> None:
    raw = f"<tool_call>{CALL}\n{CALL}</tool_call><tool_call>{CALL}</tool_call>"
    assert said(raw, choice=ToolChoice(is_parallel=False)) == [KYIV]


def test_an_answer_that_met_its_limit_makes_no_call_of_what_is_unfinished() -> None:
    begun = '{"name": "Bash", "arguments": {"command": "rm -rf /tmp'
    assert said(f"<tool_call>{begun}", is_cut=True) == [("text", begun)]
    assert said(f"<tool_call>{CALL}\n{begun}", is_cut=True) == [KYIV, ("text", begun)]
    assert said(begun, is_cut=True) == [("text", begun)]
    assert said(f"<tool_call>{CALL}", is_cut=True) == [KYIV]


MARKS = [
    mark for tags in (*FORM.calls, THINK, Tags("<tools>", "</tools>")) for mark in (tags.begin, tags.end)
]
PIECES = st.sampled_from(
    [
        CALL,
        '{"name": "Bash", "arguments": {"a": "</tool_call>"}}',
        '{"name": "rm", "arguments": {}}',
        '{"name": "Ba',
        '{"a": [1]}',
        "[Bash(a=1)]",
        "Hello, world. ",
        "```json\n",
        "\n```\n",
        *MARKS,
        *("<function=Bash>", "</function>", "<tool_", "<", "```", "`", "{", "}", "[", "]"),
        *('"', "\\", "a", "é🙂", ",", ";"),
        *("\n", "  ", " "),
    ]
)
RAW = st.lists(PIECES, max_size=14).map("".join)


@settings(max_examples=500, deadline=None)
@given(RAW, st.data(), st.booleans())
def test_any_cut_into_pieces_adds_up_to_the_same(raw: str, data: st.DataObject, is_cut: bool) -> None:
    cuts = sorted(data.draw(st.sets(st.integers(0, len(raw)), max_size=8)))
    pieces = [raw[a:b] for a, b in itertools.pairwise([0, *cuts, len(raw)])]
    whole = said(raw, is_cut=is_cut)
    assert said(*pieces, is_cut=is_cut) == whole
    assert said(*raw, is_cut=is_cut) == whole
    for part in whole:
        if part[0] == "call":
            assert part[2] in ("get_weather", "Bash")
            assert isinstance(json.loads(part[3]), dict)


WORDS = st.text(st.characters(codec="utf-8", exclude_characters="<[{`"), max_size=60)


@settings(max_examples=300, deadline=None)
@given(
    WORDS,
    st.lists(
        st.tuples(st.dictionaries(st.text(max_size=5), st.text(max_size=9), max_size=3), WORDS), max_size=3
    ),
)
def test_nothing_is_lost_and_no_mark_is_told(first: str, calls: list[tuple[dict[str, str], str]]) -> None:
    raw = first
    for arguments, words in calls:
        body = json.dumps({"name": "Bash", "arguments": arguments}, ensure_ascii=False)
        raw += f"<tool_call>{body}</tool_call>{words}"
    parts = said(raw)
    told = [json.loads(part[3]) for part in parts if part[0] == "call"]
    assert told == [arguments for arguments, _ in calls]
    text = "".join(part[1] for part in parts if part[0] == "text")
    assert "".join(text.split()) == "".join("".join([first, *(words for _, words in calls)]).split())
    if not calls:
        assert text == first


N_CHARS = 100_000
WRITE = '{"name": "Bash", "arguments": {"s": "'


@pytest.mark.parametrize(
    "raw",
    [
        "<tool_call>" + " " * N_CHARS,
        "{" + " " * N_CHARS,
        '{"' + "x" * N_CHARS,
        '{"name": "' + "x" * N_CHARS,
        "```json\n" + WRITE + "x\n" * (N_CHARS // 2),
        "<tool_call>" + "<function=" * (N_CHARS // 10),
        "<tool_call><function=Bash>" + "<parameter=" * (N_CHARS // 11),
        "```\n" * (N_CHARS // 4),
        "\\" * N_CHARS,
        "<tool_call>" * (N_CHARS // 11),
        "{" * N_CHARS,
        WRITE + '"' * N_CHARS,
    ],
    ids=lambda raw: repr(raw[:24]),
)
def test_hostile_text_takes_no_more_time_than_it_is_long(raw: str) -> None:
    pieces = [raw[at : at + 16] for at in range(0, len(raw), 16)]
    began_s = time.process_time()
    read(*pieces)
    read(raw)
    assert time.process_time() - began_s < 10  # it was minutes
