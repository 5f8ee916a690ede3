"""How pixels are asked for, and what comes back."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import msgspec
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]
Mode = Literal["rgb", "gray"]
Verdict = Literal["sound", "none", "unmapped", "garbled", "scattered", "hidden", "scan"]


class View(msgspec.Struct, frozen=True):
    """Which pixels a caller needs. By default all, in colour; images are never enlarged but for a letterbox.

    max_width_px, max_height_px: a box the result fits into, 0 for no bound.
    is_letterboxed: scaled until it touches the box, then centred on white, so that it has exactly its size.
    turns_box: the box is turned so that it lies where the picture lies and stands where it stands.
    dpi: resolution of a page that has no pixels of its own. Without meaning for images and letterboxes.
    """

    mode: Mode = "rgb"
    max_width_px: int = 0
    max_height_px: int = 0
    is_letterboxed: bool = False
    turns_box: bool = False
    dpi: float = 144.0

    def turned(self, width: float, height: float) -> View:
        """Returns the view for a picture of this size, its box turned if need be."""
        if not self.turns_box or (width > height) == (self.max_width_px > self.max_height_px):
            return self
        return msgspec.structs.replace(
            self, max_width_px=self.max_height_px, max_height_px=self.max_width_px, turns_box=False
        )

    @staticmethod
    def within(longest_px: int, mode: Mode = "rgb", dpi: float = 144.0) -> View:
        """Returns the view whose longest side has at most `longest_px`."""
        return View(mode, longest_px, longest_px, dpi=dpi)

    @staticmethod
    def letterbox(width_px: int, height_px: int, mode: Mode = "gray") -> View:
        """Returns the view of exactly this size, the whole picture in its middle."""
        return View(mode, width_px, height_px, is_letterboxed=True)

    def scale(self, width: float, height: float) -> float:
        """Returns the factor that fits a picture of this size into the box; 1 when there is no need."""
        factors = [
            box / side for box, side in ((self.max_width_px, width), (self.max_height_px, height)) if box
        ]
        if self.is_letterboxed:
            return min(factors)
        return min([1.0, *factors])


class Image(msgspec.Struct, frozen=True, eq=False):
    """A decoded picture, upright and on white.

    pixels: uint8 `[height, width, 3]` RGB, or `[height, width]` gray.
    source_width_px, source_height_px: of the upright picture before it was scaled.
    n_frames: of a moving picture, or pages of a document; `pixels` are the first's unless asked otherwise.
    is_rotated: it was turned or mirrored as its EXIF orientation, or its page's rotation, says.
    """

    pixels: Pixels
    format: str
    source_width_px: int
    source_height_px: int
    n_frames: int = 1
    is_rotated: bool = False


@dataclass(frozen=True, eq=False)
class Document:
    """An opened file: what it is, and the bytes from which any child can go on reading.

    page_sizes: float32 `[n, 2]` widths and heights of upright pages, in points (1/72 inch) for a PDF and in
    pixels for an image.
    """

    format: str
    page_sizes: Floats
    is_encrypted: bool
    key: int = field(repr=False)
    payload: Pixels = field(repr=False)
    password: str | None = field(repr=False, default=None)

    @property
    def n_pages(self) -> int:
        """How many pages it has; at least one."""
        return len(self.page_sizes)


class Soundness(msgspec.Struct, frozen=True):
    """Whether a page's text layer can be taken for its text, and from what that follows.

    verdict: "sound"; "none": no text; "unmapped": glyphs without characters; "garbled": characters that make
    no words; "scattered": letters torn apart; "hidden": text drawn invisibly, as a scanner's OCR leaves it;
    "scan": hardly any text beside a picture as large as the page.
    n_chars: visible glyphs, spaces left out. n_unmapped: of them, without a character, in a private area, or
    control characters. n_invisible: drawn in no colour. n_outside: off the page, and left out of the words.
    text_share: of the page's area under words.
    """

    verdict: Verdict
    n_chars: int = 0
    n_unmapped: int = 0
    n_invisible: int = 0
    n_outside: int = 0
    text_share: float = 0.0

    @property
    def is_sound(self) -> bool:
        """True when nothing speaks against using the text as it is."""
        return self.verdict == "sound"


class PageObjects(msgspec.Struct, frozen=True):
    """What is drawn on a page, forms unfolded. Shares are of the page's area, from 0 to 1, overlaps once.

    path_share: under the boxes of paths, but for those as large as the page, which are backgrounds.
    is_complete: False when the page has more objects than are looked at.
    """

    n_texts: int = 0
    n_images: int = 0
    n_paths: int = 0
    n_shadings: int = 0
    image_share: float = 0.0
    path_share: float = 0.0
    is_complete: bool = True


class Page(msgspec.Struct, frozen=True, eq=False):
    """What a page says by itself, without being looked at.

    width, height: upright; points for a PDF, pixels for an image. rotation_degrees: that made it upright.
    words: in the order of the file, which is mostly but not surely that of reading.
    boxes: float32 `[n, 4]` left, top, right, bottom from the upper left corner, in the unit of `width`.
    lines: int32 `[n]`, from 0, rising: words with the same number stand in one line.
    """

    index: int
    width: float
    height: float
    rotation_degrees: int
    words: list[str]
    boxes: Floats
    lines: NDArray[np.int32]
    soundness: Soundness
    objects: PageObjects

    @property
    def text(self) -> str:
        """The words, a space between them, each line on its own."""
        lines: dict[int, list[str]] = {}
        for word, line in zip(self.words, self.lines.tolist(), strict=True):
            lines.setdefault(line, []).append(word)
        return "\n".join(map(" ".join, lines.values()))


class AudioFacts(msgspec.Struct, frozen=True):
    """What an audio file is: container and codec by name, and how the sound lay in it."""

    container: str
    codec: str
    sample_rate_hz: int
    n_channels: int
