"""Turns as requests tell them become turns of one side each, however many there are."""

from __future__ import annotations

import time

from turbov2.types import ImagePart, PromptMessage, Sampling, TextPart
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
