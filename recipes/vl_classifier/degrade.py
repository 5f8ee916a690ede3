"""What copiers, scanners, fax machines, phones and years do to a page: one law for LOW and for HIGH ones.

Images are uint8, grayscale (height, width) or BGR (height, width, 3); shape and type stay as they are. A
geometric degradation also gives the 3 x 3 matrix that takes pixels of the page to pixels of the result.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from recipes.vl_classifier.degrade_geometry import crop_margins, phone, skew
from recipes.vl_classifier.degrade_plain import (
    Degradation,
    Image,
    at_dpi,
    bleed_through,
    blur,
    dark,
    faded,
    grey,
    invert,
    jpeg,
    jpeg_of,
    like,
    low_resolution,
    marks,
    motion,
    noise,
    one_bit,
    shadow,
    to_gray,
    uneven_light,
    yellowed,
)
from recipes.vl_classifier.rule import Box

Matrix = NDArray[np.float64]

GeometricDegradation = Callable[[Image, np.random.Generator], tuple[Image, Matrix]]

PLAIN: dict[Degradation, float] = {
    jpeg: 5, blur: 3, motion: 1, noise: 3, low_resolution: 3, shadow: 2, uneven_light: 2, bleed_through: 1,
    grey: 2, one_bit: 2.5, invert: 0.25, faded: 1.5, dark: 1, yellowed: 1, marks: 1.5,
}  # fmt: skip

GEOMETRIC: dict[GeometricDegradation, float] = {skew: 4, phone: 2, crop_margins: 3}

# Odds of 0, 1, 2 and 3 degradations, and of one of them being geometric.
_COUNT_ODDS = (0.25, 0.35, 0.25, 0.15)

_GEOMETRIC_ODDS = 0.3


def _drawn(table: dict, generator: np.random.Generator) -> Callable:  # type: ignore[type-arg]
    odds = np.array(list(table.values()))
    return list(table)[int(generator.choice(len(odds), p=odds / odds.sum()))]


def degrade_mapped(image: Image, generator: np.random.Generator) -> tuple[Image, Matrix]:
    """Apply 0 to 3 degradations; returns the image and where its pixels went."""
    count, matrix = int(generator.choice(4, p=_COUNT_ODDS)), np.eye(3)
    if count and generator.random() < _GEOMETRIC_ODDS:
        image, matrix = _drawn(GEOMETRIC, generator)(image, generator)
        count -= 1
    for _ in range(count):
        image = _drawn(PLAIN, generator)(image, generator)
    return image, matrix


def degrade(image: Image, generator: np.random.Generator) -> Image:
    """Apply 0 to 3 degradations."""
    return degrade_mapped(image, generator)[0]


def mapped_box(box: Box, matrix: Matrix, shape: tuple[int, ...]) -> Box:
    """The upright box round a box taken along by a matrix, cut to the image of `shape` (height, width, ...).

    Boxes are in shares of the image, the matrix in pixels.
    """
    kind, left, top, right, bottom = box
    size = np.array([shape[1], shape[0]], np.float64)
    corners = np.array([[left, top], [right, top], [right, bottom], [left, bottom]]) * size
    moved = cv2.perspectiveTransform(corners[None], matrix)[0] / size
    (x0, y0), (x1, y1) = np.clip(moved.min(axis=0), 0, 1), np.clip(moved.max(axis=0), 0, 1)
    return kind, float(x0), float(y0), float(x1), float(y1)


NAMED: dict[str, GeometricDegradation] = {
    "jpeg-30": lambda image, _: (jpeg_of(image, 30), np.eye(3)),
    "blur": lambda image, _: (cv2.GaussianBlur(image, (0, 0), 1.5), np.eye(3)),
    "skew": lambda image, generator: skew(image, generator, 3.0),
    "one-bit": lambda image, _: (
        like(cv2.threshold(to_gray(image), 160, 255, cv2.THRESH_BINARY)[1], image),
        np.eye(3),
    ),
    "dpi-60": lambda image, _: (at_dpi(image, 60), np.eye(3)),
    "phone": phone,
}


def named(image: Image, name: str, seed: int = 0) -> tuple[Image, Matrix]:
    """Apply one of `NAMED` at its fixed strength; the seed draws only its direction and surroundings."""
    return NAMED[name](image, np.random.default_rng(seed))
