"""Reading pages: what is asked, what is answered."""

from __future__ import annotations

from typing import Literal

import msgspec

from turbov2.types.documents import Block, PageError
from turbov2.types.images import TextLine

TextSource = Literal["text_layer", "ocr"]


class ReadRequest(msgspec.Struct, frozen=True):
    """A page image, or a document of which page `page` is meant, from 0. `model` is a name of the catalogue.

    use_text_layer: a PDF page's own text is taken where it is sound, and only other pages are looked at.
    is_partial_ok: of several pages, one that cannot be read comes with its error and the others go on.
    """

    model: str
    payload: bytes  # the file as it came
    page: int = 0
    password: str | None = None
    use_text_layer: bool = True
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever
    is_partial_ok: bool = False


class ReadResult(msgspec.Struct, frozen=True):
    """The answer: a page's blocks in reading order.

    Boxes are in pixels of the upright image, `width_px` by `height_px`; a PDF's page counts as one of
    150 dpi, wherever its text came from.
    turned_degrees: by how much, clockwise, the page was turned to be read; boxes are of the page as it came.
    position, n_wanted: which of how many pages asked for. error: why it has no text, and perhaps no size.
    """

    model: str  # catalogue name of the model that was asked
    source: TextSource | None
    blocks: tuple[Block, ...]
    turned_degrees: int
    format: str  # of the file, by its first bytes
    page: int
    n_pages: int
    width_px: int
    height_px: int
    load_ns: int
    total_ns: int
    position: int = 0
    n_wanted: int = 1
    error: PageError | None = None
    decode_ns: int = 0
    queue_ns: int = 0
    inference_ns: int = 0
    n_tokens: int = 0  # an image has none; the ledger counts them
    tokenize_ns: int = 0

    @property
    def lines(self) -> list[TextLine]:
        """The lines of its blocks, in reading order."""
        return [line for block in self.blocks for row in block.rows for line in row]
