"""Pages as plain text and as Markdown. Line breaks, and hyphens at them, stay as printed."""

from __future__ import annotations

import re
from collections.abc import Sequence

from turbov2.pages.blocks import Block, blocks_of, list_marker
from turbov2.types import TextLine

# What would be markup at the begin of a line, or anywhere in it (CommonMark 0.31, 2.4 and 4).
_AT_START = re.compile(r"^(#{1,6}(?=\s|$)|[-+*](?=\s)|>|={2,}$|-{3,}$|~{3,}|`{3,})")
_NUMBER_AT_START = re.compile(r"^(\d{1,9})([.)])(?=\s)")
_ANYWHERE = re.compile(r"([\\`*_\[\]<])")


def plain_text(lines: Sequence[TextLine]) -> str:
    """Returns the rows of the page, an empty line between blocks."""
    return "\n\n".join("\n".join(row.text for row in block.rows) for block in blocks_of(lines))


def markdown(lines: Sequence[TextLine]) -> str:
    """Returns headings by the height of their lines, lists, and paragraphs with their line breaks."""
    blocks = blocks_of(lines)
    written = ""
    for before, block in zip([None, *blocks], blocks, strict=False):
        is_next_item = before is not None and before.kind == block.kind == "item"
        written += ("" if before is None else "\n" if is_next_item else "\n\n") + _written(block)
    return written


def _written(block: Block) -> str:
    texts = [row.text for row in block.rows]
    if block.kind == "heading":
        return "#" * block.level + " " + _escaped(" ".join(texts))
    if block.kind == "item":
        mark, first = _marked(texts[0])
        return mark + ("\n" + " " * len(mark)).join(map(_escaped, [first, *texts[1:]]))
    return "\n".join(map(_escaped, texts))


def _marked(text: str) -> tuple[str, str]:
    """Returns Markdown's marker for the item, and its text; letters are no markers there, and stay in it."""
    printed = list_marker(text)
    if printed[0].isalpha():
        return "- ", text
    mark = printed.strip() if printed[0].isdigit() else "-"
    return f"{mark} ", text[len(printed) :]


def _escaped(text: str) -> str:
    """Returns the text so that Markdown shows it as it is."""
    inner = _ANYWHERE.sub(r"\\\1", text)
    return _NUMBER_AT_START.sub(r"\1\\\2", _AT_START.sub(r"\\\1", inner))
