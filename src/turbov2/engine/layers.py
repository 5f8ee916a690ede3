"""A PDF page's own text as the lines that a model would have read. Pure."""

from __future__ import annotations

from itertools import groupby

from turbov2.engine.pictures import READING_DPI
from turbov2.media import Page
from turbov2.types import TextLine, TextWord

_PX_PER_POINT = READING_DPI / 72
# How far letters reach from the base line, in ems: about the same in all text faces.
_ASCENT, _X_HEIGHT, _DESCENT = 0.72, 0.48, 0.21
_ASCENDING = frozenset("bdfhijklt()[]{}|/\\@&?!%\"'")
_DESCENDING = frozenset("gjpqyQ()[]{}|/\\@,;$")


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
    left, right = min(word.left for word in words), max(word.right for word in words)
    text = " ".join(word.text for word in words)
    top, bottom = _reach(text, min(word.top for word in words), max(word.bottom for word in words))
    return TextLine(text, 1.0, (left, top, right, top, right, bottom, left, bottom), tuple(words))


def _reach(text: str, top: float, bottom: float) -> tuple[float, float]:
    """Returns the top and bottom that the line would have if it had letters of every height.

    The boxes of a layer's words end where their ink does, so that a line without a single "g" or "h" would
    pass for one in a smaller type.
    """
    ascends = any(char.isupper() or char.isdigit() or char in _ASCENDING or char > "\x7f" for char in text)
    descends = any(char in _DESCENDING or char > "\x7f" for char in text)
    em = (bottom - top) / ((_ASCENT if ascends else _X_HEIGHT) + (_DESCENT if descends else 0))
    above = 0 if ascends else (_ASCENT - _X_HEIGHT) * em
    return round(top - above, 1), round(bottom + (0 if descends else _DESCENT * em), 1)
