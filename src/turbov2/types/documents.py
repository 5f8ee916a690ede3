"""Reading documents: what is asked of a file, and what becomes of each page."""

from __future__ import annotations

from typing import Literal

import msgspec

from turbov2.types.embed import EmbedResult, OutputKind
from turbov2.types.images import Label, TextLine

Box = tuple[float, float, float, float]  # left, top, right, bottom, from the upper left corner of the page
BlockKind = Literal["heading", "paragraph", "list", "table"]
Way = Literal["text", "ocr", "vlm", "text+vlm"]


class DocumentRequest(msgspec.Struct, frozen=True):
    """A file to be read page by page. Models are names or aliases of the catalogue.

    pages: as people write them, "1-3,7"; empty for all. max_pages: no more than the first so many of them.
    first: how many of them to leave out, because they were read before.
    classifier: asked of each page; None: none is. ocr_model: reads pages without a sound text layer.
    vlm: looks at pages that are classified HIGH; None: none does.
    chunk_chars: pages are also given as chunks of at most so many characters; 0: they are not.
    embed_model: gives each chunk's `outputs`; None: none does.
    """

    payload: bytes
    pages: str = ""
    max_pages: int | None = None
    first: int = 0
    password: str | None = None
    classifier: str | None = "vl-classifier"
    ocr_model: str = "rapidocr"
    vlm: str | None = None
    chunk_chars: int = 0
    embed_model: str | None = None
    outputs: tuple[OutputKind, ...] = ("dense",)
    keep_alive_s: float | None = None  # of all models: None: as said last, at first the default


class Judgement(msgspec.Struct, frozen=True):
    """What the page classifier said. `label` is HIGH from `threshold` on."""

    model: str
    label: Label
    p_high: float
    threshold: float


class PageRoute(msgspec.Struct, frozen=True):
    """How a page was read, and why.

    text_layer: the verdict on the file's own text: "sound", what is wrong with it, or "none".
    judgement: None where no classifier was asked, or none is here; then `reason` says so.
    """

    way: Way
    reason: str
    text_layer: str
    judgement: Judgement | None = None


class Block(msgspec.Struct, frozen=True):
    """A part of a page. text: running, of a table as Markdown. level: of a heading, from 1; else 0.

    rows: its lines as they were printed, those side by side in one row; none of what nobody printed.
    """

    kind: BlockKind
    text: str
    box: Box
    level: int = 0
    rows: tuple[tuple[TextLine, ...], ...] = ()


class Chunk(msgspec.Struct, frozen=True):
    """A part of a page of about one subject. box: around it. heading: the last one on the page before it."""

    text: str
    box: Box
    heading: str = ""


class PageError(msgspec.Struct, frozen=True):
    """Why a page could not be read; code and message are a TurboError's."""

    code: str
    message: str


class PageTimes(msgspec.Struct, frozen=True):
    """Nanoseconds of each stage; 0 for one that was not needed. Waiting in queues counts."""

    decode_ns: int = 0
    classify_ns: int = 0
    text_ns: int = 0
    ocr_ns: int = 0
    vlm_ns: int = 0
    embed_ns: int = 0
    total_ns: int = 0


class PageResult(msgspec.Struct, frozen=True):
    """One page. What comes before an error is kept.

    index: of the page in the document, from 0. position, n_wanted: which of how many pages asked for.
    width, height: upright, in points for a PDF and in pixels for an image; boxes are in the same unit.
    text: in reading order, lines as printed. vision: what the VLM wrote. chunks: in reading order.
    embedding: of the chunks, row by row; None if there are none.
    """

    index: int
    position: int
    n_wanted: int
    n_pages: int
    format: str
    width: float = 0.0
    height: float = 0.0
    route: PageRoute | None = None  # None: it failed before one was chosen
    text: str = ""
    vision: str = ""
    blocks: tuple[Block, ...] = ()
    chunks: tuple[Chunk, ...] = ()
    embedding: EmbedResult | None = None
    times: PageTimes = PageTimes()
    error: PageError | None = None
