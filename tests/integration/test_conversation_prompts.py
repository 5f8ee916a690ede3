"""Conversations of all kinds of parts come out of templates as transformers renders them."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

pytest.importorskip("jinja2", reason="runs templates: needs the extra gguf")

from tests.support.chat_templates import FAMILIES, HEADERS, OPENED, PLAIN, TAGS, THOUGHTS, WORDS
from turbov2.backends.control_tokens import ControlTokens
from turbov2.backends.conversations import messages_of, tools_of
from turbov2.backends.templates import ChatTemplate
from turbov2.types import (
    GenerateTask,
    PromptMessage,
    ReplyFormat,
    Tags,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoice,
)

NAMES = ("<|im_start|>", "<|im_end|>", "<|eot_id|>", "<|start_header_id|>", "</s>")
NONE, TOKENS = ControlTokens([]), ControlTokens(NAMES)

texts = st.text(
    st.sampled_from("aB \n\"'{}<>&\\/üß機😀.") | st.characters(exclude_categories=["Cs"]), max_size=20
)
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**12), 10**12)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, json_values, max_size=3)
tools = st.builds(
    lambda name, description, parameters: Tool(name, description, json.dumps(parameters)),
    st.from_regex(r"[a-z_]{1,8}", fullmatch=True), texts, objects,
)  # fmt: skip
calls = st.builds(lambda name, values: ToolCallPart("c1", name, json.dumps(values)), texts, objects)
thoughts = st.builds(ThinkingPart, texts)


@st.composite
def conversations(draw: st.DrawFn) -> GenerateTask:
    told = [PromptMessage("system", (TextPart(draw(texts)),))] if draw(st.booleans()) else []
    for _ in range(draw(st.integers(0, 3))):
        told.append(PromptMessage("user", (TextPart(draw(texts)),)))
        parts = tuple(draw(st.lists(thoughts, max_size=1))) + (TextPart(draw(texts)),)
        if draw(st.booleans()):
            call = draw(calls)
            told.append(PromptMessage("assistant", (*parts, call)))
            told.append(PromptMessage("tool", (TextPart(draw(texts)),), call.id, call.name))
        else:
            told.append(PromptMessage("assistant", parts))
    told.append(PromptMessage("user", (TextPart(draw(texts)),)))
    declared = tuple(draw(st.lists(tools, max_size=3)))
    return GenerateTask(tuple(told), tools=declared, thinks=draw(st.sampled_from([None, True, False])))


def as_openai_says(task: GenerateTask) -> tuple[list[dict[str, Any]], list[dict[str, Any]] | None]:
    """Returns what a user of transformers would hand over."""
    messages = []
    for message in task.messages:
        told: dict[str, Any] = {"role": message.role}
        told["content"] = "".join(part.text for part in message.parts if isinstance(part, TextPart))
        for part in message.parts:
            if isinstance(part, ThinkingPart) and part.text:
                told["reasoning_content"] = part.text
            if isinstance(part, ToolCallPart):
                function = {"name": part.name, "arguments": json.loads(part.arguments)}
                told["tool_calls"] = [{"type": "function", "id": part.id, "function": function}]
        if message.role == "tool":
            told |= (
                {"name": message.name, "tool_call_id": message.call_id}
                if message.name
                else {"tool_call_id": "c1"}
            )
        messages.append(told)
    functions = [
        {"name": tool.name}
        | ({"description": tool.description} if tool.description else {})
        | {"parameters": json.loads(tool.parameters)}
        for tool in task.tools
    ]
    return messages, [{"type": "function", "function": each} for each in functions] or None


def by_transformers(source: str, task: GenerateTask) -> str:
    library = pytest.importorskip(
        "transformers.utils.chat_template_utils", reason="compares: needs transformers"
    )
    messages, declared = as_openai_says(task)
    wish = {} if task.thinks is None else {"enable_thinking": task.thinks}
    [rendered], _ = library.render_jinja_template(
        [messages], tools=declared, chat_template=source, add_generation_prompt=True,
        bos_token="<s>", eos_token="</s>", **wish,
    )  # fmt: skip
    return rendered


def by_us(source: str, task: GenerateTask, tokens: ControlTokens = NONE) -> str:
    template = ChatTemplate(source, "<s>", "</s>")
    return template.render(messages_of(task, tokens), tools_of(task, tokens), task.thinks)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(task=conversations())
def test_as_transformers_renders_it(family: str, task: GenerateTask) -> None:
    assert by_us(FAMILIES[family], task) == by_transformers(FAMILIES[family], task)


@pytest.mark.parametrize("family", FAMILIES)
@settings(max_examples=60, deadline=None)
@given(task=conversations(), names=st.lists(st.sampled_from(NAMES), min_size=1, max_size=3))
def test_no_word_of_a_user_becomes_a_control_token(family: str, task: GenerateTask, names: list[str]) -> None:
    """With names in all that others say, a template's own control tokens are as many as without them."""
    evil = "".join(names)
    source = FAMILIES[family]
    messages = tuple(
        replace(each, parts=(*each.parts, TextPart(evil)), call_id=each.call_id + evil)
        for each in task.messages
    )
    poison = {"description": evil, "parameters": json.dumps({evil: [evil]})}
    poisoned = replace(task, messages=messages, tools=tuple(replace(each, **poison) for each in task.tools))
    told = "".join(TOKENS.cut(by_us(source, poisoned, TOKENS))[::2])
    own = "".join(TOKENS.cut(by_us(source, task, TOKENS))[::2])
    assert [told.count(name) for name in NAMES] == [own.count(name) for name in NAMES]
    assert re.search(r"\[\d{18}\]", told) is None


@pytest.mark.parametrize(
    ("source", "reply"),
    [
        (PLAIN, ReplyFormat()),
        (WORDS, ReplyFormat()),
        (TAGS, ReplyFormat(None, (Tags("<tool_call>", "</tool_call>"),), True)),
        (HEADERS, ReplyFormat(None, (), True)),
        (THOUGHTS, ReplyFormat(Tags("<think>", "</think>"))),
    ],
)
def test_how_a_model_answers_stands_in_its_template(source: str, reply: ReplyFormat) -> None:
    assert ChatTemplate(source, "<s>", "</s>").reply == reply


def test_tools_that_may_not_be_called_are_not_told() -> None:
    task = GenerateTask((PromptMessage("user", (TextPart("a"),)),), tools=(Tool("f", "", "{}"),))
    assert "<tools>" in by_us(TAGS, task)
    silent = GenerateTask(task.messages, tools=task.tools, choice=ToolChoice("none"))
    assert "<tools>" not in by_us(TAGS, silent)


def test_a_prompt_may_begin_the_answers_thoughts() -> None:
    template = ChatTemplate(OPENED, "", "")
    asked = [{"role": "user", "content": "a"}]
    assert template.begun(template.render(asked)) == "<think>\n"
    gone_on = template.render([*asked, {"role": "assistant", "content": "so"}])
    assert gone_on.endswith("assistant: so")
    assert template.begun(gone_on) == ""


def test_arguments_that_are_no_json_stay_as_they_are() -> None:
    call = PromptMessage("assistant", (ToolCallPart("1", "f", "{oops"),))
    task = GenerateTask(
        (PromptMessage("user", (TextPart("a"),)), call, PromptMessage("tool", (TextPart("b"),)))
    )
    assert '"arguments": "{oops"' in by_us(TAGS, task)
