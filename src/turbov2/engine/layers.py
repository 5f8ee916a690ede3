"""A PDF page's own text as the lines that a model would have read, and lines at another scale. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from turbov2.engine.pictures import READING_DPI
from turbov2.media import Page
from turbov2.types import TextLine, TextWord

POINT_DPI = 72.0
_SHARED = 0.2  # of the lower word's height, at least, by which words of one line overlap
_BACK = (
    0.5  # heights of the higher one, at most, by which a word of a line begins before the one before it ends
)
# How far letters reach from the base line, in ems: about the same in all text faces.
_ASCENT, _X_HEIGHT, _DESCENT = 0.72, 0.48, 0.21
_ASCENDING = frozenset("bdfhijklt()[]{}|/\\@&?!%\"'")
_DESCENDING = frozenset("gjpqyQ()[]{}|/\\@,;$")


def page_size_px(page: Page) -> tuple[int, int]:
    """Returns the width and height that the page's picture would have."""
    scale = READING_DPI / POINT_DPI
    return round(page.width * scale), round(page.height * scale)


def lines_of(page: Page, dpi: float = READING_DPI) -> tuple[TextLine, ...]:
    """Returns the words of the layer, line by line in the file's order. dpi: of the pixels boxes are in.

    What the file has as one line is cut where it goes on at another height, or back to the left.
    """
    sides = (page.boxes.astype(float) * (dpi / POINT_DPI)).round(2).tolist()
    numbered = zip(page.lines.tolist(), page.words, sides, strict=True)
    return tuple(
        _line(words)
        for _, members in groupby(numbered, key=lambda word: word[0])
        for words in _level_runs([TextWord(text, 1.0, *box) for _, text, box in members])
    )


def _level_runs(words: Sequence[TextWord]) -> Iterator[list[TextWord]]:
    run = [words[0]]
    for word in words[1:]:
        last = run[-1]
        heights = word.bottom - word.top, last.bottom - last.top
        shared = min(word.bottom, last.bottom) - max(word.top, last.top)
        is_behind = word.left - last.right >= -_BACK * max(heights)
        if shared > _SHARED * min(heights) and is_behind:
            run.append(word)
        else:
            yield run
            run = [word]
    yield run


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


def scaled(line: TextLine, factor: float) -> TextLine:
    """Returns the line with boxes so many times as large."""
    if factor == 1.0:
        return line
    quad = tuple(round(side * factor, 1) for side in line.quad)
    words = tuple(
        TextWord(
            word.text,
            word.confidence,
            *(round(side * factor, 1) for side in (word.left, word.top, word.right, word.bottom)),
        )
        for word in line.words
    )
    return TextLine(line.text, line.confidence, quad, words)  # type: ignore[arg-type]
