"""Letters of a strip as words: what the recogniser read, and how far the ink of each reaches. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from turbov2.backends.rapid_ocr.strips import Gap, trimmed, widest_between


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


# The alphabet is made for Chinese: these stand in other scripts for marks that it lacks, or has twice.
_WIDE = str.maketrans(
    {code: code - 0xFEE0 for code in range(0xFF01, 0xFF5F)}
    | dict(
        zip(
            map(ord, "\u3000\u3001\u3002\u3008\u3009\u300a\u300b"), " ,.\u27e8\u27e9\u27ea\u27eb", strict=True
        )
    )
)
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")  # Chinese, Japanese, and Korean


def plain_marks(letters: Sequence[Letter]) -> list[Letter]:
    """Returns the letters of a line, marks as wide as Chinese letters as usual ones unless it has such."""
    if any(_UNSPACED.search(letter.text) for letter in letters):
        return list(letters)
    return [letter._replace(text=letter.text.translate(_WIDE)) for letter in letters]


def decoded(
    best: NDArray[np.int64], sureness: NDArray[np.float32], characters: Sequence[str], px_per_column: float
) -> list[Letter]:
    """Returns the letters of `[columns]` best characters: repeats are one, character 0 is none (CTC)."""
    is_new = np.concatenate(([True], best[1:] != best[:-1])) & (best != 0)
    return [
        Letter(characters[best[at]], (float(at) + 0.5) * px_per_column, float(sureness[at]))
        for at in np.flatnonzero(is_new)
    ]


def words_of(letters: Sequence[Letter], gaps: Sequence[Gap], width: float) -> list[Word]:
    """Returns the words of a strip, parted by the spaces that were read, each as wide as its ink."""
    groups: list[list[Letter]] = []
    is_new = True
    for letter in letters:
        if not letter.text.isspace():
            if is_new:
                groups.append([])
            groups[-1].append(letter)
        is_new = letter.text.isspace()
    edges = [0.0, *(_edge(gaps, one[-1].x, other[0].x) for one, other in pairwise(groups)), width]
    return [
        Word(tuple(group), *trimmed(gaps, left, right))
        for group, (left, right) in zip(groups, pairwise(edges), strict=False)
    ]


def _edge(gaps: Sequence[Gap], before: float, after: float) -> float:
    """Returns where one word ends and the next begins, between the middles of two letters."""
    gap = widest_between(gaps, before, after)
    return (before + after) / 2 if gap is None else gap.middle
