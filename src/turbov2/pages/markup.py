"""Blocks as Markdown."""

from __future__ import annotations

import re
from collections.abc import Sequence

from turbov2.types.documents import Block

_SPECIAL = re.compile(r"([\\`*_\[\]<])")
_LEADING = re.compile(r"^(#{1,6}(?=\s)|[+](?=\s)|>|\d{1,9}(?=[.)]\s)|-(?=\s)|={3,}$|-{3,}$)")


def markdown_of(blocks: Sequence[Block]) -> str:
    """Returns the blocks, an empty line between them, what would be taken for markup escaped."""
    return "\n\n".join(map(_text, blocks))


def _text(block: Block) -> str:
    match block.kind:
        case "heading":
            return f"{'#' * block.level} {_escaped(block.text)}"
        case "table":
            return block.text
        case "list":
            mark, _, rest = block.text.partition(" ")
            return f"{mark} {_escaped(rest)}"
        case _:
            lines = _escaped(block.text).split("\n")
            return "\\\n".join(_LEADING.sub(lambda found: _mark(found[0]), line) for line in lines)


def _escaped(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _mark(lead: str) -> str:
    return f"{lead}\\" if lead.isdigit() else f"\\{lead}"
