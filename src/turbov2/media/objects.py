"""What is drawn on a PDF page: how many objects of each kind, and how much of the page they take.

Loaded only in the decoding child.
"""

from __future__ import annotations

import ctypes
from typing import Any, NamedTuple

import numpy as np
import pypdfium2 as pdfium
import pypdfium2.raw as raw
from numpy.typing import NDArray

from turbov2.media.results import PageObjects
from turbov2.media.words import Doubles, PageFrame

_MAX_OBJECTS = 50_000  # looked at; maps have more, and what they are is clear by then
_MAX_DEPTH = 12  # of forms within forms
_BACKGROUND_SHARE = 0.9  # a path as large as this is the paper, or a frame around it
_GRID = 200  # cells a side when the union of boxes is counted
_INVISIBLE = 3  # text rendering mode, ISO 32000-1 table 106

Matrix = NDArray[np.float64]


class Found(NamedTuple):
    """The summary, and what only `soundness` needs."""

    summary: PageObjects
    n_invisible: int  # characters


class _Walk:
    """Goes through a page's objects, forms unfolded, and collects their boxes."""

    def __init__(self, textpage: pdfium.PdfTextPage) -> None:
        self.counts = dict.fromkeys((raw.FPDF_PAGEOBJ_TEXT, raw.FPDF_PAGEOBJ_SHADING), 0)
        self.boxes: dict[int, list[tuple[float, ...]]] = {
            raw.FPDF_PAGEOBJ_IMAGE: [],
            raw.FPDF_PAGEOBJ_PATH: [],
        }
        self.n_seen = 0
        self.n_invisible = 0
        self._textpage = textpage
        self._sides = tuple(ctypes.c_float() for _ in range(4))
        self._ends = tuple(map(ctypes.byref, self._sides))

    def visit(self, drawn: Any, matrix: Matrix, depth: int) -> None:
        """Looks at one object. matrix: `[3, 2]`, from its coordinates to the page's."""
        self.n_seen += 1
        kind = raw.FPDFPageObj_GetType(drawn)
        if kind == raw.FPDF_PAGEOBJ_FORM:
            self._visit_form(drawn, matrix, depth)
        elif kind in self.boxes:
            self._keep_box(kind, drawn, matrix)
        elif kind in self.counts:
            self.counts[kind] += 1
            if kind == raw.FPDF_PAGEOBJ_TEXT and raw.FPDFTextObj_GetTextRenderMode(drawn) == _INVISIBLE:
                n_bytes = raw.FPDFTextObj_GetText(drawn, self._textpage, None, 0)
                self.n_invisible += max(0, n_bytes // 2 - 1)  # UTF-16 with a zero at its end

    def _visit_form(self, form: Any, matrix: Matrix, depth: int) -> None:
        own = raw.FS_MATRIX()
        if depth >= _MAX_DEPTH or not raw.FPDFPageObj_GetMatrix(form, ctypes.byref(own)):
            return
        inner = _linear([[own.a, own.b], [own.c, own.d], [own.e, own.f]], matrix)
        for index in range(raw.FPDFFormObj_CountObjects(form)):
            if self.n_seen >= _MAX_OBJECTS:
                return
            self.visit(raw.FPDFFormObj_GetObject(form, index), inner, depth + 1)

    def _keep_box(self, kind: int, drawn: Any, matrix: Matrix) -> None:
        if raw.FPDFPageObj_GetBounds(drawn, *self._ends):
            left, bottom, right, top = (side.value for side in self._sides)
            corners = np.array([[left, bottom], [left, top], [right, bottom], [right, top]])
            moved = corners @ matrix[:2] + matrix[2]
            self.boxes[kind].append((*moved.min(axis=0), *moved.max(axis=0)))


def read_objects(page: pdfium.PdfPage, textpage: pdfium.PdfTextPage, frame: PageFrame) -> Found:
    """Returns what is drawn on the page."""
    walk = _Walk(textpage)
    identity = np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    n = raw.FPDFPage_CountObjects(page)
    for index in range(min(n, _MAX_OBJECTS)):
        if walk.n_seen >= _MAX_OBJECTS:
            break
        walk.visit(raw.FPDFPage_GetObject(page, index), identity, 0)
    images, paths = (_upright(walk.boxes[kind], frame) for kind in walk.boxes)
    sizes = (paths[:, 2:] - paths[:, :2]).prod(axis=1)
    drawn = paths[sizes < _BACKGROUND_SHARE * frame.width * frame.height]
    summary = PageObjects(
        n_texts=walk.counts[raw.FPDF_PAGEOBJ_TEXT],
        n_images=len(images),
        n_paths=len(paths),
        n_shadings=walk.counts[raw.FPDF_PAGEOBJ_SHADING],
        image_share=covered_share(images, frame),
        path_share=covered_share(drawn, frame),
        is_complete=walk.n_seen < _MAX_OBJECTS,
    )
    return Found(summary, walk.n_invisible)


def covered_share(boxes: Doubles, frame: PageFrame) -> float:
    """Returns the share of the page that the union of `[n, 4]` upright boxes covers."""
    cells = np.zeros((_GRID, _GRID), np.bool_)
    scale = np.array([frame.width, frame.height, frame.width, frame.height]) / _GRID
    edges = np.clip(np.nan_to_num(boxes / scale), 0, _GRID)
    for left, top, right, bottom in np.rint(edges).astype(int).tolist():
        cells[top:bottom, left:right] = True
    return float(cells.mean())


def _upright(boxes: list[tuple[float, ...]], frame: PageFrame) -> Doubles:
    upright = frame.upright(np.array(boxes, np.float64).reshape(-1, 4))
    return np.clip(upright, 0, [frame.width, frame.height] * 2)


def _linear(inner: list[list[float]], outer: Matrix) -> Matrix:
    """Returns the map that applies `inner` first and then `outer`, both `[3, 2]`."""
    product = np.array(inner) @ outer[:2]
    product[2] += outer[2]
    return product
