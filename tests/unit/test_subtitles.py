"""Subtitles: what parsers of others read of them, and what a screen can show."""

import datetime
import io
import unicodedata
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from turbov2.speech.subtitles import CueStyle, cues_of, srt_of, vtt_of
from turbov2.types import Segment, Word

STYLE = CueStyle()
LONG = (
    " It was the best of times, it was the worst of times, it was the age of wisdom, it was the age of "
    "foolishness, it was the epoch of belief, it was the epoch of incredulity."
)


def segment(start_s: float, end_s: float, text: str, words: tuple[Word, ...] | None = None) -> Segment:
    return Segment(0, start_s, end_s, text, (), 0.0, -0.2, 1.3, 0.01, words)


def spoken(*words: tuple[str, float, float]) -> Segment:
    said = tuple(Word(text, start_s, end_s, 0.9) for text, start_s, end_s in words)
    return segment(said[0].start_s, said[-1].end_s, "".join(word.text for word in said), said)


def srt(segments, style=STYLE):
    parser = pytest.importorskip("srt", reason="needs the package srt, a reader of subtitles")
    return list(parser.parse("".join(srt_of(cues_of(segments, style))), ignore_errors=False))


def vtt(segments, style=STYLE):
    parser = pytest.importorskip("webvtt", reason="needs the package webvtt-py, a reader of subtitles")
    return list(parser.from_buffer(io.StringIO("".join(vtt_of(cues_of(segments, style))))))


def seconds(time: datetime.timedelta) -> float:
    return time.total_seconds()


def test_a_short_segment_is_one_cue_with_its_times():
    (cue,) = srt([segment(1.25, 3.5, " Hello there.")])
    assert (cue.index, seconds(cue.start), seconds(cue.end), cue.content) == (1, 1.25, 3.5, "Hello there.")
    (caption,) = vtt([segment(3_661.25, 3_663.5, " Hello there.")])
    assert (caption.start, caption.end, caption.text) == ("01:01:01.250", "01:01:03.500", "Hello there.")


def test_nothing_said_is_an_empty_file():
    assert "".join(srt_of(cues_of([], STYLE))) == ""
    assert "".join(vtt_of(cues_of([segment(0, 1, "  ")], STYLE))) == "WEBVTT\n\n"


def test_a_long_segment_is_cut_where_a_clause_ends_and_its_time_shared_out():
    cues = srt([segment(10.0, 20.0, LONG)])
    assert " ".join(" ".join(cue.content.split("\n")) for cue in cues) == LONG.strip()
    assert all(cue.content.endswith((",", ".")) for cue in cues)
    assert seconds(cues[0].start) == 10.0
    assert seconds(cues[-1].end) == pytest.approx(20.0, abs=0.01)
    assert all(left.end == right.start for left, right in pairwise(cues))
    assert [len(line) <= 42 for cue in cues for line in cue.content.split("\n")].count(False) == 0


def test_times_come_from_words_and_a_pause_ends_a_cue():
    said = spoken((" One", 0.5, 0.9), (" two.", 1.0, 2.0), (" Three", 6.0, 6.4), (" four.", 6.5, 7.5))
    cues = srt([said])
    assert [(seconds(cue.start), seconds(cue.end), cue.content) for cue in cues] == [
        (0.5, 2.0, "One two."),
        (6.0, 7.5, "Three four."),
    ]


def test_one_word_a_cue_on_request():
    said = spoken((" One", 0.5, 0.9), (" two", 1.0, 1.0), (" three", 3.0, 3.4))
    cues = srt([said], CueStyle(max_words_per_line=1))
    assert [(seconds(cue.start), seconds(cue.end), cue.content) for cue in cues] == [
        (0.5, 1.0, "One"),  # short ones stay as long as there is room
        (1.0, 1.5, "two"),
        (3.0, 3.5, "three"),
    ]


def test_segments_that_overlap_become_cues_that_do_not():
    cues = srt([segment(0, 5, "a"), segment(4, 6, "b"), segment(4, 4, "c"), segment(3.9, 8, "d")])
    assert [cue.content for cue in cues] == ["a", "b", "c", "d"]
    assert all(left.start < left.end <= right.start for left, right in pairwise(cues))


@pytest.mark.parametrize(("container", "write"), [("srt", srt_of), ("webvtt", vtt_of)])
def test_the_library_beneath_most_players_reads_every_cue(container, write):
    av = pytest.importorskip("av", reason="needs the extra 'audio'")
    said = [
        segment(10.0, 20.0, LONG),
        segment(21.0, 22.0, " 1\n2"),
        segment(3_700.25, 3_703.0, " Добрый вечер. 你好"),
    ]
    cues = list(cues_of(said, STYLE))
    text = "".join(write(cues))
    with av.open(io.BytesIO(text.encode()), format=container) as file:
        read = [packet for packet in file.demux(subtitles=0) if packet.pts is not None]
    assert [bytes(packet).decode() for packet in read] == ["\n".join(cue.lines) for cue in cues]
    times = [(cue.start_ms, cue.end_ms) for cue in cues]
    assert [(packet.pts, packet.pts + packet.duration) for packet in read] == times


def test_text_that_looks_like_syntax_is_shown_as_it_is():
    hostile = " 1\n\n00:00 --> 00:01 <b>&amp;</b>\x00\n\nNOTE x"
    (caption,) = vtt([segment(0, 1, hostile)])
    assert caption.text == "1 00:00 --&gt; 00:01 &lt;b&gt;&amp;amp;&lt;/b&gt; NOTE x"
    (cue,) = srt([segment(0, 1, hostile)])
    assert cue.content == "1 00:00 -> 00:01 <b>&amp;</b> NOTE x"


def test_scripts_without_spaces_are_cut_too():
    text = "我们都知道这件事情非常重要，但是没有人愿意第一个说出来。" * 4
    cues = srt([segment(0, 20, text)])
    assert "".join(cue.content.replace("\n", "") for cue in cues) == text
    assert len(cues) > 1
    assert all(_columns(line) <= 42 for cue in cues for line in cue.content.split("\n"))


def test_a_word_wider_than_a_line_is_cut():
    (cue, *rest) = srt([segment(0, 4, " " + "x" * 100)])
    assert [len(line) for line in "\n".join(c.content for c in (cue, *rest)).split("\n")] == [42, 42, 16]


def _columns(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=120)
times = st.floats(0, 400_000, allow_nan=False)


@given(st.lists(st.tuples(times, times, texts), max_size=6), st.integers(8, 60), st.integers(1, 3))
def test_whatever_is_said_fits_and_follows_in_order(said, width, count):
    segments = [segment(min(a, b), max(a, b), text) for a, b, text in sorted(said, key=lambda each: each[:2])]
    cues = list(cues_of(segments, CueStyle(max_line_width=width, max_line_count=count)))
    for cue in cues:
        assert cue.start_ms < cue.end_ms
        assert 0 < len(cue.lines) <= count
        assert all(line.strip() for line in cue.lines)
    assert all(left.end_ms <= right.start_ms for left, right in pairwise(cues))
    shown = "".join("".join(cue.lines) for cue in cues)
    expected = "".join(char for _, _, text in sorted(said, key=lambda each: each[:2]) for char in text)
    assert "".join(shown.split()) == "".join(c for c in expected if c.isprintable() and not c.isspace())
