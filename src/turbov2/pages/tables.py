"""Tables by their alignment: only what can hardly be anything else is called one.

Sure is: three columns at least, three rows at least, short cells, and a column of numbers behind the first.
Columns of prose, contents, indexes, code and forms must not pass; a table of texts without numbers is read
row by row instead.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from turbov2.pages.lines import Line, around
from turbov2.types.documents import Box

_MIN_ROWS, _MIN_COLUMNS = 3, 3
_MAX_CELL_WORDS = 4.0  # on average
_LEAST_FILLED = 0.7  # of all cells
_MOST_MERGED = 0.1  # cells with several numbers: columns whose gaps were too narrow to be seen
_LEAST_NUMERIC = 0.7  # of a column of numbers, its heading left out
_DIGITS = r"(?:\d{1,3}(?: \d{3})+(?:[.,]\d+)?|\d[\d.,:/]*)"
_NUMBER = re.compile(
    rf"[~≈<>≤≥±+\-−–]?[$€£]?{_DIGITS}(?:[eE×x]\S*)?\s?[%°a-zA-Zµ²³]{{0,4}}|[-–—]|n/?a", re.IGNORECASE
)
_NUMBERS = re.compile(rf"(?<!\S){_DIGITS}\s.*(?<!\S){_DIGITS}(?!\S)")
_LEADER = re.compile(r"[.·_…]{3,}|(?:[.·] ){3,}")

Span = tuple[float, float]


class Table(NamedTuple):
    """Rows of cells; the first is the heading. All rows have the same number of cells."""

    rows: tuple[tuple[str, ...], ...]
    box: Box

    @property
    def text(self) -> str:
        """The cells of each row on a line of their own."""
        return "\n".join("  ".join(cell for cell in row if cell) for row in self.rows)

    @property
    def markdown(self) -> str:
        """As a Markdown table, the first row its heading."""
        head, *body = (f"| {' | '.join(map(_escaped, row))} |" for row in self.rows)
        return "\n".join([head, "|" + " --- |" * len(self.rows[0]), *body])


def table_of(bands: Sequence[Sequence[Line]], gutters: Sequence[Span]) -> Table | None:
    """Returns the table that these rows of lines are, divided at the gutters; None if that is not sure."""
    if len(bands) < _MIN_ROWS or len(gutters) + 1 < _MIN_COLUMNS:
        return None
    if any(_is_stacked(band) for band in bands):
        return None
    edges = sorted(sum(gutter) / 2 for gutter in gutters)
    rows = tuple(_row(band, edges) for band in bands)
    if not _is_sure(rows):
        return None
    return Table(rows, around(line.box for band in bands for line in band))


def _is_stacked(band: Sequence[Line]) -> bool:
    """Returns whether lines stand above each other: then a band is no row."""
    spans = sorted((line.left, line.right) for line in band)
    return any(first[1] > second[0] for first, second in zip(spans, spans[1:], strict=False))


def _row(band: Sequence[Line], edges: Sequence[float]) -> tuple[str, ...]:
    cells: list[list[str]] = [[] for _ in range(len(edges) + 1)]
    for line in sorted(band, key=lambda line: line.left):
        column = sum(edge <= line.left for edge in edges)
        cells[column].append(line.text)
    return tuple(" ".join(cell) for cell in cells)


def _is_sure(rows: Sequence[tuple[str, ...]]) -> bool:
    cells = [cell for row in rows for cell in row]
    filled = [cell for cell in cells if cell]
    if len(filled) < _LEAST_FILLED * len(cells) or any(_LEADER.search(cell) for cell in filled):
        return False
    if sum(len(cell.split()) for cell in filled) > _MAX_CELL_WORDS * len(filled):
        return False
    if sum(map(_is_merged, filled)) > _MOST_MERGED * len(filled):
        return False
    columns = list(zip(*rows, strict=True))
    numeric = [column for column in columns[1:] if _is_numeric(column[1:])]
    return bool(numeric) and not _is_contents(columns)


def _is_merged(cell: str) -> bool:
    return _NUMBERS.search(cell) is not None and _NUMBER.fullmatch(cell) is None


def _is_numeric(column: Sequence[str]) -> bool:
    filled = [cell for cell in column if cell]
    n_numbers = sum(_NUMBER.fullmatch(cell) is not None for cell in filled)
    return bool(filled) and n_numbers >= _LEAST_NUMERIC * len(filled) and len(filled) >= 2


def _is_contents(columns: Sequence[Sequence[str]]) -> bool:
    """Returns whether these are chapters: the last column rises like page numbers, no other is numeric."""
    last = [cell for cell in columns[-1] if cell]
    if not all(cell.isdigit() for cell in last) or any(map(_is_numeric, columns[1:-1])):
        return False
    pages = [int(cell) for cell in last]
    return pages == sorted(pages) and len(set(pages)) > 1


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")
