"""Letters of a strip as words: what the recogniser read, and where the ink leaves room for a space. Pure."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from turbov2.backends.rapid_ocr.strips import Gap, trimmed, widest_between

# A gap as wide as this share of the line's typical gap between words is one, though no space was read.
_GAP_SHARE = 0.8
_LEAST_GAP = 0.12  # of the strip's height
_MIN_SPACES = 2  # read in the line, before its typical gap is known


class Letter(NamedTuple):
    """A character, where the middle of it stands in the strip, in pixels, and how sure it is, 0 to 1."""

    text: str
    x: float
    confidence: float


class Word(NamedTuple):
    """Letters between two spaces, and the strip's columns they take, in pixels."""

    letters: tuple[Letter, ...]
    left: float
    right: float

    @property
    def text(self) -> str:
        """Its letters, as they were read."""
        return "".join(letter.text for letter in self.letters)

    @property
    def confidence(self) -> float:
        """Mean of its letters'."""
        return sum(letter.confidence for letter in self.letters) / len(self.letters)


def decoded(
    best: NDArray[np.int64], sureness: NDArray[np.float32], characters: Sequence[str], px_per_column: float
) -> list[Letter]:
    """Returns the letters of `[columns]` best characters: repeats are one, character 0 is none (CTC)."""
    is_new = np.concatenate(([True], best[1:] != best[:-1])) & (best != 0)
    return [
        Letter(characters[best[at]], (float(at) + 0.5) * px_per_column, float(sureness[at]))
        for at in np.flatnonzero(is_new)
    ]


def words_of(letters: Sequence[Letter], gaps: Sequence[Gap], width: float, height: float) -> list[Word]:
    """Returns the words of a strip: parted by spaces that were read, and by gaps as wide as those."""
    visible = [at for at, letter in enumerate(letters) if not letter.text.isspace()]
    if not visible:
        return []
    between = [
        widest_between(gaps, letters[one].x, letters[other].x)
        for one, other in zip(visible, visible[1:], strict=False)
    ]
    was_read = [other - one > 1 for one, other in zip(visible, visible[1:], strict=False)]
    least = _least_gap(between, was_read, height)
    groups, edges = [[letters[visible[0]]]], [0.0]
    for at, gap, is_space in zip(visible[1:], between, was_read, strict=True):
        before, letter = groups[-1][-1], letters[at]
        is_wide = gap is not None and gap.width >= least and not (_is_wide(before) or _is_wide(letter))
        if is_space or is_wide:
            edges.append(gap.middle if gap is not None else (before.x + letter.x) / 2)
            groups.append([])
        groups[-1].append(letter)
    edges.append(width)
    return [
        Word(tuple(group), *trimmed(gaps, left, right))
        for group, left, right in zip(groups, edges, edges[1:], strict=False)
    ]


def _least_gap(between: Sequence[Gap | None], was_read: Sequence[bool], height: float) -> float:
    """Returns how wide a gap has to be to stand for a space; infinite where the line does not tell."""
    known = [gap.width for gap, is_space in zip(between, was_read, strict=True) if is_space and gap is not None]
    if len(known) < _MIN_SPACES:
        return float("inf")
    return max(_GAP_SHARE * float(np.median(known)), _LEAST_GAP * height)


def _is_wide(letter: Letter) -> bool:
    """True for characters of scripts that put no spaces between words, and leave room around each."""
    return unicodedata.east_asian_width(letter.text[0]) in "WF"
