"""Lines with boxes as rows, tables, blocks, text and chunks."""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Sequence

import pytest

from turbov2.pages.chunks import chunks_of
from turbov2.pages.layout import Layout, lay_out
from turbov2.pages.lines import Row, level_lines
from turbov2.pages.structure import blocks_of, joined
from turbov2.pages.tables import Table
from turbov2.pages.writing import markdown, plain_text
from turbov2.types import Block, TextLine, TextWord

PROSE = "one line of prose that is long enough"


def text_line(words: Sequence[TextWord]) -> TextLine:
    left, right = words[0].left, words[-1].right
    top, bottom = words[0].top, words[0].bottom
    quad = (left, top, right, top, right, bottom, left, bottom)
    return TextLine(" ".join(word.text for word in words), 1.0, quad, tuple(words))


class Sheet:
    """Places texts on a page in the order of the file; letters are half as wide as high."""

    def __init__(self) -> None:
        self.lines: list[list[TextWord]] = []

    def put(self, left: float, top: float, text: str, size: float = 10, *, is_new: bool = True) -> Sheet:
        if is_new:
            self.lines.append([])
        for word in text.split():
            right = left + 0.5 * size * len(word)
            self.lines[-1].append(TextWord(word, 1.0, left, top, right, top + size))
            left = right + 0.3 * size
        return self

    def column(self, left: float, top: float, texts: Sequence[str]) -> Sheet:
        for index, text in enumerate(texts):
            self.put(left, top + 12 * index, text)
        return self

    def rows(self, top: float, lefts: Sequence[float], rows: Sequence[Sequence[str]]) -> Sheet:
        for index, row in enumerate(rows):
            for column, (left, cell) in enumerate(zip(lefts, row, strict=True)):
                self.put(left, top + 14 * index, cell, is_new=column == 0)
        return self

    @property
    def printed(self) -> list[TextLine]:
        return [text_line(words) for words in self.lines]

    @property
    def layout(self) -> Layout:
        return lay_out(self.printed, in_file_order=True)

    @property
    def texts(self) -> list[str]:
        rows = [[piece] if isinstance(piece, Row) else piece.rows for piece in self.layout]
        return [row.text for each in rows for row in each]

    @property
    def table(self) -> Table | None:
        return next((piece for piece in self.layout if isinstance(piece, Table)), None)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return blocks_of(self.printed, in_file_order=True)


def named(name: str, n: int) -> list[str]:
    return [f"{name}{index} {PROSE}" for index in range(n)]


def test_a_page_without_words() -> None:
    assert Sheet().layout == []
    assert blocks_of([]) == ()
    assert chunks_of((), 100) == ()
    assert markdown(()) == plain_text(()) == ""


def test_lines_are_cut_at_wide_gaps() -> None:
    sheet = Sheet().put(0, 0, "left part").put(200, 0, "right part", is_new=False).put(0, 20, "next")
    lines = level_lines(sheet.printed)
    assert [(line.text, line.left, line.place) for line in lines] == [
        ("left part", 0, 0), ("right part", 200, 0), ("next", 0, 1),
    ]  # fmt: skip
    assert lines[1].printed.quad == (200, 0, lines[1].right, 0, lines[1].right, 10, 200, 10)
    assert [word.text for word in lines[1].printed.words] == ["right", "part"]


@pytest.mark.parametrize("order", ["by column", "by row"])
def test_columns_are_read_downwards_whatever_the_order_of_the_file(order: str) -> None:
    left, right = named("a", 6), named("b", 6)
    sheet = Sheet()
    if order == "by column":
        sheet.column(0, 0, left).column(300, 0, right)
    else:
        for index in range(6):
            sheet.put(0, 12 * index, left[index]).put(300, 12 * index, right[index], is_new=False)
    assert sheet.texts == [*left, *right]


def test_columns_whose_lines_do_not_face_each_other() -> None:
    sheet = Sheet().column(0, 0, named("a", 6)).column(300, 5, named("b", 6))
    assert sheet.texts == [*named("a", 6), *named("b", 6)]


def test_three_columns() -> None:
    sheet = Sheet().column(0, 0, named("a", 5)).column(300, 0, named("b", 5)).column(600, 0, named("c", 5))
    assert sheet.texts == [*named("a", 5), *named("b", 5), *named("c", 5)]


def test_a_heading_over_columns_comes_first_and_a_footer_last() -> None:
    wide = "a heading that stands over both columns and parts them from what was before them"
    sheet = Sheet().put(0, 150, f"{wide} last").put(0, 0, wide)
    sheet.column(0, 20, named("a", 5)).column(300, 20, named("b", 5))
    assert sheet.texts == [wide, *named("a", 5), *named("b", 5), f"{wide} last"]


def test_columns_between_two_wide_lines_are_read_in_parts() -> None:
    wide = " ".join(["wide"] * 20)
    sheet = Sheet().column(0, 0, named("a", 3)).column(300, 0, named("b", 3)).put(0, 40, wide)
    sheet.column(0, 60, named("c", 3)).column(300, 60, named("d", 3))
    assert sheet.texts == [*named("a", 3), *named("b", 3), wide, *named("c", 3), *named("d", 3)]


def test_short_pairs_are_read_across() -> None:
    sheet = Sheet().rows(0, (0, 200), [("Name:", "Ada"), ("Born:", "London"), ("Died:", "London")])
    assert sheet.texts == ["Name: Ada", "Born: London", "Died: London"]
    assert sheet.blocks[0].text == "Name: Ada\nBorn: London\nDied: London"


NUMBERS = [("City", "People", "Area"), ("Paris", "2 102 650", "105.4"), ("Rome", "2 748 109", "1 285")]
NUMBERS += [("Oslo", "709 037", "454")]


def test_a_table_of_numbers() -> None:
    sheet = Sheet().put(0, 0, PROSE).rows(30, (0, 120, 240), NUMBERS).put(0, 120, PROSE)
    assert sheet.texts[0] == sheet.texts[-1] == PROSE
    assert sheet.table is not None
    assert sheet.table.cells == tuple(NUMBERS)
    assert sheet.table.markdown.splitlines()[:3] == [
        "| City | People | Area |",
        "| --- | --- | --- |",
        "| Paris | 2 102 650 | 105.4 |",
    ]
    assert sheet.blocks[1].box[:2] == (0, 30)
    assert plain_text(sheet.blocks[1:2]).splitlines()[1] == "Paris  2 102 650  105.4"


def test_an_empty_cell_stays_empty_and_bars_are_escaped() -> None:
    rows = [NUMBERS[0], ("a|b", "", "1"), ("c", "2", "3"), ("d", "4", "5")]
    sheet = Sheet()
    for index, row in enumerate(rows):
        cells = [(left, cell) for left, cell in zip((0, 120, 240), row, strict=True) if cell]
        for column, (left, cell) in enumerate(cells):
            sheet.put(left, 14 * index, cell, is_new=column == 0)
    assert sheet.table is not None
    assert sheet.table.cells[1] == ("a|b", "", "1")
    assert "| a\\|b |  | 1 |" in sheet.table.markdown


@pytest.mark.parametrize(
    "rows",
    [
        NUMBERS[:2],  # too few rows
        [("a word", "another", "third"), ("some", "text", "here"), ("and", "no", "number")],
        [("1", "Introduction", "1"), ("2", "Methods", "14"), ("3", "Results", "30")],  # contents
        [("1.1 A ....", "....", "1"), ("1.2 B ....", "....", "2"), ("1.3 C ....", "....", "5")],
        [("1", "14.9 64.9", "A"), ("2", "14.7 63.1", "B"), ("3", "13.9 66.0", "C")],  # merged columns
        [(f"{PROSE} {n}", f"{PROSE}", f"{n}") for n in range(4)],  # prose with numbers at its side
    ],
)
def test_what_is_not_surely_a_table_is_none(rows: list[tuple[str, ...]]) -> None:
    assert Sheet().rows(0, (0, 300, 600), rows).table is None


def test_two_columns_are_no_table() -> None:
    assert Sheet().rows(0, (0, 120), [row[:2] for row in NUMBERS]).table is None


def test_headings_paragraphs_and_lists() -> None:
    sheet = Sheet().put(0, 0, "The Title", 20).put(0, 30, "A section", 13)
    sheet.column(0, 50, named("a", 3)).column(0, 100, named("b", 2))
    sheet.put(0, 124, "• first point").put(0, 136, "• second point").put(0, 148, "1. numbered")
    blocks = sheet.blocks
    assert [(block.kind, block.level) for block in blocks] == [
        ("heading", 1), ("heading", 3), ("paragraph", 0), ("paragraph", 0),
        ("list", 0), ("list", 0), ("list", 0),
    ]  # fmt: skip
    assert blocks[2].text == " ".join(named("a", 3))
    assert blocks[2].box == (0, 50, blocks[2].box[2], 84)
    assert [block.text for block in blocks[4:]] == ["- first point", "- second point", "1. numbered"]
    assert markdown(blocks).splitlines()[:3] == ["# The Title", "", "### A section"]


def test_an_indent_begins_a_paragraph() -> None:
    sheet = Sheet().column(0, 0, named("a", 2)).put(20, 24, "indented " + PROSE).put(0, 36, PROSE)
    assert len(sheet.blocks) == 2


@pytest.mark.parametrize(
    ("text", "line", "whole"),
    [
        ("an exam-", "ple of it", "an example of it"),
        ("the Franco-", "german war", "the Francogerman war"),
        ("A-", "bomb", "A-bomb"),
        ("well", "known", "well known"),
        ("pages 1-", "2", "pages 1- 2"),
        ("漢字", "仮名", "漢字仮名"),
    ],
)
def test_broken_words_are_joined(text: str, line: str, whole: str) -> None:
    assert joined(text, line) == whole


def block(kind: str, text: str, top: float = 0) -> Block:
    return Block(kind, text, (0, top, 10, top + 10), level=int(kind == "heading"))  # type: ignore[arg-type]


def test_chunks_begin_at_headings_and_name_them() -> None:
    blocks = (
        block("paragraph", "before", 0), block("heading", "One", 20), block("heading", "Sub", 40),
        block("paragraph", "under one", 60), block("heading", "Two", 80),
        block("paragraph", "under two", 100),
    )  # fmt: skip
    chunks = chunks_of(blocks, 100)
    assert [(chunk.heading, chunk.text) for chunk in chunks] == [
        ("", "before"), ("One", "One\n\nSub\n\nunder one"), ("Two", "Two\n\nunder two"),
    ]  # fmt: skip
    assert chunks[1].box == (0, 20, 10, 70)


def test_a_table_is_a_chunk_of_its_own_and_its_heading_row_is_repeated() -> None:
    head = "| a | b |\n| --- | --- |"
    rows = [f"| row {n} | {n} |" for n in range(10)]
    table = "\n".join([head, *rows])
    blocks = (block("paragraph", "text"), block("table", table), block("paragraph", "more"))
    assert [chunk.text for chunk in chunks_of(blocks, 1000)] == ["text", table, "more"]
    parts = [chunk.text for chunk in chunks_of(blocks, 80)][1:-1]
    assert all(part.startswith(head) and len(part) <= 80 for part in parts)
    assert [row for part in parts for row in part.split("\n")[2:]] == rows


@pytest.mark.parametrize("max_chars", [50, 77, 200, 1000])
@pytest.mark.parametrize(
    "text", ["A sentence. " * 60, "word " * 300, "x" * 999, "漢字。" * 200, "| a |\n" * 90]
)
def test_no_chunk_is_longer_than_asked_and_nothing_is_lost(text: str, max_chars: int) -> None:
    chunks = chunks_of((block("heading", "Of it"), block("paragraph", text.strip())), max_chars)
    assert max(len(chunk.text) for chunk in chunks) <= max_chars
    whole = "".join("".join(chunk.text.split()) for chunk in chunks)
    assert whole == "Ofit" + "".join(text.split())


def test_long_paragraphs_are_cut_between_sentences() -> None:
    chunks = chunks_of((block("paragraph", "First sentence. Second one! Third one? Fourth."),), 28)
    assert [chunk.text for chunk in chunks] == ["First sentence. Second one!", "Third one? Fourth."]


def random_sheet(seed: int) -> Sheet:
    """Words of any size anywhere, some of them in columns and in rows of cells."""
    chance = random.Random(seed)
    sheet = Sheet()
    for n in range(chance.randrange(60)):
        size = chance.choice((6, 10, 10, 10, 24))
        words = " ".join(f"w{n}.{at}" for at in range(chance.randrange(1, 9)))
        sheet.put(chance.choice((0, 20, 300, chance.randrange(600))), chance.randrange(800), words, size)
    for n in range(chance.randrange(8)):
        cells = [str(chance.randrange(1000)) for _ in range(4)]
        sheet.rows(820 + 14 * n, (0, 150, 300, 450), [cells])
    return sheet


@pytest.mark.parametrize("seed", range(40))
@pytest.mark.parametrize("in_file_order", [False, True])
def test_no_word_is_lost_or_told_twice(seed: int, in_file_order: bool) -> None:
    sheet = random_sheet(seed)
    blocks = blocks_of(sheet.printed, in_file_order=in_file_order)
    placed = Counter(word for words in sheet.lines for word in words)
    assert (
        Counter(word for block in blocks for row in block.rows for line in row for word in line.words)
        == placed
    )
    texts = Counter(word.text for words in sheet.lines for word in words)
    assert Counter(plain_text(blocks).split()) == texts
    told = Counter(markdown(blocks).replace("\\", "").replace("|", " ").replace("---", " ").split())
    assert not texts - told


@pytest.mark.parametrize("seed", range(10))
def test_the_order_in_which_lines_are_found_does_not_matter(seed: int) -> None:
    sheet = Sheet().column(0, 0, named("a", 6)).column(300, 0, named("b", 6)).rows(90, (0, 120, 240), NUMBERS)
    printed = sheet.printed
    random.Random(seed).shuffle(printed)
    assert blocks_of(printed) == blocks_of(sheet.printed)


def long_column(n: int) -> Sheet:
    return Sheet().column(0, 0, [PROSE] * n)


def large_grid(n: int) -> Sheet:
    sheet = Sheet()
    for at in range(n):
        sheet.put(40 * (at % 40) + at % 3, 12 * (at // 40) + at % 4, "abc", size=8)
    return sheet


def long_rows(n: int) -> Sheet:
    sheet = Sheet()
    for at in range(n):
        sheet.put(40 * (at // 3), 14 * (at % 3), "12", size=8)
    return sheet


@pytest.mark.parametrize("draw", [long_column, large_grid, long_rows])
def test_a_page_takes_its_lines_in_time(draw: Callable[[int], Sheet]) -> None:
    def seconds(n: int) -> float:
        lines = draw(n).printed
        began_s = time.process_time()
        assert chunks_of(blocks_of(lines), 100_000)
        return time.process_time() - began_s

    few_s = min(seconds(400) for _ in range(3))
    assert seconds(3_200) < 24 * few_s  # each line against each would be 64
