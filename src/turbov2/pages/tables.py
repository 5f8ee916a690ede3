"""Tables by their alignment: only what can hardly be anything else is called one.

Sure is: three columns at least, three rows at least, short cells, and a column of numbers behind the first.
Columns of prose, contents, indexes, code and forms must not pass; a table of texts without numbers is read
row by row instead.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from turbov2.pages.lines import Line, Row

_MIN_ROWS, _MIN_COLUMNS = 3, 3
_TOUCHING = 0.25  # of its height by which a line may reach into the one above: descenders and ascenders
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
    """Rows, and the cells in each; the first is the heading. All rows have the same number of cells."""

    rows: tuple[Row, ...]
    cells: tuple[tuple[str, ...], ...]

    @property
    def markdown(self) -> str:
        """As a Markdown table, the first row its heading."""
        head, *body = (f"| {' | '.join(map(_escaped, row))} |" for row in self.cells)
        return "\n".join([head, "|" + " --- |" * len(self.cells[0]), *body])


class _Slice(NamedTuple):
    """Lines of which each shares some height with another, and the white strips between them."""

    lines: list[Line]
    strips: list[Span]


def tables_among(lines: Sequence[Line], gutter_width: float) -> Iterator[Table | list[Line]]:
    """Yields the tables of a region, and the lines between them, from top to bottom."""
    rest: list[Line] = []
    for slices, gutters in _runs(_slices(lines), gutter_width):
        inside = [each.lines for each in slices]
        table = _table_of(inside, gutters)
        if table is None:
            rest += [line for row in inside for line in row]
            continue
        if rest:
            yield rest
            rest = []
        yield table
    if rest:
        yield rest


def _slices(lines: Sequence[Line]) -> list[_Slice]:
    """Returns the lines in groups between which a level cut meets none, from top to bottom."""
    groups: list[list[Line]] = []
    bottom = float("-inf")
    for line in sorted(lines, key=lambda line: line.top):
        if groups and line.top + _TOUCHING * line.height < bottom:
            groups[-1].append(line)
        else:
            groups.append([line])
        bottom = max(bottom, line.bottom)
    return [_Slice(group, _strips(group)) for group in groups]


def _strips(lines: Sequence[Line]) -> list[Span]:
    """Returns the horizontal extents that no line covers, the endless ones at both sides included."""
    strips: list[Span] = []
    covered = float("-inf")
    for line in sorted(lines, key=lambda line: line.left):
        if line.left > covered:
            strips.append((covered, line.left))
        covered = max(covered, line.right)
    return [*strips, (covered, float("inf"))]


def _runs(slices: Sequence[_Slice], width: float) -> list[tuple[list[_Slice], list[Span]]]:
    """Returns runs of slices that have white strips in common, with those that divide the run."""
    runs: list[tuple[list[_Slice], list[Span]]] = []
    for each in slices:
        inner = [strip for strip in each.strips[1:-1] if strip[1] - strip[0] >= width]
        if runs and runs[-1][1]:
            last, gutters = runs[-1]
            common = _common(gutters, each.strips, width)
            # Columns that have less white in common stand before a table, not in it, if they end before it.
            is_other = len(common) < len(inner) and _white_between(last[-1], each) > width
            # A single line that closes one of several strips stands behind a table, not in it.
            if common and not is_other and (len(each.lines) > 1 or len(common) == len(gutters)):
                last.append(each)
                runs[-1] = (last, common)
                continue
        # A line across the page divides nothing; a run begins where something stands side by side.
        if runs and not runs[-1][1] and not inner:
            runs[-1][0].append(each)
        else:
            runs.append(([each], inner))
    return runs


def _white_between(upper: _Slice, lower: _Slice) -> float:
    return min(line.top for line in lower.lines) - max(line.bottom for line in upper.lines)


def _common(gutters: Sequence[Span], strips: Sequence[Span], width: float) -> list[Span]:
    """Returns what both have in common, as far as it is wide enough. Both stand from left to right."""
    found: list[Span] = []
    at = 0
    for start, end in gutters:
        while at < len(strips) and strips[at][1] <= start:
            at += 1
        while at < len(strips) and strips[at][0] < end:
            shared = max(start, strips[at][0]), min(end, strips[at][1])
            if shared[1] - shared[0] >= width:
                found.append(shared)
            if strips[at][1] > end:  # it goes on into the next gutter
                break
            at += 1
    return found


def _table_of(bands: Sequence[Sequence[Line]], gutters: Sequence[Span]) -> Table | None:
    """Returns the table that these rows of lines are, divided at the gutters; None if that is not sure."""
    if len(bands) < _MIN_ROWS or len(gutters) + 1 < _MIN_COLUMNS:
        return None
    if any(_is_stacked(band) for band in bands):
        return None
    edges = sorted(sum(gutter) / 2 for gutter in gutters)
    rows = tuple(Row(tuple(sorted(band, key=lambda line: line.left))) for band in bands)
    cells = tuple(_cells(row, edges) for row in rows)
    return Table(rows, cells) if _is_sure(cells) else None


def _is_stacked(band: Sequence[Line]) -> bool:
    """Returns whether lines stand above each other: then a band is no row."""
    spans = sorted((line.left, line.right) for line in band)
    return any(first[1] > second[0] for first, second in zip(spans, spans[1:], strict=False))


def _cells(row: Row, edges: Sequence[float]) -> tuple[str, ...]:
    cells: list[list[str]] = [[] for _ in range(len(edges) + 1)]
    for line in row.lines:
        cells[bisect_right(edges, line.left)].append(line.text)
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
