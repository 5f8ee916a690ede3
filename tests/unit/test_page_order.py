"""The order in which the lines of a page are read, by layouts drawn as boxes."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
from numpy.typing import NDArray

from turbov2.pages.layout import lay_out
from turbov2.pages.lines import Row
from turbov2.types import TextLine

H = 20.0  # height of a line; lines are 30 apart
Box = tuple[float, float, float]  # left, top, right


def quads(boxes: list[Box], height: float = H) -> NDArray[np.float64]:
    return np.array([[a, t, b, t, b, t + height, a, t + height] for a, t, b in boxes])


def turned(corners: NDArray[np.float64], degrees: float) -> NDArray[np.float64]:
    angle = math.radians(degrees)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    return (corners.reshape(-1, 2) @ matrix.T).reshape(-1, 8)


def column(left: float, right: float, top: float, n: int, pitch: float = 30.0) -> list[Box]:
    """Lines of prose, the last one short."""
    return [(left, top + pitch * at, right if at < n - 1 else left + 120) for at in range(n)]


def reading_order(corners: NDArray[np.float64]) -> list[int]:
    """Returns the numbers of the quads as they are read; nothing in them makes a table."""
    lines = [TextLine(f"line {at}", 1.0, tuple(quad)) for at, quad in enumerate(corners.tolist())]
    pieces = [piece for piece in lay_out(lines) if isinstance(piece, Row)]
    return [int(line.text.split()[1]) for row in pieces for line in row.lines]


def assert_order(boxes: list[Box], degrees: float = 0.0) -> None:
    """`boxes` stand in reading order, and are found again in it from any other."""
    for seed in range(4):
        shuffled = list(range(len(boxes)))
        random.Random(seed).shuffle(shuffled)
        corners = turned(quads(boxes), degrees)[shuffled]
        assert [shuffled[at] for at in reading_order(corners)] == list(range(len(boxes)))


def test_no_lines() -> None:
    assert reading_order(np.zeros((0, 8))) == []


def test_one_column() -> None:
    assert_order(column(100, 900, 50, 12))


def test_two_columns() -> None:
    assert_order(column(100, 480, 50, 12) + column(520, 900, 50, 12))


def test_columns_whose_lines_do_not_stand_beside_each_other() -> None:
    assert_order(column(100, 480, 50, 12) + column(520, 900, 62, 11))


def test_three_columns() -> None:
    assert_order(column(100, 350, 50, 9) + column(380, 630, 50, 9) + column(660, 910, 50, 9))


def test_a_heading_over_two_columns() -> None:
    assert_order([(300, 20, 700), *column(100, 480, 80, 8), *column(520, 900, 80, 8)])


@pytest.mark.parametrize("offset", [-14, -6, 6, 14])
def test_a_heading_over_columns_that_begin_at_different_heights(offset: float) -> None:
    assert_order([(300, 20, 700), *column(100, 480, 80, 8), *column(520, 900, 80 + offset, 8)])


def test_headings_between_columns() -> None:
    boxes = [(200, 20, 800), *column(100, 480, 80, 5), *column(520, 900, 80, 5)]
    boxes += [(150, 300, 850), *column(100, 480, 360, 5), *column(520, 900, 360, 5), (480, 560, 520)]
    assert_order(boxes)


def test_a_caption_below_a_figure_in_one_column() -> None:
    left = [*column(100, 480, 50, 4), (150, 400, 430), *column(100, 480, 460, 4)]
    assert_order(left + column(520, 900, 50, 18))


def test_what_stands_in_the_margin_hides_no_gutter() -> None:
    columns = column(100, 480, 80, 12) + column(520, 900, 80, 12)
    assert_order([(910, 10, 960), *columns, (100, 520, 300), (860, 520, 960)])


def test_a_gutter_that_only_headings_stand_at() -> None:
    items: list[Box] = []
    for at in range(3):
        items += [(510, 50 + 150 * at, 700), *column(540, 900, 80 + 150 * at, 4)]
    assert_order(column(100, 490, 50, 15) + items)


def test_entries_with_explanations_are_read_one_by_one() -> None:
    boxes: list[Box] = []
    for at in range(5):
        boxes += [(100, 50 + 110 * at, 320), *column(400, 900, 50 + 110 * at, 3)]
    assert_order(boxes)


def test_a_sidebar() -> None:
    assert_order(column(100, 260, 50, 6, 41) + column(300, 900, 50, 14))


def test_marks_of_a_list_stand_before_their_texts() -> None:
    boxes: list[Box] = []
    for at in range(8):
        boxes += [(100, 50 + 30 * at, 115), (140, 50 + 30 * at, 700)]
    assert_order(boxes)


def test_numbers_of_a_contents_page_stand_behind_their_titles() -> None:
    boxes: list[Box] = []
    for at in range(10):
        boxes += [(100, 50 + 30 * at, 300 + 20 * at), (860, 50 + 30 * at, 900)]
    assert_order(boxes)


def test_cells_of_a_table_are_read_row_by_row() -> None:
    lefts = (100, 300, 500, 700)
    assert_order([(left, 50 + 30 * row, left + 90) for row in range(6) for left in lefts])


def test_a_table_between_paragraphs() -> None:
    table = [(left, 200 + 30 * row, left + 90) for row in range(4) for left in (150, 400, 650)]
    assert_order([*column(100, 900, 50, 4), *table, *column(100, 900, 350, 4)])


def test_a_header_in_three_parts() -> None:
    assert_order([(100, 10, 180), (400, 10, 600), (820, 10, 900), *column(100, 900, 60, 10)])


@pytest.mark.parametrize("degrees", [-3, -1, 1, 3, 90, 180, 270, 87, 182])
def test_pages_that_lie_askew(degrees: float) -> None:
    assert_order(column(100, 900, 50, 12), degrees)
    assert_order([(300, 20, 700), *column(100, 480, 80, 12), *column(520, 900, 80, 12)], degrees)


def test_fragments_of_one_line_keep_their_order() -> None:
    boxes: list[Box] = []
    for at in range(6):
        boxes += [(100, 50 + 30 * at, 400), (412, 52 + 30 * at, 640), (655, 49 + 30 * at, 900)]
    assert_order(boxes)
