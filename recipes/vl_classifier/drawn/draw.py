"""Draws one page from a seed and a number, and tells what is on it."""

from __future__ import annotations

import random as randomness
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from recipes.vl_classifier.drawn.draft import Draft
from recipes.vl_classifier.drawn.layout import Assets, body_of, new_draft
from recipes.vl_classifier.drawn.pages import maker_of
from recipes.vl_classifier.rule import Box, high_share, label_of

# A page whose HIGH content came out between the two bounds of the rule, or missing, is drawn again so often.
_TRIES = 8
# LOW kinds, those first that tell most of a page.
_PROMINENCE = ("contents", "index", "references", "form-letter", "blank", "short", "formula", "code",
               "framed-text", "list", "columns", "paragraphs", "headings", "rule")  # fmt: skip


@dataclass(frozen=True)
class Drawn:
    """A page and what is known of it."""

    pixels: NDArray[np.uint8]
    """BGR (height, width, 3) or grayscale (height, width)."""
    label: str
    kinds: tuple[str, ...]
    boxes: tuple[Box, ...]
    share: float


def _kinds(draft: Draft) -> tuple[str, ...]:
    """What is on the page, the most prominent first; a mere logo comes after the text."""
    areas: dict[str, float] = {}
    for kind, left, top, right, bottom in draft.sheet.boxes:
        areas[kind] = areas.get(kind, 0.0) + (right - left) * (bottom - top)
    high = sorted(areas, key=lambda kind: -areas[kind])
    low = sorted(draft.kinds or ["paragraphs"], key=_PROMINENCE.index)
    return (*high, *low) if label_of(draft.sheet.boxes) == "HIGH" else (*low, *high)


def draw_page(seed: int, number: int, assets: Assets) -> Drawn:
    """Draw page `number` of a seed: LOW where it is even, else HIGH. Same arguments, same page."""
    wanted = "HIGH" if number % 2 else "LOW"
    for attempt in range(_TRIES):
        random = randomness.Random(f"{seed}/{number}/{attempt}")
        draft, shape = new_draft(random, assets)
        body = body_of(draft, shape)
        maker_of(random, shape, wanted == "HIGH")(draft, body)
        boxes = tuple(draft.sheet.boxes)
        if label_of(boxes) == wanted:
            return Drawn(draft.sheet.pixels(), wanted, _kinds(draft), boxes, round(high_share(boxes), 4))
    raise RuntimeError(f"page {number} of seed {seed} did not come out {wanted} in {_TRIES} tries")
