"""Scripts whose letters join or reorder: HarfBuzz places their glyphs, Skia draws them."""

from __future__ import annotations

from functools import lru_cache

import skia
import uharfbuzz

# Hebrew, Arabic, the Indic scripts and Thai; Arabic presentation forms.
_RANGES = ((0x0590, 0x0DFF), (0x0E00, 0x0E7F), (0xFB50, 0xFDFF), (0xFE70, 0xFEFF))
_RIGHT_TO_LEFT = ((0x0590, 0x08FF), (0xFB1D, 0xFDFF), (0xFE70, 0xFEFF))
_FILES: dict[int, str] = {}


def _within(text: str, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(low <= ord(letter) <= high for letter in text for low, high in ranges)


@lru_cache(maxsize=50_000)
def needs_shaping(text: str) -> bool:
    """Whether plain left-to-right glyphs would be wrong for this text."""
    return not text.isascii() and _within(text, _RANGES)


def is_right_to_left(text: str) -> bool:
    """Whether any letter belongs to a script written from the right."""
    return not text.isascii() and _within(text, _RIGHT_TO_LEFT)


def know_file(typeface: skia.Typeface, path: str) -> None:
    """Remember where a typeface came from, so that HarfBuzz reads the same file."""
    _FILES[typeface.uniqueID()] = path


@lru_cache(maxsize=64)
def _harfbuzz_font(typeface: int) -> uharfbuzz.Font:
    return uharfbuzz.Font(uharfbuzz.Face(uharfbuzz.Blob.from_file_path(_FILES[typeface])))


@lru_cache(maxsize=20_000)
def _shape(typeface: int, text: str) -> tuple[tuple[int, ...], tuple[float, ...], tuple[float, ...], float]:
    """Glyphs, their offsets from the left and up, and the whole advance; all but the glyphs in ems."""
    font = _harfbuzz_font(typeface)
    buffer = uharfbuzz.Buffer()
    buffer.add_str(text)
    buffer.guess_segment_properties()
    uharfbuzz.shape(font, buffer)
    units, at, across, up = font.face.upem, 0, [], []
    for place in buffer.glyph_positions:
        across.append((at + place.x_offset) / units)
        up.append(place.y_offset / units)
        at += place.x_advance
    glyphs = tuple(glyph.codepoint for glyph in buffer.glyph_infos)
    return glyphs, tuple(across), tuple(up), at / units


def shaped_width(text: str, font: skia.Font) -> float:
    """Advance of a shaped text in the units of the font's size."""
    return _shape(font.getTypeface().uniqueID(), text)[3] * font.getSize()


def draw_shaped(
    canvas: skia.Canvas, x: float, y: float, text: str, font: skia.Font, paint: skia.Paint
) -> None:
    """Draw a text with its first glyph's origin at (x, y)."""
    size = font.getSize()
    glyphs, across, up, _ = _shape(font.getTypeface().uniqueID(), text)
    builder = skia.TextBlobBuilder()
    places = [skia.Point(x + a * size, y - u * size) for a, u in zip(across, up, strict=True)]
    builder.allocRunPos(font, list(glyphs), places)
    blob = builder.make()
    if blob is not None:
        canvas.drawTextBlob(blob, 0, 0, paint)
