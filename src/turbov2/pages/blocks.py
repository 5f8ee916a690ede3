"""Lines in reading order as rows, and rows as blocks: headings, paragraphs and items of lists."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal, NamedTuple

import numpy as np

from turbov2.pages.order import Boxes, upright_boxes
from turbov2.types import TextLine

Kind = Literal["heading", "paragraph", "item"]

_BULLET = re.compile(r"[•·●○▪■◦‣∙–—\-*]\s+(?=\S)")
_NUMBER = re.compile(r"(\d{1,3}|[a-zA-Z])[.)]\s+(?=\S)")
_SENTENCE_END = (".", ",", ";", ":", "!", "?")
# Heights and distances are in heights of a typical line of the page, which carries most of its letters.
_SAME_ROW = 0.5  # share of the lower line's height
_HEADING_HEIGHTS = (1.8, 1.45, 1.2)  # from here on a heading of the first, second, third level
_HEADING_ROWS = 3
_LIKE_HEIGHT = 1.25  # lines of one block differ by less
_PARAGRAPH_PITCH = 1.35  # by how much a block's first line is further down than the lines before are apart
_MOST_PITCH = 2.2  # of two lines of one block
_INDENT = 0.8
_SHORT = 4.0  # a line that ends this far before the block's right edge ends its paragraph


class Row(NamedTuple):
    """Lines side by side, left to right, and the box around them."""

    lines: tuple[TextLine, ...]
    left: float
    top: float
    right: float
    bottom: float

    @property
    def text(self) -> str:
        """The lines' texts with a space between them."""
        return " ".join(line.text for line in self.lines)

    @property
    def height(self) -> float:
        """Of a typical line of it."""
        return self.bottom - self.top


class Block(NamedTuple):
    """Rows that belong together. level: 1 to 3 of a heading, else 0."""

    kind: Kind
    rows: tuple[Row, ...]
    level: int = 0


def blocks_of(lines: Sequence[TextLine]) -> list[Block]:
    """Returns the blocks of a page, of lines that stand in reading order."""
    rows = _rows(lines)
    if not rows:
        return []
    typical = _typical_height(rows)
    groups: list[list[Row]] = []
    for row in rows:
        if groups and _continues(groups[-1], row, typical):
            groups[-1].append(row)
        else:
            groups.append([row])
    return [_block(group, typical) for group in groups]


def list_marker(text: str) -> str:
    """Returns what marks the text as an item of a list, with the space after it; empty if nothing does."""
    match = _BULLET.match(text) or _NUMBER.match(text)
    return match[0] if match else ""


def _rows(lines: Sequence[TextLine]) -> list[Row]:
    """Returns neighbours in reading order as one row where they stand on one."""
    if not lines:
        return []
    boxes = upright_boxes(np.array([line.quad for line in lines]))
    members: list[list[int]] = []
    for at in range(len(lines)):
        if members and _is_beside(boxes, members[-1][-1], at):
            members[-1].append(at)
        else:
            members.append([at])
    return [_row(boxes, lines, each) for each in members]


def _is_beside(boxes: Boxes, before: int, at: int) -> bool:
    one, other = boxes[before], boxes[at]
    shared = min(one[3], other[3]) - max(one[1], other[1])
    return bool(other[0] >= one[2] - 1 and shared > _SAME_ROW * min(one[3] - one[1], other[3] - other[1]))


def _row(boxes: Boxes, lines: Sequence[TextLine], members: list[int]) -> Row:
    own = boxes[members]
    middle = float((own[:, 1] + own[:, 3]).mean()) / 2
    half = float(np.median(own[:, 3] - own[:, 1])) / 2
    texts = tuple(lines[at] for at in members)
    return Row(texts, float(own[:, 0].min()), middle - half, float(own[:, 2].max()), middle + half)


def _typical_height(rows: Sequence[Row]) -> float:
    """Returns the height of the row in which the middle letter of the page stands, rows by height."""
    ordered = sorted(rows, key=lambda row: row.height)
    n_letters = np.cumsum([len(row.text) for row in ordered])
    return max(1e-6, ordered[int(np.searchsorted(n_letters, n_letters[-1] / 2))].height)


def _continues(group: list[Row], row: Row, typical: float) -> bool:
    """True when the row belongs to the block before it."""
    last = group[-1]
    pitch = row.bottom - last.bottom
    is_below = 0 < pitch <= _MOST_PITCH * typical * max(1.0, row.height / typical)
    heights = sorted((row.height, last.height))
    is_alike = heights[1] < _LIKE_HEIGHT * heights[0]
    shares_column = min(row.right, last.right) > max(row.left, last.left)
    if not (is_below and is_alike and shares_column) or list_marker(row.text):
        return False
    if len(group) > 1 and pitch > _PARAGRAPH_PITCH * (last.bottom - group[-2].bottom):
        return False
    return not _is_ended(group, row, typical)


def _is_ended(group: list[Row], row: Row, typical: float) -> bool:
    """True when the block's last row ends it: short and closed, or the next one is indented anew."""
    last = group[-1]
    right = max(max(each.right for each in group), row.right)
    is_short = last.right < right - _SHORT * typical and last.text.endswith(_SENTENCE_END[0])
    left = min(each.left for each in group)
    is_indented = row.left > left + _INDENT * typical and len(group) > 1
    was_indented = group[0].left > left + _INDENT * typical
    return is_short or (is_indented and not list_marker(group[0].text) and not was_indented)


def _block(group: list[Row], typical: float) -> Block:
    text = " ".join(row.text for row in group)
    height = float(np.median([row.height for row in group]))
    level = next((at for at, least in enumerate(_HEADING_HEIGHTS, 1) if height >= least * typical), 0)
    is_heading = level and len(group) <= _HEADING_ROWS and not text.endswith(_SENTENCE_END)
    if is_heading and any(char.isalpha() for char in text):
        return Block("heading", tuple(group), level)
    return Block("item" if list_marker(group[0].text) else "paragraph", tuple(group))
