"""PDFs as pages, by PDFium. Loaded only in the decoding child.

PDFium is not built with JavaScript here and opens nothing but the bytes it is given, and fonts.
"""

from __future__ import annotations

import ctypes
import math
import re

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from PIL import Image

from turbov2.errors import BadMedia, MediaTooLarge, UnsupportedMedia
from turbov2.media import limits, objects, results, soundness, words
from turbov2.media.images import letterboxed, reading, too_many_pages

_POINTS_PER_INCH = 72.0
_TAIL_BYTES = 4096  # the end of a whole file lies within; readers are asked for 1024
_LINEARIZED_BYTES = 1024
_LINEARIZED = re.compile(rb"/Linearized\s.{0,400}?/L\s+(\d{1,12})", re.DOTALL)


class PdfReader:
    """One opened PDF. Making it raises BadMedia for a broken or locked one, MediaTooLarge past the limits."""

    format = "PDF"

    def __init__(self, file: memoryview, password: str | None, most: limits.MediaLimits) -> None:
        self._limits = most
        _require_whole(file)
        # PDFium reads the bytes where they are, for as long as the document lives.
        buffer = (ctypes.c_ubyte * len(file)).from_buffer(file)
        with reading("PDF", most):
            # Not every failure sets PDFium's error code; this does, so that none is taken for an earlier one.
            raw.FPDF_LoadMemDocument(b"", 0, None)
            try:
                self._pdf = pdfium.PdfDocument(buffer, password=password)
            except pdfium.PdfiumError as error:
                raise _refusal(error.err_code, password) from error
            self._pdf.init_forms()  # or what was filled in would not be drawn
            self.n_pages = len(self._pdf)
        if self.n_pages < 1:
            raise BadMedia("the PDF has no pages; send one that has")
        if self.n_pages > most.max_pages:
            raise too_many_pages(str(self.n_pages), most)
        self.n_frames = self.n_pages
        self.is_encrypted = raw.FPDF_GetSecurityHandlerRevision(self._pdf) != -1

    def close(self) -> None:
        """Afterwards its memory is free."""
        self._pdf.close()

    def page_sizes(self) -> results.Floats:
        """Returns float32 `[n_pages, 2]` upright widths and heights in points."""
        size = raw.FS_SIZEF()
        sizes = np.zeros((self.n_pages, 2), np.float32)
        for index in range(self.n_pages):
            if raw.FPDF_GetPageSizeByIndexF(self._pdf, index, ctypes.byref(size)):
                sizes[index] = size.width, size.height
        return sizes

    def image(self, index: int, view: results.View) -> results.Image:
        """Returns the page as it would be printed. Raises: BadMedia."""
        page = self._page(index)
        with reading("PDF", self._limits):
            width, height = page.get_size()
            view = view.turned(width, height)
            scale = self._scale(view, width, height)
            bitmap = page.render(scale=scale, grayscale=view.mode == "gray", rev_byteorder=True)
            pixels = self._boxed(bitmap, view) if view.is_letterboxed else bitmap.to_numpy()
            is_rotated = page.get_rotation() != 0
        page.close()
        full = view.dpi / _POINTS_PER_INCH
        source = (round(width * full), round(height * full))
        return results.Image(pixels, self.format, *source, self.n_pages, is_rotated)

    def _boxed(self, bitmap: pdfium.PdfBitmap, view: results.View) -> results.Pixels:
        """Returns the page scaled as an image of it would be: small type and thin rules look alike then."""
        factor = view.scale(bitmap.width, bitmap.height)
        size = (max(1, round(bitmap.width * factor)), max(1, round(bitmap.height * factor)))
        picture = bitmap.to_pil().resize(size, Image.Resampling.BILINEAR, reducing_gap=2.0)
        return np.asarray(letterboxed(picture, view.max_width_px, view.max_height_px))

    def page(self, index: int) -> results.Page:
        """Returns the page's text layer and objects. Raises: BadMedia, MediaTooLarge."""
        page = self._page(index)
        with reading("PDF", self._limits):
            textpage = page.get_textpage()
            frame = words.PageFrame.of(page)
            text = words.read_text(textpage, frame)
            found = objects.read_objects(page, textpage, frame)
        verdict = soundness.judge(text, found, frame)
        textpage.close()
        page.close()
        return results.Page(
            index,
            frame.width,
            frame.height,
            frame.rotation_degrees,
            text.words,
            text.boxes,
            text.lines,
            verdict,
            found.summary,
        )

    def _page(self, index: int) -> pdfium.PdfPage:
        with reading("PDF", self._limits):
            try:
                return self._pdf[index]
            except pdfium.PdfiumError as error:
                raise BadMedia(f"page {index + 1} of the PDF is broken; the others may be read") from error

    def _scale(self, view: results.View, width: float, height: float) -> float:
        """Returns pixels per point: the view's, or fewer where the page would pass the pixel limit."""
        full = view.dpi / _POINTS_PER_INCH
        box = 1.0 if view.is_letterboxed else view.scale(width * full, height * full)
        scale = full * box * (1 - 1e-6)  # sizes are rounded up, and must not pass the box
        n_pixels = (width * scale + 1) * (height * scale + 1)
        return scale * min(1.0, math.sqrt(self._limits.max_pixels / n_pixels))


def _require_whole(file: memoryview) -> None:
    """Raises BadMedia for a file that was cut: PDFium would show what is left as if it were all."""
    tail = bytes(file[-_TAIL_BYTES:])
    match = _LINEARIZED.search(bytes(file[:_LINEARIZED_BYTES]))
    is_short = match is not None and int(match[1]) > len(file)
    if is_short or not (b"%%EOF" in tail or b"startxref" in tail):
        raise BadMedia("the PDF is cut short: its end is missing; send the whole file")


def _refusal(code: int | None, password: str | None) -> BadMedia | UnsupportedMedia | MediaTooLarge:
    if code == raw.FPDF_ERR_PASSWORD:
        what = "the password does not open the PDF" if password else "the PDF is encrypted; send its password"
        return BadMedia(what, param="password")
    if code == raw.FPDF_ERR_SECURITY:
        return UnsupportedMedia("the PDF is encrypted in a way that is not read here; send it decrypted")
    return BadMedia("the PDF is broken or has no pages: it cannot be opened; send it whole, or saved anew")
