"""Rows of text on a page, and where their parts line up as the columns of a table without rules."""

from __future__ import annotations

import re
from typing import NamedTuple

from recipes.vl_classifier.objects import PageObjects, Place, Word

_ALIGNED_PT = 4.0
_GAP_EMS = 1.2  # between two cells, in heights of the text: justified text has no gap so wide
_NUMBER = re.compile(r"[ivxlc]+|\d+(-\d+)?", re.IGNORECASE)
_LEADERS = re.compile(r"[.·…_\s]{4,}")


class Cell(NamedTuple):
    """Words of one row with no wide gap between them."""

    text: str
    place: Place
    is_mono: bool
    is_math: bool


class Run(NamedTuple):
    """Successive rows whose cells line up."""

    rows: list[list[Cell]]
    place: Place
    is_mono: bool
    is_numeric: bool
    """Whether many cells start with a digit: then monospaced columns are more than code."""


def text_rows(words: list[Word]) -> list[list[Cell]]:
    """The rows of a page from top to bottom, each cut into cells from left to right."""
    rows: list[list[Word]] = []
    for word in sorted(words, key=lambda word: (word.place[1] + word.place[3], word.place[0])):
        middle = (word.place[1] + word.place[3]) / 2
        last = rows[-1][0].place if rows else None
        if last and abs((last[1] + last[3]) / 2 - middle) < 0.35 * (last[3] - last[1]):
            rows[-1].append(word)
        else:
            rows.append([word])
    return [_cells(sorted(row, key=lambda word: word.place[0])) for row in rows]


def _cells(row: list[Word]) -> list[Cell]:
    cells: list[Cell] = []
    for word in row:
        height = word.place[3] - word.place[1]
        if cells and word.place[0] - cells[-1].place[2] < _GAP_EMS * height:
            last = cells[-1]
            cells[-1] = Cell(
                f"{last.text} {word.text}",
                enclosing([last.place, word.place]),
                last.is_mono,
                last.is_math or word.is_math,
            )
        else:
            cells.append(Cell(word.text, word.place, word.is_mono, word.is_math))
    return cells


def enclosing(places: list[Place]) -> Place:
    """The smallest place that holds all."""
    lefts, tops, rights, bottoms = zip(*places, strict=True)
    return min(lefts), min(tops), max(rights), max(bottoms)


def aligned_runs(page: PageObjects) -> list[Run]:
    """Runs of three or more rows of three or more cells that line up, but formulas, contents, indexes."""
    rows = text_rows(page.words)
    if is_contents(rows):
        return []
    found: list[Run] = []
    run: list[list[Cell]] = []
    for row in rows:
        is_near = bool(run) and row[0].place[1] - run[-1][0].place[3] < 2.5 * _height(row)
        if len(row) >= 3 and (not run or (is_near and _is_aligned(run[-1], row))):
            run.append(row)
        elif not (run and is_near and len(row) < 3 and _is_wrapped(run[-1], row)):
            found.extend(_run(run, page))
            run = [row] if len(row) >= 3 else []
    found.extend(_run(run, page))
    return found


def is_contents(rows: list[list[Cell]]) -> bool:
    """Whether page numbers that never fall, or leaders, end most rows."""
    ends = [
        row[-1].text.split()[-1]
        for row in rows
        if len(row) > 1 and _NUMBER.fullmatch(row[-1].text.split()[-1])
    ]
    numbers = [int(end.split("-")[0]) for end in ends if end[0].isdigit()]
    n_rising = sum(first <= second for first, second in zip(numbers, numbers[1:], strict=False))
    n_leaders = sum(any(_LEADERS.search(cell.text) for cell in row) for row in rows)
    is_rising = len(numbers) >= 6 and n_rising >= 0.85 * (len(numbers) - 1) and len(numbers) > 0.4 * len(rows)
    return is_rising or n_leaders > 0.3 * len(rows) > 1.5


def _height(row: list[Cell]) -> float:
    return row[0].place[3] - row[0].place[1]


def _is_aligned(above: list[Cell], below: list[Cell]) -> bool:
    """Whether two cells or more share a left, a right edge or a centre with one above."""
    return sum(any(_shares_edge(cell.place, other.place) for other in above) for cell in below) >= 2


def _is_wrapped(above: list[Cell], below: list[Cell]) -> bool:
    return all(any(_shares_edge(cell.place, other.place) for other in above) for cell in below)


def _shares_edge(one: Place, other: Place) -> bool:
    return (abs(one[0] - other[0]) < _ALIGNED_PT or abs(one[2] - other[2]) < _ALIGNED_PT
            or abs(one[0] + one[2] - other[0] - other[2]) < 2 * _ALIGNED_PT)  # fmt: skip


def _run(rows: list[list[Cell]], page: PageObjects) -> list[Run]:
    if len(rows) < 3:
        return []
    cells = [cell for row in rows for cell in row]
    place = enclosing([cell.place for cell in cells])
    if _share(cells, "is_math") > 0.4 or _is_text_columns(rows, place, page):
        return []
    n_numbers = sum(cell.text.lstrip("-+.<(")[:1].isdigit() for cell in cells)
    return [Run(rows, place, _share(cells, "is_mono") > 0.5, n_numbers > 0.4 * len(cells))]


def _share(cells: list[Cell], flag: str) -> float:
    return sum(getattr(cell, flag) for cell in cells) / len(cells)


def _is_text_columns(rows: list[list[Cell]], place: Place, page: PageObjects) -> bool:
    """Whether equally wide columns run down most of the page: newspaper columns, or an index."""
    lefts = [cell.place[0] for cell in rows[0]]
    steps = [second - first for first, second in zip(lefts, lefts[1:], strict=False)]
    is_even = max(steps) < 1.15 * min(steps)
    letters = sorted(len(cell.text) for row in rows for cell in row)
    return is_even and place[3] - place[1] > 0.45 * page.height_pt and letters[len(letters) // 2] > 10
