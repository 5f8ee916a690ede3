"""A PDF page's characters as words with boxes. Loaded only in the decoding child."""

from __future__ import annotations

import ctypes
import unicodedata
from typing import Any, NamedTuple

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from turbov2.errors import MediaTooLarge
from turbov2.media.results import Floats

MAX_CHARS = 1_000_000  # of one page: far beyond print, and seconds of work
_SPACES = np.array(
    [0x09, 0x0A, 0x0D, 0x20, 0xA0, *range(0x2000, 0x200C), 0x2028, 0x2029, 0x202F, 0x3000, 0xFEFF]
)
_BREAKS = np.array([0x0A, 0x0D])
_PDFIUM_HYPHEN = 0x02  # what PDFium gives for a hyphen at the end of a line
_REPLACEMENT = 0xFFFD
# Where TeX's fonts have ff, fi, fl, ffi, ffl: from 0x0B in its old encoding, from 0x1B in its new one. And
# which of them stand behind a letter, and which before one: other fonts have brackets in these places.
_TEX_LIGATURES = (0x0B, 0x1B)
_IS_BEHIND, _IS_BEFORE = (True, False, False, True, True), (False, True, True, False, True)
# Spacing accents, and the combining ones that join a letter.
_ACCENTS = {
    0x60: 0x300, 0xB4: 0x301, 0x2C6: 0x302, 0x2DC: 0x303, 0xAF: 0x304, 0x2D8: 0x306, 0x2D9: 0x307,
    0xA8: 0x308, 0x2DA: 0x30A, 0x2DD: 0x30B, 0x2C7: 0x30C, 0xB8: 0x327, 0x2DB: 0x328,
}  # fmt: skip
_PLAIN = {0x131: ord("i"), 0x237: ord("j")}  # dotless, for accents
_ADOBE_ASCII = range(0xF721, 0xF77F)  # old-style digits and small capitals, 0xF700 above the usual ones
_LIGATURES = {
    0xFB00: "ff",
    0xFB01: "fi",
    0xFB02: "fl",
    0xFB03: "ffi",
    0xFB04: "ffl",
    0xFB05: "st",
    0xFB06: "st",
}

Doubles = NDArray[np.float64]


class PageFrame(NamedTuple):
    """Where a page lies in its PDF's coordinates, in points, and how it is turned to be upright."""

    left: float
    bottom: float
    right: float
    top: float
    rotation_degrees: int

    @staticmethod
    def of(page: pdfium.PdfPage) -> PageFrame:
        """Returns the page's frame."""
        left, bottom, right, top = page.get_bbox()
        return PageFrame(left, bottom, right, top, page.get_rotation())

    @property
    def width(self) -> float:
        """Of the upright page, in points."""
        return self.top - self.bottom if self.rotation_degrees in (90, 270) else self.right - self.left

    @property
    def height(self) -> float:
        """Of the upright page, in points."""
        return self.right - self.left if self.rotation_degrees in (90, 270) else self.top - self.bottom

    def upright(self, boxes: Doubles) -> Doubles:
        """Returns `[n, 4]` left, top, right, bottom from the upper left corner of the upright page.

        boxes: `[n, 4]` left, bottom, right, top in the PDF's coordinates.
        """
        left, bottom, right, top = boxes.T
        match self.rotation_degrees:
            case 90:
                sides = bottom - self.bottom, left - self.left, top - self.bottom, right - self.left
            case 180:
                sides = self.right - right, bottom - self.bottom, self.right - left, top - self.bottom
            case 270:
                sides = self.top - top, self.right - right, self.top - bottom, self.right - left
            case _:
                sides = left - self.left, self.top - top, right - self.left, self.top - bottom
        return np.stack(sides, axis=1)


class PageText(NamedTuple):
    """The words of a page, as in `results.Page`, and how its characters fared."""

    words: list[str]
    boxes: Floats
    lines: NDArray[np.int32]
    n_chars: int
    n_unmapped: int
    n_outside: int


def read_text(textpage: pdfium.PdfTextPage, frame: PageFrame) -> PageText:
    """Returns the page's words in the order of its content. Raises: MediaTooLarge past MAX_CHARS."""
    n = textpage.count_chars()
    if n > MAX_CHARS:
        raise MediaTooLarge(
            f"a page has {n} characters, the limit is {MAX_CHARS}; send the document in parts"
        )
    codes, boxes, is_unmapped = _repaired(*_chars(textpage.raw, n))
    is_space = np.isin(codes, _SPACES)
    boxes = frame.upright(boxes)
    middle_x, middle_y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    is_inside = (middle_x >= 0) & (middle_x <= frame.width) & (middle_y >= 0) & (middle_y <= frame.height)
    is_kept = ~is_space & is_inside
    # PDFium gives no break behind a hyphen at the end of a line: what follows stands in the next line.
    is_first = np.concatenate(([False], codes[:-1] == _PDFIUM_HYPHEN))[:n]
    line_of = np.cumsum(np.isin(codes, _BREAKS) | is_first)
    found = _words(codes, boxes, is_kept, line_of)
    n_unmapped = int((is_unmapped & is_kept).sum())
    return PageText(*found, int(is_kept.sum()), n_unmapped, int((~is_space & ~is_inside).sum()))


def _chars(handle: Any, n: int) -> tuple[NDArray[np.int64], Doubles, NDArray[np.bool_]]:
    """Returns `[n]` code points, `[n, 4]` left, bottom, right, top, and `[n]` which have no meaning."""
    codes = np.empty(n, np.int64)
    boxes = np.zeros((n, 4), np.float64)
    is_unmapped = np.zeros(n, np.bool_)
    left, right, bottom, top = (ctypes.c_double() for _ in range(4))
    ends = tuple(map(ctypes.byref, (left, right, bottom, top)))
    for index in range(n):
        codes[index] = raw.FPDFText_GetUnicode(handle, index)
        if raw.FPDFText_GetCharBox(handle, index, *ends):
            boxes[index] = left.value, bottom.value, right.value, top.value
        is_unmapped[index] = raw.FPDFText_HasUnicodeMapError(handle, index) == 1
    return codes, boxes, is_unmapped


def _repaired(
    codes: NDArray[np.int64], boxes: Doubles, is_unmapped: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], Doubles, NDArray[np.bool_]]:
    """Returns the same with surrogates joined and what has a plain equivalent as that.

    PDFium says of many letters that their font has no map, and gives the right ones all the same; where it
    gives dingbats, it has taken letters for them.
    """
    is_high = (codes[:-1] >> 10 == 0xD800 >> 10) & (codes[1:] >> 10 == 0xDC00 >> 10)
    first = np.flatnonzero(is_high)
    codes[first] = 0x10000 + ((codes[first] & 0x3FF) << 10) + (codes[first + 1] & 0x3FF)
    kept = np.ones(len(codes), np.bool_)
    kept[first + 1] = False
    codes, boxes, is_unmapped = codes[kept], boxes[kept], is_unmapped[kept]
    is_adobe = (codes >= _ADOBE_ASCII.start) & (codes < _ADOBE_ASCII.stop)
    codes = np.where(is_adobe, codes - 0xF700, codes)
    codes = _with_ligatures(codes)
    is_dingbat = (codes >= 0x2460) & (codes <= 0x27BF)
    is_unmapped = _has_no_meaning(codes) | (is_unmapped & is_dingbat)
    kept = _accented(codes, boxes)
    return codes[kept], boxes[kept], is_unmapped[kept]


def _accented(codes: NDArray[np.int64], boxes: Doubles) -> NDArray[np.bool_]:
    """Puts accents that were printed over a letter into it; returns which characters are left.

    TeX's old fonts have no accented letters: it prints the accent, then the letter below it. A grave that
    stands beside a letter, as in program text, stays what it is.
    """
    kept = np.ones(len(codes), np.bool_)
    for place in np.flatnonzero(np.isin(codes, list(_ACCENTS))).tolist():
        for other in (place + 1, place - 1):
            if 0 <= other < len(codes) and kept[other] and _is_over(boxes[place], boxes[other]):
                letter = _PLAIN.get(int(codes[other]), int(codes[other]))
                joined = unicodedata.normalize("NFC", chr(letter) + chr(_ACCENTS[int(codes[place])]))
                if len(joined) == 1 and joined.isalpha():
                    codes[other], kept[place] = ord(joined), False
                    boxes[other, :2] = np.minimum(boxes[other, :2], boxes[place, :2])
                    boxes[other, 2:] = np.maximum(boxes[other, 2:], boxes[place, 2:])
                    break
    return kept


def _is_over(accent: Doubles, letter: Doubles) -> bool:
    """True when most of the accent's width lies over, or under, the letter."""
    shared = min(accent[2], letter[2]) - max(accent[0], letter[0])
    return bool(shared > 0.6 * min(accent[2] - accent[0], letter[2] - letter[0]) > 0)


def _with_ligatures(codes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns `codes` with control characters beside small letters as the ligatures that TeX has there."""
    is_small = (codes >= ord("a")) & (codes <= ord("z"))
    is_behind, is_before = np.zeros_like(is_small), np.zeros_like(is_small)
    is_behind[1:], is_before[:-1] = is_small[:-1], is_small[1:]
    mended = codes.copy()
    for start in _TEX_LIGATURES:
        for index, (behind, before) in enumerate(zip(_IS_BEHIND, _IS_BEFORE, strict=True)):
            fits = (is_behind | (not behind)) & (is_before | (not before))
            if start + index not in _BREAKS:
                mended[(codes == start + index) & fits] = 0xFB00 + index
    return mended


def _has_no_meaning(codes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """True for code points that stand for no character: controls, private areas, surrogates, U+FFFD."""
    is_control = ((codes < 0x20) & (codes != _PDFIUM_HYPHEN)) | ((codes >= 0x7F) & (codes < 0xA0))
    is_private = ((codes >= 0xE000) & (codes <= 0xF8FF)) | (codes >= 0xF0000)
    is_surrogate = (codes >= 0xD800) & (codes <= 0xDFFF)
    is_hollow = (codes == _REPLACEMENT) | ((codes & 0xFFFE) == 0xFFFE)
    return np.asarray(is_control | is_private | is_surrogate | is_hollow)


def _words(
    codes: NDArray[np.int64], boxes: Doubles, is_kept: NDArray[np.bool_], line_of: NDArray[Any]
) -> tuple[list[str], Floats, NDArray[np.int32]]:
    """Returns the runs of kept characters of a line as words, their boxes and their lines, numbered anew."""
    is_same = line_of[1:] == line_of[:-1]
    starts = np.flatnonzero(is_kept & ~np.concatenate(([False], is_kept[:-1] & is_same))[: len(codes)])
    ends = np.flatnonzero(is_kept & ~np.concatenate((is_kept[1:] & is_same, [False]))[: len(codes)]) + 1
    words = [
        "".join(map(_text_of, codes[start:end].tolist())) for start, end in zip(starts, ends, strict=True)
    ]
    extents = np.empty((len(starts), 4), np.float32)
    for word, (start, end) in enumerate(zip(starts, ends, strict=True)):
        extents[word, :2] = boxes[start:end, :2].min(axis=0)
        extents[word, 2:] = boxes[start:end, 2:].max(axis=0)
    _, lines = np.unique(line_of[starts], return_inverse=True)
    return words, extents, lines.astype(np.int32)


def _text_of(code: int) -> str:
    if code == _PDFIUM_HYPHEN:
        return "-"
    if code in _LIGATURES:
        return _LIGATURES[code]
    is_character = 0x20 <= code < 0xD800 or 0xDFFF < code <= 0x10FFFF
    return chr(code) if is_character else chr(_REPLACEMENT)
