"""Lines as the layout sees them: laid level, and cut where cells or columns stand side by side."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from statistics import median
from typing import NamedTuple

from turbov2.types import TextLine, TextWord
from turbov2.types.documents import Box
from turbov2.types.images import Quad

# In heights of the line.
_WIDE_GAP = 1.0  # between columns or cells, or between words of a line that was spread to fill its column
_CELL_GAP = 2.0  # hardly ever between words


class Line(NamedTuple):
    """A line, or a part of one, and where it stands once the page is upright and level.

    place: its number in the order in which the lines were given.
    """

    printed: TextLine
    left: float
    top: float
    right: float
    bottom: float
    place: int = 0

    @property
    def text(self) -> str:
        """As it was printed."""
        return self.printed.text

    @property
    def words(self) -> list[str]:
        """Between spaces."""
        return self.printed.text.split()

    @property
    def width(self) -> float:
        """From left to right."""
        return self.right - self.left

    @property
    def height(self) -> float:
        """From top to bottom."""
        return self.bottom - self.top


class Row(NamedTuple):
    """Lines side by side, left to right; at least one."""

    lines: tuple[Line, ...]

    @property
    def text(self) -> str:
        """The lines' texts with a space between them."""
        return " ".join(line.text for line in self.lines)

    @property
    def printed(self) -> tuple[TextLine, ...]:
        """The lines as they were given: parts of one are that one again."""
        same = groupby(self.lines, key=lambda line: line.place)
        return tuple(_whole([line.printed for line in parts]) for _, parts in same)

    @property
    def has_cells(self) -> bool:
        """True where something stands apart from the rest."""
        gaps = (other.left - one.right for one, other in pairwise(self.lines))
        return any(gap > _CELL_GAP * self.height for gap in gaps)

    @property
    def left(self) -> float:
        """Of its first line."""
        return self.lines[0].left

    @property
    def right(self) -> float:
        """Of the line that reaches furthest."""
        return max(line.right for line in self.lines)

    @property
    def bottom(self) -> float:
        """Of a typical line of it."""
        return median(line.bottom for line in self.lines)

    @property
    def height(self) -> float:
        """Of a typical line of it."""
        return median(line.height for line in self.lines)


def around(boxes: Iterable[Box]) -> Box:
    """Returns the smallest box that holds all; at least one is given."""
    lefts, tops, rights, bottoms = zip(*boxes, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def bounds_of(line: TextLine) -> Box:
    """Returns the box around the line's quad."""
    xs, ys = line.quad[0::2], line.quad[1::2]
    return min(xs), min(ys), max(xs), max(ys)


def median_height(lines: Sequence[Line]) -> float:
    """Returns the usual height of a line, long ones counting more; 0 without lines."""
    heights = [line.height for line in lines for _ in line.words]
    return median(heights) if heights else 0.0


def level_lines(lines: Sequence[TextLine]) -> list[Line]:
    """Returns the lines that have a text, as they stand once most of the page's text runs to the right.

    Each has its own length and height, not those of the box around a skewed line, which overlaps its
    neighbours. Boxes of such an upright page are from the same origin, and may be negative.
    """
    given = [line for line in lines if line.text.strip()]
    degrees = _direction(given)
    return [part for place, line in enumerate(given) for part in _parts(line, degrees, place)]


def _direction(lines: Sequence[TextLine]) -> float:
    """Returns where most of the text, by length, runs: degrees clockwise from right."""
    ways = [_way(line) for line in lines]
    lengths = [0.0] * 4
    for length, degrees in ways:
        lengths[_quarter(degrees)] += length
    quarter = lengths.index(max(lengths))
    own = [(length, degrees) for length, degrees in ways if _quarter(degrees) == quarter]
    if not own:
        return 0.0
    least = median(length for length, _ in own)
    # Short lines say little of the angle.
    skews = [(degrees - 90 * quarter + 180) % 360 - 180 for length, degrees in own if length >= least]
    return 90 * quarter + median(skews)


def _way(line: TextLine) -> tuple[float, float]:
    """Returns the length of the line, and where it runs, in degrees."""
    along = line.quad[2] - line.quad[0], line.quad[3] - line.quad[1]
    return math.hypot(*along), math.degrees(math.atan2(along[1], along[0]))


def _quarter(degrees: float) -> int:
    return round(degrees / 90) % 4


def _parts(line: TextLine, degrees: float, place: int) -> list[Line]:
    """Returns the line turned back by `degrees`, in pieces where its gaps are wide."""
    radians = math.radians(degrees)
    cosine, sine = math.cos(radians), math.sin(radians)
    quad = line.quad
    x, y = sum(quad[0::2]) / 4, sum(quad[1::2]) / 4
    x, y = x * cosine + y * sine, y * cosine - x * sine
    length, own_degrees = _way(line)
    height = math.hypot(quad[6] - quad[0], quad[7] - quad[1])
    runs_along = _quarter(own_degrees - degrees) % 2 == 0
    width, height = (length, height) if runs_along else (height, length)
    whole = Line(line, x - width / 2, y - height / 2, x + width / 2, y + height / 2, place)
    if _quarter(own_degrees - degrees) != 0 or len(line.words) < 2:
        return [whole]
    sides = [_side(word, cosine, sine) for word in line.words]
    ends = [
        at for at, (one, other) in enumerate(pairwise(sides), 1) if other[0] - one[1] > _WIDE_GAP * height
    ]
    if not ends:
        return [whole]
    return [
        whole._replace(
            printed=_part(line, start, end, sides, whole), left=sides[start][0], right=sides[end - 1][1]
        )
        for start, end in pairwise([0, *ends, len(sides)])
    ]


def _side(word: TextWord, cosine: float, sine: float) -> tuple[float, float]:
    """Returns how far left and right a word reaches on the upright page."""
    middle = ((word.left + word.right) * cosine + (word.top + word.bottom) * sine) / 2
    is_upright = abs(cosine) > abs(sine)
    half = ((word.right - word.left) if is_upright else (word.bottom - word.top)) / 2
    return middle - half, middle + half


def _part(
    line: TextLine, start: int, end: int, sides: Sequence[tuple[float, float]], whole: Line
) -> TextLine:
    """Returns some words of the line, and the part of its quad that they take."""
    words = line.words[start:end]
    first = max(0.0, (sides[start][0] - whole.left) / whole.width)
    last = min(1.0, (sides[end - 1][1] - whole.left) / whole.width)
    quad = tuple(
        round(side, 1)
        for at, share in ((0, first), (0, last), (1, last), (1, first))
        for side in _between(line.quad, at, share)
    )
    return TextLine(" ".join(word.text for word in words), line.confidence, quad, words)  # type: ignore[arg-type]


def _whole(parts: Sequence[TextLine]) -> TextLine:
    """Returns the line that neighbouring parts of one make, left to right."""
    first, last = parts[0], parts[-1]
    if first is last:
        return first
    quad = (*first.quad[:2], *last.quad[2:6], *first.quad[6:])
    words = tuple(word for part in parts for word in part.words)
    return TextLine(" ".join(part.text for part in parts), first.confidence, quad, words)


def _between(quad: Quad, edge: int, share: float) -> tuple[float, float]:
    """Returns the point at that share of the upper edge (0), or of the lower one (1), from the left."""
    left, right = (quad[0:2], quad[2:4]) if edge == 0 else (quad[6:8], quad[4:6])
    return left[0] + share * (right[0] - left[0]), left[1] + share * (right[1] - left[1])
