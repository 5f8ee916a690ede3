"""A page's words, from its file or from OCR, as text, blocks and chunks. Pure; some milliseconds a page."""

from __future__ import annotations

from typing import NamedTuple

from msgspec.structs import replace

from turbov2.engine.layers import POINT_DPI, lines_of, scaled
from turbov2.media import Page
from turbov2.pages.chunks import chunks_of
from turbov2.pages.structure import blocks_of
from turbov2.pages.writing import plain_text
from turbov2.types import Block, Box, Chunk, ReadResult


class PageText(NamedTuple):
    """text: in reading order, lines as printed."""

    text: str
    blocks: tuple[Block, ...]
    chunks: tuple[Chunk, ...]


def text_of_layer(page: Page, chunk_chars: int) -> PageText:
    """Returns what the page's own text layer says."""
    return _page_text(blocks_of(lines_of(page, POINT_DPI), in_file_order=True), chunk_chars)


def text_of_read(read: ReadResult, scale: float, chunk_chars: int) -> PageText:
    """Returns what was read. scale: units of the page per pixel of the upright picture."""
    return _page_text(tuple(_scaled(block, scale) for block in read.blocks), chunk_chars)


def text_of_vision(vision: str, box: Box, chunk_chars: int) -> PageText:
    """Returns what a VLM wrote about the whole page."""
    parts = [part.strip() for part in vision.split("\n\n") if part.strip()]
    blocks = tuple(Block("paragraph", part, box) for part in parts)
    return PageText(vision, blocks, chunks_of(blocks, chunk_chars) if chunk_chars else ())


def _page_text(blocks: tuple[Block, ...], chunk_chars: int) -> PageText:
    return PageText(plain_text(blocks), blocks, chunks_of(blocks, chunk_chars) if chunk_chars else ())


def _scaled(block: Block, factor: float) -> Block:
    rows = tuple(tuple(scaled(line, factor) for line in row) for row in block.rows)
    left, top, right, bottom = (round(factor * side, 1) for side in block.box)
    return replace(block, box=(left, top, right, bottom), rows=rows)
