"""Words with boxes as lines, tables, blocks, Markdown and chunks."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from turbov2.pages.chunks import chunks_of
from turbov2.pages.layout import lay_out
from turbov2.pages.lines import Line, Word, lines_of
from turbov2.pages.markup import markdown_of
from turbov2.pages.structure import blocks_of, joined
from turbov2.pages.tables import Table
from turbov2.types import Block

Placed = tuple[float, float, str]  # left, top, text; letters are 5 wide
PROSE = "one line of prose that is long enough"


class Sheet:
    """Places texts on a page in the order of the file."""

    def __init__(self) -> None:
        self.words: list[Word] = []
        self.numbers: list[int] = []

    def put(self, left: float, top: float, text: str, size: float = 10, *, is_new: bool = True) -> Sheet:
        number = self.numbers[-1] + is_new if self.numbers else 0
        for word in text.split():
            right = left + 0.5 * size * len(word)
            self.words.append(Word(word, left, top, right, top + size))
            self.numbers.append(number)
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
    def layout(self) -> list[Line | Table]:
        return lay_out(self.words, self.numbers)

    @property
    def texts(self) -> list[str]:
        return [piece.text for piece in self.layout]

    @property
    def table(self) -> Table | None:
        return next((piece for piece in self.layout if isinstance(piece, Table)), None)

    @property
    def blocks(self) -> tuple[Block, ...]:
        return blocks_of(self.layout)


def named(name: str, n: int) -> list[str]:
    return [f"{name}{index} {PROSE}" for index in range(n)]


def test_a_page_without_words() -> None:
    assert Sheet().layout == []
    assert blocks_of([]) == ()
    assert chunks_of((), 100) == ()
    assert markdown_of(()) == ""


def test_words_are_lines_cut_at_wide_gaps() -> None:
    sheet = Sheet().put(0, 0, "left part").put(200, 0, "right part", is_new=False).put(0, 20, "next")
    lines = lines_of(sheet.words, sheet.numbers)
    assert [(line.text, line.start) for line in lines] == [("left part", 0), ("right part", 2), ("next", 4)]


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
    assert sheet.texts[0] == sheet.texts[2] == PROSE
    assert sheet.table is not None
    assert sheet.table.rows == tuple(NUMBERS)
    assert sheet.table.markdown.splitlines()[:3] == [
        "| City | People | Area |",
        "| --- | --- | --- |",
        "| Paris | 2 102 650 | 105.4 |",
    ]
    assert sheet.table.box[:2] == (0, 30)


def test_an_empty_cell_stays_empty_and_bars_are_escaped() -> None:
    rows = [NUMBERS[0], ("a|b", "", "1"), ("c", "2", "3"), ("d", "4", "5")]
    sheet = Sheet()
    for index, row in enumerate(rows):
        cells = [(left, cell) for left, cell in zip((0, 120, 240), row, strict=True) if cell]
        for column, (left, cell) in enumerate(cells):
            sheet.put(left, 14 * index, cell, is_new=column == 0)
    assert sheet.table is not None
    assert sheet.table.rows[1] == ("a|b", "", "1")
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
    assert markdown_of(blocks).splitlines()[:3] == ["# The Title", "", "### A section"]


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


def test_what_looks_like_markup_is_escaped() -> None:
    blocks = (
        Block("paragraph", "a*b_c [d] <e> `f`", (0, 0, 1, 1)),
        Block("paragraph", "# none", (0, 0, 1, 1)),
        Block("paragraph", "12. May", (0, 0, 1, 1)),
        Block("list", "- a*b", (0, 0, 1, 1)),
    )
    assert markdown_of(blocks).split("\n\n") == [
        "a\\*b\\_c \\[d\\] \\<e> \\`f\\`", "\\# none", "12\\. May", "- a\\*b",
    ]  # fmt: skip


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
