"""Lines as the headings, paragraphs, list items and tables of a page, in reading order."""

from __future__ import annotations

import re
from collections.abc import Sequence

from turbov2.pages.layout import lay_out
from turbov2.pages.lines import Row, around, bounds_of, median_height
from turbov2.pages.tables import Table
from turbov2.types import Block, TextLine
from turbov2.types.documents import BlockKind

_HEADING_SCALE = 1.2  # of the usual line height
_LEVEL_SCALES = (1.8, 1.45)  # from which a heading is of level 1, of level 2
_MAX_HEADING_WORDS = 16
_SENTENCE_END = "."
# Distances are in usual line heights.
_MOST_PITCH = 2.2  # of two lines of one block, from bottom to bottom
_PARAGRAPH_PITCH = 1.35  # by how much a block's first line is further down than the lines before are apart
_INDENT = 1.0
_MOST_ROWS = 256  # of one block: no paragraph has more, and each row is compared with all before it
_SHORT = 4.0  # a line that ends a sentence this far before the block's right edge ends its paragraph
_ITEM = re.compile(r"(?:[•●○◦▪■‣∙·*–—-]|\(?\d{1,2}[.)]|\(?[a-z][.)])\s")
_BULLET = re.compile(r"^[•●○◦▪■‣∙·*–—]\s*")
_LETTERED = re.compile(r"[^\W\d_]{2,}")
_UNSPACED = re.compile("[\u3000-\u30ff\u3400-\u9fff\uff00-\uffef]")  # Chinese and Japanese
_HYPHENATED = re.compile(r"[^\W\d_]-$")


def blocks_of(lines: Sequence[TextLine], *, in_file_order: bool = False) -> tuple[Block, ...]:
    """Returns the blocks of a page. A word broken at a line's end is joined again in a block's text.

    lines: in any order. in_file_order: they stand in one that somebody wrote; see `lay_out`.
    """
    layout = lay_out(lines, in_file_order=in_file_order)
    body = median_height([line for piece in layout if isinstance(piece, Row) for line in piece.lines])
    found: list[Block] = []
    run: list[Row] = []
    for piece in layout:
        if run and (isinstance(piece, Table) or _begins(run, piece, body)):
            found.append(_block(run, body))
            run = []
        if isinstance(piece, Table):
            cells = tuple(tuple(line.printed for line in row.lines) for row in piece.rows)
            found.append(_around("table", piece.markdown, cells))
        else:
            run.append(piece)
    return (*found, _block(run, body)) if run else tuple(found)


def _begins(run: Sequence[Row], row: Row, body: float) -> bool:
    """Returns whether the row begins a block of its own."""
    if len(run) == _MOST_ROWS:
        return True
    last, first = run[-1], run[0]
    level = _level(last, body)
    if level != _level(row, body) or _ITEM.match(row.text):
        return True
    pitch = row.bottom - last.bottom
    is_beside = row.left > last.right or row.right < min(each.left for each in run)
    if not 0 < pitch <= _MOST_PITCH * max(body, row.height) or is_beside:
        return True
    if len(run) > 1 and pitch > _PARAGRAPH_PITCH * (last.bottom - run[-2].bottom):
        return True
    if level or _ITEM.match(first.text):
        return False
    right = max(row.right, *(each.right for each in run))
    if last.right < right - _SHORT * body and last.text.endswith(_SENTENCE_END):
        return True
    margin = min(each.left for each in run[1:]) if len(run) > 1 else last.left
    return row.left - margin > _INDENT * body


def _level(row: Row, body: float) -> int:
    """Returns the level of a heading, 0 for other rows."""
    words = row.text.split()
    if row.height < _HEADING_SCALE * body or len(words) > _MAX_HEADING_WORDS:
        return 0
    n_lettered = sum(_LETTERED.search(word) is not None for word in words)
    if not row.text[0].isalnum() or 2 * n_lettered < len(words):
        return 0
    return next((n for n, scale in enumerate(_LEVEL_SCALES, 1) if row.height >= scale * body), 3)


def _block(run: Sequence[Row], body: float) -> Block:
    text, rows = _running_text(run), tuple(row.printed for row in run)
    if level := _level(run[0], body):
        return _around("heading", text, rows, level)
    if _ITEM.match(run[0].text):
        return _around("list", _BULLET.sub("- ", text), rows)
    return _around("paragraph", text, rows)


def _around(kind: BlockKind, text: str, rows: tuple[tuple[TextLine, ...], ...], level: int = 0) -> Block:
    return Block(kind, text, around(bounds_of(line) for row in rows for line in row), level, rows)


def _running_text(run: Sequence[Row]) -> str:
    """Returns the rows as running text; those with cells stay on lines of their own."""
    text = run[0].text
    for last, row in zip(run, run[1:], strict=False):
        is_apart = last.has_cells or row.has_cells
        text = f"{text}\n{row.text}" if is_apart else joined(text, row.text)
    return text


def joined(text: str, line: str) -> str:
    """Returns both as running text; a hyphen between two small letters at the line's end goes."""
    if _HYPHENATED.search(text) and line[:1].islower():
        return (text[:-1] if text[-2].islower() else text) + line
    is_unspaced = _UNSPACED.search(text[-1:]) and _UNSPACED.search(line[:1])
    return f"{text}{line}" if is_unspaced else f"{text} {line}"
