"""What speaks against a segment: the known signs that the model wrote what nobody said.

No sign is sure by itself: famous sentences repeat themselves, and of read speech some windows pass for
silence.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from itertools import takewhile

from turbov2.speech.mel import SAMPLE_RATE_HZ
from turbov2.speech.voices import Span
from turbov2.types import Doubt, Segment, TranscribeOptions

_LEAST_VOICE = 0.1  # part of a segment's time
_N_SAME = 2  # segments of the same text before it


def doubts_about(
    segment: Segment, before: Sequence[str], speech: Sequence[Span] | None, options: TranscribeOptions
) -> tuple[Doubt, ...]:
    """Returns the signs that speak against it, by the thresholds that the options name.

    before: the texts of the segments before it, the last one last. speech: where somebody speaks; None: that
    is not known.
    """
    signs: dict[Doubt, bool] = {
        "repetitive": _is_above(segment.compression_ratio, options.compression_ratio_threshold),
        "unlikely": _is_above(-segment.avg_logprob, _negative(options.log_prob_threshold)),
        "no_speech": _is_above(segment.no_speech_prob, options.no_speech_threshold),
        "no_voice": speech is not None and _voiced_part(segment, speech) < _LEAST_VOICE,
        "repeated": _n_same(segment.text, before) >= _N_SAME,
    }
    return tuple(doubt for doubt, is_there in signs.items() if is_there)


def is_made_up(doubts: Collection[Doubt]) -> bool:
    """Returns whether a segment is to be left out: nobody's voice is there, and something else is odd too."""
    return "no_voice" in doubts and len(doubts) > 1


def _is_above(value: float, threshold: float | None) -> bool:
    return threshold is not None and value > threshold


def _negative(threshold: float | None) -> float | None:
    return None if threshold is None else -threshold


def _voiced_part(segment: Segment, speech: Sequence[Span]) -> float:
    start, end = segment.start_s * SAMPLE_RATE_HZ, segment.end_s * SAMPLE_RATE_HZ
    voiced = sum(max(0.0, min(end, span.end) - max(start, span.start)) for span in speech)
    return voiced / max(end - start, 1.0)


def _n_same(text: str, before: Sequence[str]) -> int:
    said = text.strip().casefold()
    return sum(1 for _ in takewhile(lambda other: other.strip().casefold() == said, reversed(before)))
