"""Signs that a model wrote what nobody said."""

from __future__ import annotations

import msgspec
import pytest

from turbov2.speech.doubts import doubts_about, is_made_up
from turbov2.speech.voices import Span
from turbov2.types import Doubt, Segment, TranscribeOptions

SAID = Segment(0, 10.0, 14.0, " It was the best of times.", (), 0.0, -0.1, 1.5, 0.01)
SPEECH = [Span(0, 5 * 16_000), Span(11 * 16_000, 30 * 16_000)]
OPTIONS = TranscribeOptions()


@pytest.mark.parametrize(
    ("change", "doubts"),
    [
        ({}, ()),
        ({"compression_ratio": 2.41}, ("repetitive",)),
        ({"avg_logprob": -1.01}, ("unlikely",)),
        ({"no_speech_prob": 0.62}, ("no_speech",)),
        ({"start_s": 5.0, "end_s": 11.1}, ("no_voice",)),
        ({"start_s": 5.0, "end_s": 5.0}, ("no_voice",)),
        ({"text": " Thank you. "}, ("repeated",)),
        ({"start_s": 6.0, "end_s": 9.0, "no_speech_prob": 0.94}, ("no_speech", "no_voice")),
    ],
)
def test_each_sign_is_named(change: dict[str, float | str], doubts: tuple[Doubt, ...]) -> None:
    before = ["It was.", "thank you.", " Thank You."]
    segment = msgspec.structs.replace(SAID, **change)
    assert doubts_about(segment, before, SPEECH, OPTIONS) == doubts


def test_a_text_may_be_said_twice_and_again_after_another() -> None:
    for before in (["No."], ["No.", "No.", "Yes."]):
        segment = msgspec.structs.replace(SAID, text="No.")
        assert doubts_about(segment, before, SPEECH, OPTIONS) == ()


def test_thresholds_are_the_requests() -> None:
    none = TranscribeOptions(
        compression_ratio_threshold=None, log_prob_threshold=None, no_speech_threshold=None
    )
    bad = msgspec.structs.replace(SAID, compression_ratio=20.0, avg_logprob=-3.0, no_speech_prob=1.0)
    assert doubts_about(bad, [], None, none) == ()
    assert doubts_about(bad, [], None, OPTIONS) == ("repetitive", "unlikely", "no_speech")


@pytest.mark.parametrize(
    ("doubts", "is_left_out"),
    [
        ((), False),
        (("no_voice",), False),
        (("repetitive", "no_speech"), False),
        (("no_speech", "no_voice"), True),
        (("no_voice", "repeated"), True),
    ],
)
def test_only_what_no_voice_said_is_left_out(doubts: tuple[Doubt, ...], is_left_out: bool) -> None:
    assert is_made_up(doubts) == is_left_out
