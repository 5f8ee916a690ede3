"""What a PDF page is made of, as pypdfium2 reads it: words, rules, frames, drawings, images, form fields.

Every place is (left, top, right, bottom) from the upper left corner of the page as it is shown, in points of
a page whose longest side is `LONGEST_SIDE_PT`: so a slide, a letter and a poster are measured alike.
"""

from __future__ import annotations

import ctypes
import re
from collections.abc import Iterator
from typing import NamedTuple

import pypdfium2 as pdfium
import pypdfium2.raw as pdfium_c

LONGEST_SIDE_PT = 842.0
THIN_PT = 2.6  # a path no thicker is a rule
_STEPS_PER_PT = 10
_MOST_PATHS, _MOST_SEGMENTS = 6000, 120  # a plot of more points is a drawing anyway
_MATH_FONT = re.compile("CMMI|CMSY|CMEX|MSAM|MSBM|MATH|RSFS|LMMI|LMSY|TXMI|PXMI|SYMBOL")
_MONO_FONT = re.compile("CMTT|MONO|COURIER|TYPEWRITER|LMTT|LMTL|INCONSOL|BERA|SFTT|ECTT|CTTL|CONSOLAS|TXTT")

Place = tuple[float, float, float, float]
Matrix = tuple[float, float, float, float, float, float]
_IDENTITY: Matrix = (1.0, 0.0, 0.0, 1.0, 0.0, 0.0)


class Word(NamedTuple):
    """Characters of one line without a wide gap."""

    text: str
    place: Place
    is_mono: bool
    is_math: bool


class PageObjects(NamedTuple):
    """Everything visible on one page."""

    width_pt: float
    height_pt: float
    words: list[Word]
    rules: list[Place]
    """Straight horizontal or vertical lines."""
    frames: list[Place]
    """Outlined rectangles, corners round or not."""
    shades: list[Place]
    """Filled rectangles that are not white."""
    drawings: list[tuple[Place, int]]
    """Any other path, and its number of segments."""
    images: list[Place]
    fields: list[Place]
    """Form fields that a reader fills in."""


class _PageView:
    """Turns the coordinates of one page into places."""

    def __init__(self, page: pdfium.PdfPage) -> None:
        width, height = page.get_size()
        scale = LONGEST_SIDE_PT / max(width, height)
        self.raw = page.raw
        self.width_pt, self.height_pt = width * scale, height * scale
        self._n_columns = round(self.width_pt * _STEPS_PER_PT)
        self._n_rows = round(self.height_pt * _STEPS_PER_PT)
        self._column, self._row = ctypes.c_int(), ctypes.c_int()

    def point(self, x: float, y: float) -> tuple[float, float]:
        """Where a point of the page's own coordinates is shown."""
        pdfium_c.FPDF_PageToDevice(
            self.raw, 0, 0, self._n_columns, self._n_rows, 0, x, y, self._column, self._row
        )
        return self._column.value / _STEPS_PER_PT, self._row.value / _STEPS_PER_PT

    def place(self, left: float, bottom: float, right: float, top: float) -> Place:
        """Where a rectangle is shown, cut at the page's edges."""
        (x0, y0), (x1, y1) = self.point(left, bottom), self.point(right, top)
        x0, x1, y0, y1 = min(x0, x1), max(x0, x1), min(y0, y1), max(y0, y1)
        return max(x0, 0.0), max(y0, 0.0), min(x1, self.width_pt), min(y1, self.height_pt)


def read_objects(page: pdfium.PdfPage) -> PageObjects:
    """Read one page. Hidden, white and clipping paths are left out."""
    view = _PageView(page)
    found = PageObjects(view.width_pt, view.height_pt, list(_words(page, view)), [], [], [], [], [], [])
    n_paths = 0
    for item, kind, matrix in _page_items(view.raw):
        place = _bounds(item, matrix, view)
        if place is None or place[2] < place[0] or place[3] < place[1]:
            continue
        if kind in (pdfium_c.FPDF_PAGEOBJ_IMAGE, pdfium_c.FPDF_PAGEOBJ_SHADING):
            found.images.append(place)
        elif kind == pdfium_c.FPDF_PAGEOBJ_PATH:
            n_paths += 1
            if n_paths <= _MOST_PATHS:
                _add_path(found, item, matrix, view, place)
    found.fields.extend(_fields(view))
    return found


def _page_items(page: pdfium_c.FPDF_PAGE) -> Iterator[tuple[pdfium_c.FPDF_PAGEOBJECT, int, Matrix]]:
    for index in range(pdfium_c.FPDFPage_CountObjects(page)):
        yield from _items(pdfium_c.FPDFPage_GetObject(page, index), _IDENTITY, 0)


def _items(
    item: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix, depth: int
) -> Iterator[tuple[pdfium_c.FPDF_PAGEOBJECT, int, Matrix]]:
    kind = pdfium_c.FPDFPageObj_GetType(item)
    if kind != pdfium_c.FPDF_PAGEOBJ_FORM:
        yield item, kind, matrix
    elif depth < 8:
        inner = _product(_matrix(item), matrix)
        for index in range(pdfium_c.FPDFFormObj_CountObjects(item)):
            yield from _items(pdfium_c.FPDFFormObj_GetObject(item, index), inner, depth + 1)


def _matrix(item: pdfium_c.FPDF_PAGEOBJECT) -> Matrix:
    raw = pdfium_c.FS_MATRIX()
    if not pdfium_c.FPDFPageObj_GetMatrix(item, raw):
        return _IDENTITY
    return raw.a, raw.b, raw.c, raw.d, raw.e, raw.f


def _product(first: Matrix, then: Matrix) -> Matrix:
    a, b, c, d, e, f = first
    g, h, i, j, k, m = then
    return a * g + b * i, a * h + b * j, c * g + d * i, c * h + d * j, e * g + f * i + k, e * h + f * j + m


def _moved(matrix: Matrix, x: float, y: float) -> tuple[float, float]:
    a, b, c, d, e, f = matrix
    return a * x + c * y + e, b * x + d * y + f


def _bounds(item: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix, view: _PageView) -> Place | None:
    left, bottom, right, top = (ctypes.c_float() for _ in range(4))
    if not pdfium_c.FPDFPageObj_GetBounds(item, left, bottom, right, top):
        return None
    corners = [_moved(matrix, x.value, y.value) for x in (left, right) for y in (bottom, top)]
    xs, ys = [x for x, _ in corners], [y for _, y in corners]
    return view.place(min(xs), min(ys), max(xs), max(ys))


def _is_visible(item: pdfium_c.FPDF_PAGEOBJECT) -> tuple[bool, bool]:
    """Whether its fill, and its stroke, show on white paper."""
    fill_mode, has_stroke = ctypes.c_int(), pdfium_c.FPDF_BOOL()
    pdfium_c.FPDFPath_GetDrawMode(item, fill_mode, has_stroke)
    return (
        bool(fill_mode.value) and _is_ink(item, pdfium_c.FPDFPageObj_GetFillColor),
        bool(has_stroke.value) and _is_ink(item, pdfium_c.FPDFPageObj_GetStrokeColor),
    )


def _is_ink(item: pdfium_c.FPDF_PAGEOBJECT, read_colour: object) -> bool:
    channels = [ctypes.c_uint() for _ in range(4)]
    if not read_colour(item, *channels):  # type: ignore[operator]
        return True
    red, green, blue, alpha = (channel.value for channel in channels)
    return alpha > 8 and min(red, green, blue) < 250


def _add_path(
    found: PageObjects, item: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix, view: _PageView, place: Place
) -> None:
    is_filled, is_stroked = _is_visible(item)
    if not (is_filled or is_stroked):
        return
    width, height = place[2] - place[0], place[3] - place[1]
    if min(width, height) <= THIN_PT:
        found.rules.append(place)
        return
    n_segments = pdfium_c.FPDFPath_CountSegments(item)
    if n_segments > _MOST_SEGMENTS:
        found.drawings.append((place, n_segments))
        return
    lines = _lines(item, _product(_matrix(item), matrix), view, n_segments)
    if _is_rectangle(lines, n_segments, place):
        (found.frames if is_stroked else found.shades).append(place)
    elif lines and len(lines) >= n_segments // 2 and all(_is_straight(line) for line in lines):
        found.rules.extend(line for line in lines if line[2] - line[0] > 1 or line[3] - line[1] > 1)
    else:
        found.drawings.append((place, n_segments))


def _lines(item: pdfium_c.FPDF_PAGEOBJECT, matrix: Matrix, view: _PageView, n_segments: int) -> list[Place]:
    """The straight segments of a path; curves are not among them."""
    lines: list[Place] = []
    x, y = ctypes.c_float(), ctypes.c_float()
    here: tuple[float, float] | None = None
    for index in range(n_segments):
        segment = pdfium_c.FPDFPath_GetPathSegment(item, index)
        pdfium_c.FPDFPathSegment_GetPoint(segment, x, y)
        there = view.point(*_moved(matrix, x.value, y.value))
        if here and pdfium_c.FPDFPathSegment_GetType(segment) == pdfium_c.FPDF_SEGMENT_LINETO:
            lines.append((*map(min, here, there), *map(max, here, there)))
        here = there
    return lines


def _is_straight(line: Place) -> bool:
    return min(line[2] - line[0], line[3] - line[1]) <= 0.6


def _is_rectangle(lines: list[Place], n_segments: int, place: Place) -> bool:
    """Whether four sides, with round corners or without, are all there is."""
    n_curves = n_segments - 1 - len(lines)
    if not 3 <= len(lines) <= 6 or n_curves > 13 or not all(_is_straight(line) for line in lines):
        return False
    edges = (abs(line[0] - place[0]) < 4 or abs(line[2] - place[2]) < 4 or abs(line[1] - place[1]) < 4
             or abs(line[3] - place[3]) < 4 for line in lines)  # fmt: skip
    return all(edges)


def _fields(view: _PageView) -> Iterator[Place]:
    for index in range(pdfium_c.FPDFPage_GetAnnotCount(view.raw)):
        annotation = pdfium_c.FPDFPage_GetAnnot(view.raw, index)
        rect = pdfium_c.FS_RECTF()
        is_field = pdfium_c.FPDFAnnot_GetSubtype(annotation) == pdfium_c.FPDF_ANNOT_WIDGET
        if is_field and pdfium_c.FPDFAnnot_GetRect(annotation, rect):
            yield view.place(rect.left, rect.bottom, rect.right, rect.top)
        pdfium_c.FPDFPage_CloseAnnot(annotation)


def _words(page: pdfium.PdfPage, view: _PageView) -> Iterator[Word]:
    """Runs of characters on a line, cut at spaces."""
    text = page.get_textpage()
    rect, flags = pdfium_c.FS_RECTF(), ctypes.c_int()
    name = ctypes.create_string_buffer(128)
    letters: list[str] = []
    place: Place | None = None
    font = ""

    def word() -> Iterator[Word]:
        if letters and place:
            is_mono, is_math = bool(_MONO_FONT.search(font)), bool(_MATH_FONT.search(font))
            yield Word("".join(letters), place, is_mono, is_math)
        letters.clear()

    for index in range(text.count_chars()):
        code = pdfium_c.FPDFText_GetUnicode(text.raw, index)
        letter = chr(code) if 32 < code < 0x110000 and not 0xD800 <= code < 0xE000 else ""
        if not letter or letter.isspace() or not pdfium_c.FPDFText_GetLooseCharBox(text.raw, index, rect):
            yield from word()
            continue
        box = view.place(rect.left, rect.bottom, rect.right, rect.top)
        if letters and place and not _continues(place, box):
            yield from word()
        if not letters:
            pdfium_c.FPDFText_GetFontInfo(text.raw, index, name, 128, flags)
            font, place = name.value.decode("latin-1").upper(), box
        letters.append(letter)
        place = (min(place[0], box[0]), min(place[1], box[1]), max(place[2], box[2]), max(place[3], box[3]))
    yield from word()


def _continues(word: Place, letter: Place) -> bool:
    height = max(letter[3] - letter[1], 1.0)
    is_level = abs((word[1] + word[3]) - (letter[1] + letter[3])) < height
    return is_level and -height < letter[0] - word[2] < 0.5 * height


def is_inside(small: Place, large: Place) -> bool:
    """Whether the middle of one place is in another."""
    x, y = (small[0] + small[2]) / 2, (small[1] + small[3]) / 2
    return large[0] <= x <= large[2] and large[1] <= y <= large[3]
