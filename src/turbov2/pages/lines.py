"""Words as lines: runs of words that stand close together at one height."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from statistics import median
from typing import NamedTuple

from turbov2.types.documents import Box

_WIDE_GAP = 1.0  # in heights of the line: between columns or cells rather than words


class Word(NamedTuple):
    """A word and where it stands."""

    text: str
    left: float
    top: float
    right: float
    bottom: float


@dataclass(frozen=True)
class Line:
    """Words from left to right.

    start: number of the first in the file, whose order is mostly that of reading. is_row: there are wide gaps
    in it, as between the cells of a row. printed: the text where its script puts no spaces between words.
    """

    words: tuple[Word, ...]
    start: int = 0
    is_row: bool = False
    printed: str = ""

    @property
    def text(self) -> str:
        """The words, a space between them unless told otherwise."""
        return self.printed or " ".join(word.text for word in self.words)

    @cached_property
    def box(self) -> Box:
        """Around all words."""
        return around(word[1:] for word in self.words)

    @property
    def left(self) -> float:
        """Its left end."""
        return self.box[0]

    @property
    def top(self) -> float:
        """Of the highest word."""
        return self.box[1]

    @property
    def right(self) -> float:
        """Its right end."""
        return self.box[2]

    @property
    def bottom(self) -> float:
        """Of the lowest word."""
        return self.box[3]

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.box[3] - self.box[1]


def around(boxes: Iterable[Box]) -> Box:
    """Returns the smallest box that holds all; at least one is given."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def lines_of(words: Sequence[Word], numbers: Sequence[int]) -> list[Line]:
    """Returns the lines, in the order of the file, cut where a gap is wide.

    numbers: of each word's line as the file has it, rising.
    """
    lines: list[Line] = []
    start = 0
    for index in range(1, len(words) + 1):
        if index == len(words) or numbers[index] != numbers[start]:
            lines += _cut(words[start:index], start)
            start = index
    return lines


def median_height(lines: Sequence[Line]) -> float:
    """Returns the usual height of a line, long ones counting more; 0 without lines."""
    heights = [line.height for line in lines for _ in line.words]
    return median(heights) if heights else 0.0


def _cut(words: Sequence[Word], index: int) -> list[Line]:
    height = max(word.bottom for word in words) - min(word.top for word in words)
    height = min(
        height, 2 * median(word.bottom - word.top for word in words)
    )  # lines that were glued together
    lines, start = [], 0
    for number in range(1, len(words) + 1):
        if number == len(words) or not _follows(words[number - 1], words[number], height):
            lines.append(Line(tuple(words[start:number]), index + start))
            start = number
    return lines


def _follows(word: Word, other: Word, height: float) -> bool:
    """Returns whether `other` stands behind `word`, at its height and not far off."""
    shared = min(word.bottom, other.bottom) - max(word.top, other.top)
    is_level = shared > 0.2 * min(word.bottom - word.top, other.bottom - other.top)
    return is_level and -0.5 * height <= other.left - word.right <= _WIDE_GAP * height
