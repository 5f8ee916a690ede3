"""Pictures made without a camera: skies over hills, textures, lit bodies, house fronts, micrographs."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]


def _clouds(generator: np.random.Generator, height: int, width: int, octaves: int = 6) -> NDArray[np.float32]:
    """Fractal noise between 0 and 1."""
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        cells = 2 ** (octave + 1)
        coarse = generator.random((cells + 1, cells + 1), np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) * 0.55**octave
    low, high = float(total.min()), float(total.max())
    return (total - low) / (high - low + 1e-6)


def _blend(share: NDArray[np.float32], colours: NDArray[np.float32]) -> Pixels:
    """Colours (n, 3) along shares (height, width) from 0 to 1."""
    at = np.clip(share, 0, 1) * (len(colours) - 1)
    low = np.minimum(at.astype(np.int32), len(colours) - 2)
    part = (at - low)[..., None]
    return np.clip(colours[low] * (1 - part) + colours[low + 1] * part, 0, 255).astype(np.uint8)


def landscape(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """Sky over ranges of hills."""
    sky = generator.uniform(120, 255, (3, 3)).astype(np.float32)
    rows = np.linspace(0, 1, height, dtype=np.float32)[:, None]
    image = _blend(rows * 0.7 + 0.3 * _clouds(generator, height, width), np.sort(sky, axis=0))
    for layer in range(int(generator.integers(2, 6))):
        line = height * (0.35 + 0.12 * layer) + height * 0.2 * (_clouds(generator, 2, width, 7)[0] - 0.5)
        inside = np.arange(height)[:, None] > line[None]
        ground = generator.uniform(20, 150, 3) * (1 - 0.12 * layer)
        grain = 0.7 + 0.6 * _clouds(generator, height, width, 7)[..., None]
        image = np.where(inside[..., None], np.clip(ground * grain, 0, 255), image).astype(np.uint8)
    return image


def texture(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """Stone, wood, cloth or water: stretched noise in a few colours."""
    stretch = int(generator.choice([1, 1, 4, 12]))
    noise = _clouds(generator, height, max(8, width // stretch), 8)
    noise = cv2.resize(noise, (width, height))
    if generator.random() < 0.4:
        noise = 0.5 + 0.5 * np.sin(noise * generator.uniform(10, 60))
    return _blend(noise.astype(np.float32), generator.uniform(0, 255, (4, 3)).astype(np.float32))


def things(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """Lit round and square bodies before an unsharp ground."""
    image = cv2.GaussianBlur(texture(generator, height, width), (0, 0), 9)
    for _ in range(int(generator.integers(2, 9))):
        x, y = int(generator.integers(0, width)), int(generator.integers(height // 4, height))
        size = int(generator.integers(max(4, height // 14), max(6, height // 3)))
        colour = generator.uniform(20, 230, 3)
        for step in range(8):
            shade = tuple(float(c) for c in np.clip(colour * (0.5 + step * 0.1), 0, 255))
            centre, reach = (x - step * size // 20, y - step * size // 20), max(1, size * (8 - step) // 8)
            cv2.ellipse(image, centre, (reach, max(1, int(reach * 0.8))), 0, 0, 360, shade, -1, cv2.LINE_AA)
    return cv2.GaussianBlur(image, (0, 0), float(generator.uniform(0.5, 1.5)))


def micrograph(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """Grey cells, grains or an X-ray."""
    noise = _clouds(generator, height, width, 7)
    for _ in range(int(generator.integers(10, 80))):
        centre = (int(generator.integers(0, width)), int(generator.integers(0, height)))
        axes = (int(generator.integers(3, 6 + width // 14)), int(generator.integers(3, 6 + height // 14)))
        cv2.ellipse(
            noise,
            centre,
            axes,
            float(generator.uniform(0, 180)),
            0,
            360,
            float(generator.random()),
            -1,
            cv2.LINE_AA,
        )
    noise = cv2.GaussianBlur(noise, (0, 0), 1.2) + generator.normal(0, 0.04, noise.shape).astype(np.float32)
    return np.repeat((np.clip(noise, 0, 1) * 255).astype(np.uint8)[..., None], 3, axis=2)


def buildings(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """House fronts with rows of windows under a sky."""
    image, x = landscape(generator, height, width), 0
    while x < width:
        wide, top = (
            int(generator.integers(width // 10 + 4, width // 3 + 8)),
            int(height * generator.uniform(0.1, 0.6)),
        )
        wall = generator.uniform(60, 210, 3)
        image[top:, x : x + wide] = wall
        pitch = max(6, int(wide / generator.integers(3, 7)))
        glass = wall * generator.uniform(0.25, 0.6)
        for row in range(top + pitch // 2, height - pitch, pitch):
            for column in range(x + pitch // 4, min(x + wide, width) - pitch // 2, pitch):
                image[row : row + pitch // 2, column : column + pitch // 2] = glass
        x += wide
    image = image.astype(np.float32) * (0.7 + 0.5 * _clouds(generator, height, width)[..., None])
    return cv2.GaussianBlur(np.clip(image, 0, 255).astype(np.uint8), (0, 0), 0.8)


SCENES: tuple[Callable[[np.random.Generator, int, int], Pixels], ...] = (
    landscape,
    texture,
    things,
    micrograph,
    buildings,
)


def scene(generator: np.random.Generator, height: int, width: int) -> Pixels:
    """Any scene, RGB (height, width, 3)."""
    image = SCENES[int(generator.integers(len(SCENES)))](generator, height, width)
    noise = generator.normal(0, float(generator.uniform(1, 7)), image.shape).astype(np.float32)
    return np.clip(image + noise, 0, 255).astype(np.uint8)
