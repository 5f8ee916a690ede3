"""Answers that another server has understood already, told by the rules of those that we understand."""

from turbov2.answers import AnswerReader, Declared
from turbov2.types import (
    CallBegun,
    CallDelta,
    ReplyFormat,
    TextDelta,
    ThinkingDelta,
    Tool,
    ToolCallPart,
    ToolChoice,
)

WEATHER = Tool("weather", "Tells it.", '{"type":"object","properties":{"town":{"type":"string"}}}')


def tell(*parts, tools=(WEATHER,), choice=ToolChoice()):  # noqa: B008
    reader = AnswerReader(
        ReplyFormat(), Declared(tools, choice), is_parallel=choice.is_parallel, new_id=lambda: "id"
    )
    events = [event for part in parts for event in reader.tell(part)]
    return events + reader.end(is_cut=False), reader.has_called


def test_what_another_server_understood_is_told_by_our_rules():
    called = ToolCallPart("theirs", "Weather", '{"town":"Ulm",}')
    events, has_called = tell(ThinkingDelta("hm"), TextDelta("\n\nI ask. "), called)
    assert events == [
        ThinkingDelta("hm"),
        TextDelta("I ask."),
        CallBegun("id", "weather"),
        CallDelta('{"town":"Ulm"}'),
    ]
    assert has_called


def test_a_tool_that_nobody_declared_is_never_called():
    odd = ToolCallPart("", "rm", '{"path":"x"}')
    for told in (tell(odd), tell(odd, tools=()), tell(odd, choice=ToolChoice("none"))):
        assert told == ([TextDelta('{"path":"x"}')], False)
    broken = ToolCallPart("", "weather", "[1,2]")
    assert tell(broken) == ([TextDelta("[1,2]")], False)


def test_one_call_alone_where_only_one_is_allowed():
    twice = [ToolCallPart("", "weather", "{}")] * 2
    assert sum(isinstance(event, CallBegun) for event in tell(*twice)[0]) == 2
    alone = tell(*twice, choice=ToolChoice(is_parallel=False))[0]
    assert sum(isinstance(event, CallBegun) for event in alone) == 1
