"""A page's words, from its file or from OCR, as text, blocks and chunks. Pure; some milliseconds a page."""

from __future__ import annotations

from typing import NamedTuple

from turbov2.media import Page
from turbov2.pages.chunks import chunks_of
from turbov2.pages.layout import Layout, lay_out
from turbov2.pages.lines import Line, Word
from turbov2.pages.structure import blocks_of
from turbov2.types import Block, Box, Chunk, ReadResult, TextLine


class PageText(NamedTuple):
    """text: in reading order, lines as printed."""

    text: str
    blocks: tuple[Block, ...]
    chunks: tuple[Chunk, ...]


def text_of_layer(page: Page, chunk_chars: int) -> PageText:
    """Returns what the page's own text layer says."""
    words = [Word(text, *box) for text, box in zip(page.words, page.boxes.tolist(), strict=True)]
    return _page_text(lay_out(words, page.lines.tolist()), chunk_chars)


def text_of_lines(read: ReadResult, scale: float, chunk_chars: int) -> PageText:
    """Returns what was read. scale: units of the page per pixel of the upright picture."""
    return _page_text([_line(line, scale) for line in read.lines if line.text.strip()], chunk_chars)


def text_of_vision(vision: str, box: Box, chunk_chars: int) -> PageText:
    """Returns what a VLM wrote about the whole page."""
    parts = [part.strip() for part in vision.split("\n\n") if part.strip()]
    blocks = tuple(Block("paragraph", part, box) for part in parts)
    return PageText(vision, blocks, chunks_of(blocks, chunk_chars) if chunk_chars else ())


def _page_text(layout: Layout, chunk_chars: int) -> PageText:
    blocks = blocks_of(layout)
    text = "\n".join(piece.text for piece in layout)
    return PageText(text, blocks, chunks_of(blocks, chunk_chars) if chunk_chars else ())


def _line(line: TextLine, scale: float) -> Line:
    words = [(word.text, (word.left, word.top, word.right, word.bottom)) for word in line.words]
    words = words or [(line.text, _bounds(line))]
    return Line(tuple(Word(text, *(scale * side for side in box)) for text, box in words), printed=line.text)


def _bounds(line: TextLine) -> Box:
    xs, ys = line.quad[0::2], line.quad[1::2]
    return min(xs), min(ys), max(xs), max(ys)
