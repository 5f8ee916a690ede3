"""Degradations that move pixels: skew, a photograph taken by hand, cropped margins."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]
Matrix = NDArray[np.float64]


def _colour(image: Image, value: NDArray[np.float64]) -> tuple[float, ...]:
    return (float(value.mean()),) if image.ndim == 2 else tuple(float(part) for part in value)


def skew(image: Image, generator: np.random.Generator, degrees: float | None = None) -> tuple[Image, Matrix]:
    """Turn a page by up to 5 degrees (or by `degrees` to either side) on white or dark ground."""
    height, width = image.shape[:2]
    turn = float(generator.uniform(-5, 5)) if degrees is None else degrees * float(generator.choice([-1, 1]))
    matrix = np.vstack([cv2.getRotationMatrix2D((width / 2, height / 2), turn, 1.0), [0, 0, 1]])
    ground = 255.0 if generator.random() < 0.75 else float(generator.uniform(0, 120))
    out = cv2.warpAffine(
        image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderValue=(ground,) * 3
    )
    return out, matrix


def crop_margins(image: Image, generator: np.random.Generator) -> tuple[Image, Matrix]:
    """Cut up to 6 % off the sides, or add as much empty margin, and bring the page back to its size."""
    height, width = image.shape[:2]
    left, top, right, bottom = generator.uniform(-0.05, 0.06, 4)
    source = np.array([[left, top], [1 - right, top], [1 - right, 1 - bottom], [left, 1 - bottom]]) * (
        width,
        height,
    )
    target = np.array([[0, 0], [width, 0], [width, height], [0, height]])
    matrix = cv2.getPerspectiveTransform(source.astype(np.float32), target.astype(np.float32))
    out = cv2.warpAffine(
        image, matrix[:2], (width, height), flags=cv2.INTER_LINEAR, borderValue=(255, 255, 255)
    )
    return out, matrix


def _desk(image: Image, generator: np.random.Generator) -> Image:
    """Wood, cloth or stone under the page."""
    height, width = image.shape[:2]
    across, down = generator.choice([(4, 64), (64, 4), (24, 24), (3, 3)])
    grain = generator.uniform(0.75, 1.1, (int(down), int(across))).astype(np.float32)
    grain = cv2.resize(grain, (width // 4, height // 4), interpolation=cv2.INTER_LINEAR)
    grain = cv2.resize(grain, (width, height), interpolation=cv2.INTER_LINEAR)
    base = _colour(image, generator.uniform(20, 230, 3))
    parts = [cv2.convertScaleAbs(grain, alpha=part) for part in base]
    return parts[0] if image.ndim == 2 else cv2.merge(parts)


def _lighting(shape: tuple[int, ...], generator: np.random.Generator) -> Image:
    """A smooth field of light with the soft shadow of a hand or phone, as factors out of 255."""
    small = generator.uniform(0.65, 1.0, (3, 3)).astype(np.float32)
    field = cv2.resize(small, (shape[1] // 8, shape[0] // 8), interpolation=cv2.INTER_LINEAR)
    if generator.random() < 0.5:
        shade = np.ones_like(field)
        centre = (
            int(generator.uniform(0, 1) * field.shape[1]),
            int(generator.choice([0.1, 0.9]) * field.shape[0]),
        )
        axes = (
            max(2, int(field.shape[1] * generator.uniform(0.2, 0.5))),
            max(2, int(field.shape[0] * generator.uniform(0.15, 0.4))),
        )
        cv2.ellipse(
            shade,
            centre,
            axes,
            float(generator.uniform(0, 180)),
            0,
            360,
            float(generator.uniform(0.55, 0.8)),
            -1,
        )
        field *= cv2.GaussianBlur(shade, (0, 0), float(generator.uniform(2, 8)))
    return cv2.resize((field * 255).astype(np.uint8), (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def phone(image: Image, generator: np.random.Generator) -> tuple[Image, Matrix]:
    """Photograph a page on a desk: perspective, uneven light, a shadow, slight blur."""
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inward = np.array([[1, 1], [-1, 1], [-1, -1], [1, -1]], np.float32)
    moved = corners + inward * generator.uniform(0.005, 0.1, (4, 2)).astype(np.float32) * (width, height)
    matrix = cv2.getPerspectiveTransform(corners, moved.astype(np.float32))
    out = cv2.warpPerspective(
        image, matrix, (width, height), dst=_desk(image, generator), flags=cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_TRANSPARENT,
    )  # fmt: skip
    light = _lighting(image.shape, generator)
    out = cv2.multiply(
        out, light if image.ndim == 2 else cv2.cvtColor(light, cv2.COLOR_GRAY2BGR), scale=1 / 255
    )
    return cv2.GaussianBlur(out, (3, 3), float(generator.uniform(0.4, 1.0))), matrix
