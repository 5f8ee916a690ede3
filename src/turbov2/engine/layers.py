"""A PDF page's own text as the lines that a model would have read. Pure."""

from __future__ import annotations

from itertools import groupby

from turbov2.engine.pictures import READING_DPI
from turbov2.media import Page
from turbov2.types import TextLine, TextWord

_PX_PER_POINT = READING_DPI / 72


def page_size_px(page: Page) -> tuple[int, int]:
    """Returns the width and height that the page's picture would have."""
    return round(page.width * _PX_PER_POINT), round(page.height * _PX_PER_POINT)


def lines_of(page: Page) -> tuple[TextLine, ...]:
    """Returns the words of the layer, line by line in the file's order, in pixels of the page's picture.

    The order is left as it is: programs that write PDFs write text in the order it is read.
    """
    sides = (page.boxes * _PX_PER_POINT).round(1).tolist()
    numbered = zip(page.lines.tolist(), page.words, sides, strict=True)
    return tuple(
        _line([TextWord(text, 1.0, *box) for _, text, box in members])
        for _, members in groupby(numbered, key=lambda word: word[0])
    )


def _line(words: list[TextWord]) -> TextLine:
    left, top = min(word.left for word in words), min(word.top for word in words)
    right, bottom = max(word.right for word in words), max(word.bottom for word in words)
    text = " ".join(word.text for word in words)
    return TextLine(text, 1.0, (left, top, right, top, right, bottom, left, bottom), tuple(words))
