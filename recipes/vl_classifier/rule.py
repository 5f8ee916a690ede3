"""What makes a page HIGH: the rule that every label, of a rendered page or a drawn one, follows."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

# Text that plain OCR recovers wholly, and what of it looks like more.
LOW_KINDS = ("paragraphs", "columns", "headings", "list", "code", "contents", "index", "references",
             "form-letter", "short", "blank", "rule", "formula", "framed-text")  # fmt: skip
# What OCR loses: the picture itself, or which cell belongs to which.
HIGH_KINDS = ("chart", "diagram", "figure", "photo", "map", "screenshot", "form", "table-ruled",
              "table-borderless")  # fmt: skip
# Share of the page from which HIGH content makes the page HIGH. Between the two a page is neither trained on
# nor judged: people disagree about it.
LEAST_HIGH_SHARE = 0.05
MOST_LOW_SHARE = 0.015
# Cells a side when the union of boxes is counted.
_GRID = 400

Box = tuple[str, float, float, float, float]


def high_share(boxes: Sequence[Box]) -> float:
    """Share (0 to 1) of the page that the union of all HIGH boxes covers.

    A box is (kind, left, top, right, bottom), in shares of the page's width and height from its upper left
    corner.
    """
    cells = np.zeros((_GRID, _GRID), dtype=bool)
    for kind, left, top, right, bottom in boxes:
        if kind in HIGH_KINDS:
            rows = slice(round(max(top, 0.0) * _GRID), round(min(bottom, 1.0) * _GRID))
            columns = slice(round(max(left, 0.0) * _GRID), round(min(right, 1.0) * _GRID))
            cells[rows, columns] = True
    return float(cells.mean())


def label_of(boxes: Sequence[Box]) -> str:
    """LOW, HIGH, or UNSURE for a page whose HIGH content is too small to be surely one or the other."""
    share = high_share(boxes)
    if share >= LEAST_HIGH_SHARE:
        return "HIGH"
    return "LOW" if share <= MOST_LOW_SHARE else "UNSURE"
