"""Lines in reading order as headings, paragraphs, list items and tables."""

from __future__ import annotations

import re
from collections.abc import Sequence

from turbov2.pages.layout import Layout
from turbov2.pages.lines import Line, around, median_height
from turbov2.pages.tables import Table
from turbov2.types.documents import Block

_HEADING_SCALE = 1.25  # of the usual line height; a line of body text with brackets reaches 1.15
_LEVEL_SCALES = (1.9, 1.5)  # from which a heading is of level 1, of level 2
_MAX_HEADING_WORDS = 16
_PARAGRAPH_GAP = 0.9  # line heights between two lines of different paragraphs
_INDENT = 1.0
_ITEM = re.compile(r"(?:[•●○◦▪■‣∙·*–—-]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s")
_BULLET = re.compile(r"^[•●○◦▪■‣∙·*–—]\s*")
_LETTERED = re.compile(r"[^\W\d_]{2,}")
_UNSPACED = re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")  # Chinese and Japanese
_HYPHENATED = re.compile(r"[^\W\d_]-$")


def blocks_of(layout: Layout) -> tuple[Block, ...]:
    """Returns the blocks of a page, in order. A word broken at a line's end is joined again."""
    body = median_height([line for line in layout if isinstance(line, Line)])
    found: list[Block] = []
    run: list[Line] = []

    def close() -> None:
        if run:
            found.append(_block(run, body))
            run.clear()

    for piece in layout:
        if isinstance(piece, Table):
            close()
            found.append(Block("table", piece.markdown, piece.box))
            continue
        if run and _begins(run, piece, body):
            close()
        run.append(piece)
    close()
    return tuple(found)


def _begins(run: Sequence[Line], line: Line, body: float) -> bool:
    """Returns whether the line begins a block of its own."""
    last, first = run[-1], run[0]
    level = _level(last, body)
    if level != _level(line, body) or _ITEM.match(line.text):
        return True
    gap = line.top - last.bottom
    if (
        gap > _PARAGRAPH_GAP * body
        or line.bottom < last.top
        or line.left > max(word.right for word in last.words)
    ):
        return True
    if level or _ITEM.match(first.text):
        return False
    margin = min(each.left for each in run[1:]) if len(run) > 1 else last.left
    return line.left - margin > _INDENT * body


def _level(line: Line, body: float) -> int:
    """Returns the level of a heading, 0 for other lines."""
    text = line.text
    if line.height < _HEADING_SCALE * body or len(line.words) > _MAX_HEADING_WORDS:
        return 0
    n_lettered = sum(_LETTERED.search(word.text) is not None for word in line.words)
    if not text[0].isalnum() or 2 * n_lettered < len(line.words):
        return 0
    return next((n for n, scale in enumerate(_LEVEL_SCALES, 1) if line.height >= scale * body), 3)


def _block(run: Sequence[Line], body: float) -> Block:
    box = around(line.box for line in run)
    text = _running_text(run)
    if level := _level(run[0], body):
        return Block("heading", text, box, level)
    if _ITEM.match(run[0].text):
        return Block("list", _BULLET.sub("- ", text), box)
    return Block("paragraph", text, box)


def _running_text(run: Sequence[Line]) -> str:
    """Returns the lines as running text; rows of cells stay on lines of their own."""
    text = run[0].text
    for last, line in zip(run, run[1:], strict=False):
        text = f"{text}\n{line.text}" if last.is_row or line.is_row else joined(text, line.text)
    return text


def joined(text: str, line: str) -> str:
    """Returns both as running text; a hyphen between two small letters at the line's end goes."""
    if _HYPHENATED.search(text) and line[:1].islower():
        return (text[:-1] if text[-2].islower() else text) + line
    is_unspaced = _UNSPACED.search(text[-1:]) and _UNSPACED.search(line[:1])
    return f"{text}{line}" if is_unspaced else f"{text} {line}"
