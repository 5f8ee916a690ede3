"""Looking at page images: what is asked, what a backend sees, what is answered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import msgspec

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]

Label = Literal["LOW", "HIGH"]
Quad = tuple[float, float, float, float, float, float, float, float]


class ClassifyTask(msgspec.Struct, frozen=True, tag="classify"):
    """Asks how complex the page is."""


class ReadTask(msgspec.Struct, frozen=True, tag="read"):
    """Asks for the text. `turns`: look first whether the page lies on its side or head, and turn it."""

    turns: bool = True


ImageTask = ClassifyTask | ReadTask


class Complexity(msgspec.Struct, frozen=True, tag="complexity"):
    """How likely a page is HIGH, 0 to 1, calibrated; from `threshold` on it is called so."""

    p_high: float
    threshold: float


class TextWord(msgspec.Struct, frozen=True):
    """A word of a line, in the box around it, in pixels of the image that was given. confidence: 0 to 1."""

    text: str
    confidence: float
    left: float
    top: float
    right: float
    bottom: float


class TextLine(msgspec.Struct, frozen=True):
    """A line of text: its words with a space between them, or as its script joins them.

    quad: x, y of the corners in pixels of the image that was given: clockwise, from where the upper left
    corner is once the line is turned so that it can be read. confidence: 0 to 1.
    """

    text: str
    confidence: float
    quad: Quad
    words: tuple[TextWord, ...] = ()


class ReadPage(msgspec.Struct, frozen=True, tag="page"):
    """The lines of a page, in the order they were found.

    turned_degrees: by how much, clockwise, the page was turned to be read.
    """

    lines: tuple[TextLine, ...]
    turned_degrees: int = 0


Seen = Complexity | ReadPage


class ImageNeed(msgspec.Struct, frozen=True):
    """The pixels that a loaded model wants of an image; 0: no bound.

    long_side_px, short_side_px: a box the image is fitted into, lying or standing as the image does.
    is_letterboxed: filled up with white to exactly that size.
    """

    is_gray: bool = False
    long_side_px: int = 0
    short_side_px: int = 0
    is_letterboxed: bool = False


class ClassifyRequest(msgspec.Struct, frozen=True):
    """A page image, or a document of which page `page` is meant. `model` is a name of the catalogue."""

    model: str
    payload: bytes  # the file as it came
    page: int = 0
    keep_alive_s: float | None = None  # None: as said last, at first the default; inf: for ever


class ClassifyResult(msgspec.Struct, frozen=True):
    """The answer. `label` is HIGH from `threshold` on, which need not be one half."""

    model: str  # catalogue name of the model that was used
    label: Label
    p_high: float
    threshold: float
    format: str  # of the file, by its first bytes
    width_px: int  # of the upright image or page, before it was scaled
    height_px: int
    n_pages: int
    load_ns: int
    total_ns: int
    decode_ns: int = 0
    queue_ns: int = 0
    inference_ns: int = 0
    n_tokens: int = 0  # an image has none; the ledger counts them
    tokenize_ns: int = 0
