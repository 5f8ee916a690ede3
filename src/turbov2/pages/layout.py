"""Reading order: lines, in whatever order they were found, as a person would read them.

Left to right within a row, top to bottom within a column, columns from left to right. A page is parted at the
gutter with columns at both sides over the greatest height: into what stands above it, the columns, and what
stands below, as a line does that closes it; then each of those alike. A gutter parts columns only where both
sides look like columns: marks of a list, numbers of a contents page and cells of a table stand in rows, and
are read in rows.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from turbov2.pages.lines import Line, Row, level_lines, median_height
from turbov2.pages.tables import Table, tables_among
from turbov2.types import TextLine

# Widths and distances are in heights of a typical line of the page.
_GUTTER_WIDTH = 0.8  # narrower gaps are between words
_PROSE_WIDTH = 8.0  # of typical lines of a column: some twenty letters
_SAME_ROW = 0.5  # by how much two lines overlap, as a share of the lower one's height
_LEVEL = 0.3  # how far apart, in heights, the middles of lines are that stand in one row of a table
_ALIGNED_SHARE = 0.5  # of the lines of one side stand beside a line of the other: these are rows
_ENTRIES_SHARE = 0.7  # the same, of the side whose rows are so many times further apart: these are entries
_SPARSE = 1.6  # with their explanations
_FACING_SHARE = 0.5  # of the lower side's height lies beside the other side
_CLEFT = 1.2  # between what may be of different kinds
_FOOTER_GAP = 2.0  # between a column and what stands below it without being part of it
_MIN_COLUMN_ROWS = 3
_MOST_EDGES = 64
_MAX_DEPTH = 12
_MIN_NARROW_ROWS = 4  # of a column that is no prose

Layout = list[Row | Table]


class _Page(NamedTuple):
    """What holds for all regions of a page. in_file_order: lines were given in an order somebody wrote."""

    line_height: float
    in_file_order: bool


class _Gutter(NamedTuple):
    """White between columns: left of `edge`, beside the lines from number `start` to `end`, from the top.

    facing: height over which there is something at both sides.
    """

    edge: float
    start: int
    end: int
    facing: float


def lay_out(lines: Sequence[TextLine], *, in_file_order: bool = False) -> Layout:
    """Returns a page's rows and tables in reading order.

    in_file_order: the lines stand in an order that somebody wrote, which helps to tell columns from rows.
    """
    level = level_lines(lines)
    return _ordered(level, _Page(max(median_height(level), 1e-6), in_file_order))


def _ordered(lines: list[Line], page: _Page, depth: int = 0) -> Layout:
    """Returns the lines of a region in reading order."""
    found: Layout = []
    for part in tables_among(lines, _GUTTER_WIDTH * page.line_height):
        if isinstance(part, Table):
            found.append(part)
        elif depth < _MAX_DEPTH:
            found += _read(part, page, depth)
        else:
            found += _rows(part)
    return found


def _read(lines: list[Line], page: _Page, depth: int) -> Layout:
    """Returns lines without tables: what stands above the columns, each of them, and what stands below."""
    downwards = sorted(lines, key=lambda each: each.top)
    clefts = _clefts(downwards, page)
    for gutter in sorted(_gutters(downwards, clefts, page), key=lambda gutter: -gutter.facing):
        _, left, right, _ = _parts(downwards, gutter, page)
        if _are_columns(left, right, page):
            gutter = _between_margins(downwards, clefts, gutter)
            above, left, right, below = _parts(downwards, gutter, page)
            regions = [*downwards[: gutter.start], *above], left, right, [*below, *downwards[gutter.end :]]
            return [piece for region in regions for piece in _ordered(region, page, depth + 1)]
    return [*_rows(lines)]


def _rows(lines: Sequence[Line]) -> list[Row]:
    """Returns the rows that the lines make, from top to bottom."""
    rows: list[list[Line]] = []
    for line in sorted(lines, key=lambda each: each.top + each.bottom):
        if rows and _is_beside(line, rows[-1][-1]):
            rows[-1].append(line)
        else:
            rows.append([line])
    return [row for together in rows for row in _unstacked(together)]


def _is_beside(one: Line, other: Line) -> bool:
    shared = min(one.bottom, other.bottom) - max(one.top, other.top)
    return shared > _SAME_ROW * min(one.height, other.height)


def _unstacked(lines: Sequence[Line]) -> list[Row]:
    """Returns one row, or several where lines take each other's width and so cannot stand side by side."""
    rows: list[list[Line]] = []
    ends: list[tuple[float, int]] = []  # how far each row reaches; a heap
    for line in sorted(lines, key=lambda each: each.left):
        if ends and ends[0][0] <= line.left + line.width / 2:
            at = ends[0][1]
            rows[at].append(line)
            heapq.heapreplace(ends, (line.right, at))
        else:
            rows.append([line])
            heapq.heappush(ends, (line.right, len(rows) - 1))
    return [Row(tuple(row)) for row in sorted(rows, key=lambda row: row[0].top)]


def _gutters(downwards: Sequence[Line], clefts: Sequence[int], page: _Page) -> Iterator[_Gutter]:
    """Yields the white strips of a region that may be gutters."""
    least = _GUTTER_WIDTH * page.line_height
    for edge in _edges(downwards, page.line_height / 2):
        closers = [at for at, line in enumerate(downwards) if line.left < edge and line.right > edge - least]
        for before, end in pairwise([-1, *closers, len(downwards)]):
            inner = clefts[bisect_right(clefts, before + 1) : bisect_left(clefts, end)]
            ends = [before + 1, *inner, end]
            # Columns may end where something else begins.
            for first, last in {(ends[0], end), *pairwise(ends)}:
                facing = _facing(downwards[first:last], edge)
                if facing > 0:
                    yield _Gutter(edge, first, last, facing)


def _between_margins(downwards: Sequence[Line], clefts: Sequence[int], gutter: _Gutter) -> _Gutter:
    """Returns the gutter without single rows that stand apart at its ends, as a header and a footer do."""
    inner = [at for at in clefts if gutter.start < at < gutter.end]
    start, end = gutter.start, gutter.end
    if inner and len(_rows(downwards[start : inner[0]])) == 1:
        start = inner[0]
    if inner and len(_rows(downwards[inner[-1] : end])) == 1:
        end = inner[-1]
    facing = _facing(downwards[start:end], gutter.edge)
    return _Gutter(gutter.edge, start, end, facing) if facing > 0 else gutter


def _clefts(downwards: Sequence[Line], page: _Page) -> list[int]:
    """Returns before which of the lines the page is white over its whole width, more than between lines."""
    found = []
    bottom = downwards[0].bottom
    for at, line in enumerate(downwards):
        if line.top - bottom > _CLEFT * page.line_height:
            found.append(at)
        bottom = max(bottom, line.bottom)
    return found


def _edges(lines: Sequence[Line], apart: float) -> list[float]:
    """Returns where columns may begin: where most lines do, but for the leftmost."""
    edges: list[float] = []
    counts: list[int] = []
    for left in sorted(line.left for line in lines):
        if not edges or left - edges[-1] > apart:
            edges.append(left)
            counts.append(0)
        counts[-1] += 1
    by_count = sorted(range(1, len(edges)), key=lambda at: -counts[at])
    return [edges[at] for at in by_count[:_MOST_EDGES]]


def _facing(lines: Sequence[Line], edge: float) -> float:
    """Returns the height over which lines stand at both sides of an edge; 0 where too few do."""
    left, right = [line for line in lines if line.left < edge], [line for line in lines if line.left >= edge]
    if min(len(left), len(right)) < _MIN_COLUMN_ROWS:
        return 0.0
    return _bottom(left, right) - max(left[0].top, right[0].top)


def _bottom(left: Sequence[Line], right: Sequence[Line]) -> float:
    """Returns where the first of two columns ends."""
    return min(max(line.bottom for line in side) for side in (left, right))


def _parts(downwards: Sequence[Line], gutter: _Gutter, page: _Page) -> tuple[list[Line], ...]:
    """Returns what stands above the columns at a gutter, the left one, the right one, and what stands below.

    What stands over or under both columns need not close the gutter, as the number of a page.
    """
    lines = downwards[gutter.start : gutter.end]
    left = [line for line in lines if line.left < gutter.edge]
    right = [line for line in lines if line.left >= gutter.edge]
    n_above = sum(line.bottom < left[0].top for line in right)
    bottom = _bottom(left, right)
    n_below = _n_set_apart([line for line in left if line.top > bottom], bottom, page)
    n_left = len(left) - n_below
    return right[:n_above], left[:n_left], right[n_above:], left[n_left:]


def _are_columns(left: Sequence[Line], right: Sequence[Line], page: _Page) -> bool:
    """True where the sides of a gutter are read one after the other, not row by row."""
    if min(len(left), len(right)) < _MIN_COLUMN_ROWS or not _face_each_other(left, right):
        return False
    n_rows = [len(_rows(side)) for side in (left, right)]
    if min(n_rows) < _MIN_COLUMN_ROWS:
        return False
    if page.in_file_order and max(line.place for line in left) < min(line.place for line in right):
        return True
    fewer, more = sorted((left, right), key=len)
    aligned_share = _n_level(fewer, more) / len(fewer)
    if min(median(line.width for line in side) for side in (left, right)) < _PROSE_WIDTH * page.line_height:
        return min(n_rows) >= _MIN_NARROW_ROWS and aligned_share < _ALIGNED_SHARE
    pitches = [_height(side) / n for side, n in zip((left, right), n_rows, strict=True)]
    return max(pitches) < _SPARSE * min(pitches) or aligned_share < _ENTRIES_SHARE


def _height(lines: Sequence[Line]) -> float:
    return max(line.bottom for line in lines) - min(line.top for line in lines)


def _n_set_apart(lines: Sequence[Line], bottom: float, page: _Page) -> int:
    """Returns how many of the last lines of a column stand far below the others, as a footer does."""
    for at, line in enumerate(lines):
        if line.top - bottom > _FOOTER_GAP * page.line_height:
            return len(lines) - at
        bottom = max(bottom, line.bottom)
    return 0


def _n_level(lines: Sequence[Line], others: Sequence[Line]) -> int:
    """Returns how many lines have their middle at the height of another's, as words on one line have."""
    others = sorted(others, key=_middle)
    middles = [_middle(other) for other in others]
    n_level = 0
    for line in lines:
        middle, reach = _middle(line), _LEVEL * line.height
        near = range(bisect_right(middles, middle - reach), bisect_left(middles, middle + reach))
        n_level += any(abs(middles[at] - middle) < _LEVEL * others[at].height for at in near)
    return n_level


def _middle(line: Line) -> float:
    return (line.top + line.bottom) / 2


def _face_each_other(left: Sequence[Line], right: Sequence[Line]) -> bool:
    facing = _bottom(left, right) - max(min(line.top for line in side) for side in (left, right))
    return facing >= _FACING_SHARE * min(_height(left), _height(right))
