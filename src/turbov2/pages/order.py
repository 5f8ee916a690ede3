"""Reading order: boxes of lines, in whatever order they were found, as a person would read them.

Left to right within a row, top to bottom within a column, columns from left to right. The page is swept from
top to bottom; a band of it ends where a box closes the last gutter that ran through it, as a heading over two
columns does. A gutter parts columns only where both sides look like columns: marks of a list, numbers of a
contents page and cells of a table stand in rows, and are read in rows.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Boxes = NDArray[np.float64]
Interval = tuple[float, float]

# Widths and distances are in heights of a typical line of the page.
_GUTTER_WIDTH = 0.8  # narrower gaps are between words
_PROSE_WIDTH = 8.0  # of typical lines of a column: some twenty letters
_SAME_ROW = 0.5  # by how much two boxes overlap, as a share of the lower one's height
_ALIGNED_SHARE = 0.7  # of the boxes of one side stand beside a box of the other: these are rows
_FACING_SHARE = 0.5  # of the lower side's height lies beside the other side
_FIRST_LINES = 1.0  # the first lines of columns differ in height by less
_MIN_COLUMN_ROWS = 2


class _Region(NamedTuple):
    """Boxes of a page, as rows of `boxes` `[n, 4]` left, top, right, bottom."""

    boxes: Boxes
    members: list[int]
    line_height: float


def reading_order(quads: NDArray[np.floating]) -> list[int]:
    """Returns the indices of `[n, 8]` line quads in reading order; corners clockwise from the upper left."""
    if len(quads) == 0:
        return []
    boxes = upright_boxes(quads)
    line_height = float(np.median(boxes[:, 3] - boxes[:, 1]))
    return _ordered(_Region(boxes, list(range(len(boxes))), max(line_height, 1.0)))


def upright_boxes(quads: NDArray[np.floating]) -> Boxes:
    """Returns `[n, 4]` left, top, right, bottom of the lines once the page's skew is turned back.

    Each box has its line's length and height, not those of the box around a skewed line, which overlaps its
    neighbours.
    """
    corners = np.asarray(quads, np.float64).reshape(-1, 4, 2)
    along, down = corners[:, 1] - corners[:, 0], corners[:, 3] - corners[:, 0]
    lengths, heights = np.hypot(*along.T), np.hypot(*down.T)
    centres = corners.mean(axis=1) @ _turn(-_skew(along, lengths)).T
    # Lines that run down the page, as stamps in margins do, keep the box around them.
    is_steep = np.abs(along[:, 1]) > np.abs(along[:, 0])
    widths = np.where(is_steep, heights, lengths)
    heights = np.where(is_steep, lengths, heights)
    halves = np.stack([widths, heights], axis=1) / 2
    return np.concatenate([centres - halves, centres + halves], axis=1)


def rows_of(boxes: Boxes, members: Sequence[int]) -> list[list[int]]:
    """Returns the members as rows from top to bottom, each from left to right."""
    rows: list[list[int]] = []
    for index in sorted(members, key=lambda i: boxes[i, 1] + boxes[i, 3]):
        if rows and _overlap(boxes[index], boxes[rows[-1][-1]]) > _SAME_ROW:
            rows[-1].append(index)
        else:
            rows.append([index])
    return [sorted(row, key=lambda i: float(boxes[i, 0])) for row in rows]


def _skew(along: Boxes, lengths: NDArray[np.float64]) -> float:
    """Returns the angle of the page's longer lines in radians, 0 where they disagree with a level page."""
    is_long = (lengths >= np.median(lengths)) & (np.abs(along[:, 1]) < np.abs(along[:, 0]) / 2)
    if not is_long.any():
        return 0.0
    return float(np.median(np.arctan2(along[is_long, 1], along[is_long, 0])))


def _turn(radians: float) -> Boxes:
    cosine, sine = np.cos(radians), np.sin(radians)
    return np.array([[cosine, -sine], [sine, cosine]])


def _overlap(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """Returns how much of the lower box's height lies beside the other."""
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return float(shared / max(1e-6, min(one[3] - one[1], other[3] - other[1])))


def _ordered(region: _Region) -> list[int]:
    """Returns the members in reading order: bands from top to bottom, what has no columns by its rows."""
    found: list[int] = []
    rowwise: list[int] = []
    for band in _bands(region):
        columns = _columns(region._replace(members=band))
        if len(columns) < 2:
            rowwise += band
            continue
        found += [index for row in rows_of(region.boxes, rowwise) for index in row]
        rowwise = []
        for column in columns:
            found += _ordered(region._replace(members=column))
    return found + [index for row in rows_of(region.boxes, rowwise) for index in row]


def _bands(region: _Region) -> list[list[int]]:
    """Returns the members from top to bottom, cut wherever a box closes the last gutter of those before."""
    boxes = region.boxes
    whole = [(float(boxes[region.members, 0].min()), float(boxes[region.members, 2].max()))]
    bands: list[list[int]] = []
    gaps: list[Interval] = []
    for index in sorted(region.members, key=lambda i: float(boxes[i, 1])):
        rest = _without(gaps, boxes[index], region.line_height)
        if rest and bands:
            bands[-1].append(index)
        else:
            first = _neighbours(region, bands[-1], index) if bands else []
            if first:
                bands[-1] = [each for each in bands[-1] if each not in first]
            bands.append([*first, index])
            rest = whole
            for each in bands[-1]:
                rest = _without(rest, boxes[each], region.line_height)
        gaps = rest
    return [band for band in bands if band]


def _neighbours(region: _Region, band: Sequence[int], index: int) -> list[int]:
    """Returns which last boxes of a band begin the next one beside `index`: first lines of its columns."""
    boxes = region.boxes
    found: list[int] = []
    for other in reversed(band):
        is_near = boxes[other, 1] >= boxes[index, 1] - _FIRST_LINES * region.line_height
        apart = max(boxes[other, 0] - boxes[index, 2], boxes[index, 0] - boxes[other, 2])
        if not is_near or apart < _GUTTER_WIDTH * region.line_height:
            break
        found.append(other)
    return found[::-1]


def _without(gaps: Sequence[Interval], box: NDArray[np.float64], line_height: float) -> list[Interval]:
    """Returns what the box leaves of the gaps, as far as it is wide enough for a gutter."""
    left, right = float(box[0]), float(box[2])
    pieces = [(start, min(end, left)) for start, end in gaps] + [
        (max(start, right), end) for start, end in gaps
    ]
    return sorted({piece for piece in pieces if piece[1] - piece[0] >= _GUTTER_WIDTH * line_height})


def _columns(region: _Region) -> list[list[int]]:
    """Returns the members by column, from left to right; one column where no gutter parts them."""
    boxes = region.boxes
    columns: list[list[int]] = []
    rest = sorted(region.members, key=lambda i: float(boxes[i, 0]))
    start = reach = 0
    for at in range(1, len(rest)):
        if boxes[rest[at - 1], 2] > boxes[rest[reach], 2]:
            reach = at - 1
        gap = boxes[rest[at], 0] - boxes[rest[reach], 2]
        is_gutter = gap >= _GUTTER_WIDTH * region.line_height
        if is_gutter and _are_columns(region, rest[start:at], rest[at:]):
            columns.append(rest[start:at])
            start = at
    return [*columns, rest[start:]]


def _are_columns(region: _Region, left: list[int], right: list[int]) -> bool:
    """True where the sides of a gutter are read one after the other, not row by row."""
    boxes = region.boxes
    left_rows, right_rows = rows_of(boxes, left), rows_of(boxes, right)
    if min(len(left_rows), len(right_rows)) < _MIN_COLUMN_ROWS or not _face_each_other(boxes, left, right):
        return False
    widths = [float(np.median(boxes[side, 2] - boxes[side, 0])) for side in (left, right)]
    if min(widths) >= _PROSE_WIDTH * region.line_height:
        return True
    fewer, more = sorted((left, right), key=len)
    n_aligned = sum(any(_are_level(boxes[one], boxes[other]) for other in more) for one in fewer)
    return n_aligned < _ALIGNED_SHARE * len(fewer)


def _are_level(one: NDArray[np.float64], other: NDArray[np.float64]) -> bool:
    """True for boxes whose middles are at one height, as those of words on one line are."""
    height = min(one[3] - one[1], other[3] - other[1])
    return bool(abs(one[1] + one[3] - other[1] - other[3]) / 2 < 0.3 * height)


def _face_each_other(boxes: Boxes, left: list[int], right: list[int]) -> bool:
    tops = boxes[left, 1].min(), boxes[right, 1].min()
    bottoms = boxes[left, 3].max(), boxes[right, 3].max()
    lower = min(bottoms[0] - tops[0], bottoms[1] - tops[1])
    return bool(min(bottoms) - max(tops) >= _FACING_SHARE * lower)
