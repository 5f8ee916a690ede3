"""Lines of a page as blocks, plain text, Markdown and hOCR."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from turbov2.pages import writing
from turbov2.pages.hocr import HocrPage, hocr
from turbov2.pages.structure import blocks_of
from turbov2.types import TextLine, TextWord

XHTML = "{http://www.w3.org/1999/xhtml}"


def line(text: str, top: float, left: float = 100, right: float = 900, height: float = 20) -> TextLine:
    bottom = top + height
    words = text.split(" ")
    width = (right - left) / len(words)
    boxes = [
        TextWord(word, 0.987, left + width * at, top, left + width * (at + 0.8), bottom)
        for at, word in enumerate(words)
    ]
    return TextLine(text, 0.99, (left, top, right, top, right, bottom, left, bottom), tuple(boxes))


def plain_text(lines: list[TextLine]) -> str:
    return writing.plain_text(blocks_of(lines))


def markdown(lines: list[TextLine]) -> str:
    return writing.markdown(blocks_of(lines))


PAGE = [
    line("A large title", 20, right=500, height=40),
    line("The first paragraph begins here and goes", 100),
    line("on for some lines, hyphen-", 125),
    line("ated as printed.", 150, right=300),
    line("A second one is indented, as in", 175, left=130),
    line("books.", 200, right=200),
    line("A smaller heading", 250, right=400, height=26),
    line("• one item of a list that is", 300, left=120),
    line("longer than a line", 325, left=140, right=500),
    line("• another", 350, left=120, right=300),
]


def test_blocks() -> None:
    found = [(block.kind, block.level, len(block.rows)) for block in blocks_of(PAGE)]
    assert found == [
        ("heading", 1, 1),
        ("paragraph", 0, 3),
        ("paragraph", 0, 2),
        ("heading", 3, 1),
        ("list", 0, 2),
        ("list", 0, 1),
    ]


def test_plain_text() -> None:
    text = plain_text(PAGE)
    assert text.startswith(
        "A large title\n\nThe first paragraph begins here and goes\non for some lines, hyphen-\n"
    )
    assert text.endswith("A smaller heading\n\n• one item of a list that is\nlonger than a line\n\n• another")


def test_markdown() -> None:
    text = markdown(PAGE)
    assert text.startswith("# A large title\n\nThe first paragraph begins here and goes on for some lines, ")
    assert "hyphenated as printed." in text
    assert text.endswith(
        "\n\n### A smaller heading\n\n- one item of a list that is longer than a line\n- another"
    )


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("# no heading", r"\# no heading"),
        ("a * b _ c ` d", r"a \* b \_ c \` d"),
        ("<b>[x]", r"\<b>\[x\]"),
        ("R&D: &lt; &#38; &", r"R&D: \&lt; \&#38; &"),
        ("> 5", r"\> 5"),
        ("12. May", "12. May"),
        ("1999. May", r"1999\. May"),
    ],
)
def test_markdown_shows_what_was_printed(text: str, wanted: str) -> None:
    assert markdown([line(text, 10)]) == wanted


def test_numbered_items_keep_their_numbers() -> None:
    assert markdown([line("1. first", 10), line("2. second", 35)]) == "1. first\n2. second"
    assert markdown([line("a) first", 10), line("b) second", 35)]) == "- a) first\n- b) second"


def test_pieces_of_one_row_are_one_line() -> None:
    assert plain_text([line("left", 10, 100, 200), line("right", 12, 600, 700)]) == "left right"


def test_nothing() -> None:
    assert plain_text([]) == markdown([]) == ""


def test_hocr_is_valid_and_says_where_words_stand() -> None:
    odd = line('<&"> \x01 \ufffe', 500)
    document = hocr([HocrPage(2, 1000, 1400, blocks_of([*PAGE, odd]))], 'a "title" <&>', 'x "1"')
    root = ElementTree.fromstring(document)
    (page,) = root.iter(f"{XHTML}div")
    assert page.get("class") == "ocr_page"
    assert page.get("title") == "bbox 0 0 1000 1400; ppageno 2"
    spans = list(root.iter(f"{XHTML}span"))
    lines = [span for span in spans if span.get("class") == "ocr_line"]
    words = [span for span in spans if span.get("class") == "ocrx_word"]
    assert len(lines) == len(PAGE) + 1
    assert lines[0].get("title") == "bbox 100 20 500 60"
    assert words[0].text == "A"
    assert words[0].get("title") == "bbox 100 20 207 60; x_wconf 99"
    assert words[-3].text == '<&">'
    ids = [each.get("id") for each in root.iter() if each.get("id")]
    assert len(ids) == len(set(ids))
