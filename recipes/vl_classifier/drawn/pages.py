"""Which kind of page is drawn on which paper."""

from __future__ import annotations

import random as randomness
from collections.abc import Callable

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.high_pages import (
    beside_page,
    form_page,
    high_slide,
    mixed_page,
    picture_page,
    receipt,
    screen_page,
    table_page,
)
from recipes.vl_classifier.drawn.layout import (
    Shape,
)
from recipes.vl_classifier.drawn.low_pages import (
    framed_page,
    letter_page,
    list_page,
    manual_page,
    slide_page,
    sparse_page,
    text_page,
)

Maker = Callable[[Draft, Area], None]

_LOW: dict[Maker, float] = {
    text_page: 60,
    list_page: 16,
    letter_page: 5,
    sparse_page: 7,
    framed_page: 7,
    manual_page: 5,
}

_HIGH: dict[Maker, float] = {mixed_page: 55, beside_page: 8, table_page: 16, picture_page: 9, form_page: 7}

_SLIDES = {"slide", "wide-slide"}


def maker_of(random: randomness.Random, shape: Shape, high: bool) -> Maker:
    """What to draw on a page of this shape."""
    if high and shape.name == "receipt":
        return receipt
    if high and shape.name == "screen" and random.random() < 0.6:
        return screen_page
    if shape.name in _SLIDES and random.random() < 0.75:
        return high_slide if high else slide_page
    if not high and shape.name not in {"a4", "letter", "book", "small-book", "dense"}:
        return text_page
    weights = _HIGH if high else _LOW
    return random.choices(list(weights), list(weights.values()))[0]
