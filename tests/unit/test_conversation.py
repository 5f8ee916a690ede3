"""Turns as requests tell them become turns of one side each, however many there are."""

from __future__ import annotations

import time

import pytest

from turbov2.errors import InvalidRequest
from turbov2.types import ImagePart, PromptMessage, Sampling, TextPart, ToolCallPart
from turbov2.wire._conversation import Conversation
from turbov2.wire._http import Limits

LIMITS = Limits(max_body_bytes=1 << 20, max_texts=1, max_text_chars=1000, max_upload_bytes=1)


def told(conversation: Conversation) -> tuple[PromptMessage, ...]:
    return conversation.request("m", Sampling()).messages


def test_one_side_has_one_turn_with_a_line_for_each_text() -> None:
    conversation = Conversation(LIMITS)
    a, b = conversation.text("a", "t"), conversation.text("b", "t")
    image, other = conversation.image(b"1", "i"), conversation.image(b"2", "i")
    conversation.say("system", [a], "t")
    conversation.say("user", [a, b, image, other], "t")
    conversation.say("user", [], "t")
    conversation.say("user", [b, a], "t")
    conversation.say("assistant", [b], "t")
    assert told(conversation) == (
        PromptMessage("system", (TextPart("a"),)),
        PromptMessage("user", (TextPart("a\nb"), ImagePart(0), ImagePart(1), TextPart("b\na"))),
        PromptMessage("assistant", (TextPart("b"),)),
    )


def test_results_stand_in_the_order_of_their_calls_and_what_they_show_behind_them() -> None:
    conversation = Conversation(LIMITS)
    calls = [conversation.call(call_id, "f", {"n": 1}, "c") for call_id in ("a", "b")]
    conversation.say("assistant", calls, "t")
    conversation.answer("b", [conversation.text("2", "t"), conversation.image(b"1", "i")])
    conversation.answer("x", [])
    conversation.answer("a", [conversation.text("1", "t")])
    conversation.say("user", [conversation.text("go on", "t")], "t")
    assert told(conversation) == (
        PromptMessage("assistant", (ToolCallPart("a", "f", '{"n":1}'), ToolCallPart("b", "f", '{"n":1}'))),
        PromptMessage("tool", (TextPart("1"),), "a", "f"),
        PromptMessage("tool", (TextPart("2"),), "b", "f"),
        PromptMessage("tool", (), "x", ""),
        PromptMessage("user", (TextPart("What f showed:"), ImagePart(0), TextPart("go on"))),
    )


def test_arguments_are_an_object_or_its_text() -> None:
    conversation = Conversation(LIMITS)
    for arguments, text in (({"a": 1}, '{"a":1}'), ('{"a": [1]}', '{"a":[1]}'), ("", "{}"), (None, "{}")):
        assert conversation.call("a", "f", arguments, "c").arguments == text
    for arguments in ("{", "[1]", [1], 1):
        with pytest.raises(InvalidRequest, match="^c is "):
            conversation.call("a", "f", arguments, "c")


def seconds_to_tell(n_turns: int) -> float:
    began_s = time.process_time()
    conversation = Conversation(LIMITS)
    for _ in range(n_turns):
        conversation.say("user", [conversation.text("a" * 100, "t")], "t")
    assert len(told(conversation)[0].parts[0].text) == 101 * n_turns - 1  # type: ignore[union-attr]
    return time.process_time() - began_s


def test_many_turns_of_one_side_take_their_number_in_time() -> None:
    few, many = (min(seconds_to_tell(n) for _ in range(3)) for n in (3_000, 60_000))
    assert many < 80 * few  # each on top of all before would be 400
