"""Blocks as plain text and as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import pairwise

from turbov2.types import Block

# What would be markup at the begin of a line, or anywhere in it (CommonMark 0.31, 2.4, 2.5 and 4).
_AT_START = re.compile(r"^(#{1,6}(?=\s|$)|[-+*](?=\s)|>|={2,}$|-{3,}$|~{3,}|`{3,})")
_NUMBER_AT_START = re.compile(r"^(\d{1,9})([.)])(?=\s)")
_ANYWHERE = re.compile(r"([\\`*_\[\]<]|&(?=#?\w+;))")
_MARK = re.compile(r"(-|\d{1,9}[.)])\s+")
_CELL_GAP = "  "


def plain_text(blocks: Sequence[Block]) -> str:
    """Returns the lines of the page as they were printed, an empty line between blocks."""
    return "\n\n".join("\n".join(_rows(block)) for block in blocks)


def markdown(blocks: Sequence[Block]) -> str:
    """Returns headings, paragraphs, lists and tables; what would be taken for markup is escaped."""
    gaps = ["\n" if one.kind == other.kind == "list" else "\n\n" for one, other in pairwise(blocks)]
    return "".join(gap + _written(block) for gap, block in zip(["", *gaps], blocks, strict=False))


def _rows(block: Block) -> list[str]:
    gap = _CELL_GAP if block.kind == "table" else " "
    return [gap.join(line.text for line in row) for row in block.rows] or [block.text]


def _written(block: Block) -> str:
    match block.kind:
        case "heading":
            return f"{'#' * block.level} {_escaped(block.text)}"
        case "table":
            return block.text
        case "list":
            mark, text = _marked(block.text)
            return mark + ("\n" + " " * len(mark)).join(map(_escaped, text.split("\n")))
        case _:
            return "\\\n".join(map(_escaped, block.text.split("\n")))


def _marked(text: str) -> tuple[str, str]:
    """Returns Markdown's marker for an item, and its text; letters are no markers there, and stay in it."""
    mark = _MARK.match(text)
    return (f"{mark[1]} ", text[mark.end() :]) if mark else ("- ", text)


def _escaped(text: str) -> str:
    """Returns the text so that Markdown shows it as it is."""
    inner = _ANYWHERE.sub(r"\\\1", text)
    return _NUMBER_AT_START.sub(r"\1\\\2", _AT_START.sub(r"\\\1", inner))
