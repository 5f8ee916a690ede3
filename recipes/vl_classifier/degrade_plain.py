"""Degradations that leave pixels in place: compression, blur, noise, light, ink, paper, thresholds."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Image = NDArray[np.uint8]

Degradation = Callable[[Image, np.random.Generator], Image]


def to_gray(image: Image) -> Image:
    """The page without its colour, (height, width)."""
    return image if image.ndim == 2 else cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)


def like(gray: Image, image: Image) -> Image:
    """A grayscale picture with as many channels as `image`."""
    return gray if image.ndim == 2 else cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR)


def _field(
    shape: tuple[int, ...], generator: np.random.Generator, cells: int, low: float, high: float
) -> NDArray[np.float32]:
    """A smooth field of factors over a page."""
    coarse = generator.uniform(low, high, (cells, cells)).astype(np.float32)
    return cv2.resize(coarse, (shape[1], shape[0]), interpolation=cv2.INTER_LINEAR)


def _scaled(image: Image, field: NDArray[np.float32]) -> Image:
    """The page times a field of factors up to 1."""
    factors = np.clip(field * 255, 0, 255).astype(np.uint8)
    return cv2.multiply(image, like(factors, image), scale=1 / 255)


def jpeg(image: Image, generator: np.random.Generator) -> Image:
    """JPEG of quality 15 to 95."""
    return jpeg_of(image, int(generator.integers(15, 96)))


def jpeg_of(image: Image, quality: int) -> Image:
    """The page after JPEG of a quality from 1 to 100."""
    _, encoded = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(encoded, cv2.IMREAD_GRAYSCALE if image.ndim == 2 else cv2.IMREAD_COLOR)


def blur(image: Image, generator: np.random.Generator) -> Image:
    """Gaussian blur of 0.4 to 2 pixels."""
    return cv2.GaussianBlur(image, (0, 0), float(generator.uniform(0.4, 2.0)))


def motion(image: Image, generator: np.random.Generator) -> Image:
    """A shaken hand: blur of 3 to 9 pixels along one direction."""
    length = int(generator.integers(3, 10)) | 1
    kernel = np.zeros((length, length), np.float32)
    turn, half = generator.uniform(0, np.pi), length // 2
    end = (round(half + half * np.cos(turn)), round(half + half * np.sin(turn)))
    cv2.line(kernel, (2 * half - end[0], 2 * half - end[1]), end, 1.0, 1)
    return cv2.filter2D(image, -1, kernel / kernel.sum())


def noise(image: Image, generator: np.random.Generator) -> Image:
    """Sensor noise, or specks."""
    if generator.random() < 0.3:
        specks = int(image.shape[0] * image.shape[1] * generator.uniform(0.0002, 0.003))
        out = image.copy()
        rows, columns = (
            generator.integers(0, image.shape[0], specks),
            generator.integers(0, image.shape[1], specks),
        )
        out[rows, columns] = generator.integers(0, 2) * 255
        return out
    tile = generator.normal(128, float(generator.uniform(3, 18)), (256, 256)).astype(np.float32)
    whole = np.tile(
        np.clip(tile, 0, 255).astype(np.uint8), (image.shape[0] // 256 + 1, image.shape[1] // 256 + 1)
    )
    grain = like(np.ascontiguousarray(whole[: image.shape[0], : image.shape[1]]), image)
    return cv2.addWeighted(image, 1.0, grain, 1.0, -128)


def low_resolution(image: Image, generator: np.random.Generator) -> Image:
    """As if scanned at 60 to 110 dots an inch, for a page 11 inches tall."""
    return at_dpi(image, float(generator.uniform(60, 110)))


def at_dpi(image: Image, dpi: float) -> Image:
    """The page as it comes back from a scan of this resolution, if it is 11 inches tall."""
    share = min(1.0, dpi * 11 / max(image.shape[:2]))
    small = cv2.resize(image, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (image.shape[1], image.shape[0]), interpolation=cv2.INTER_LINEAR)


def shadow(image: Image, generator: np.random.Generator) -> Image:
    """A gradient across the page, as of a book's fold or a lamp on one side."""
    ramp = np.linspace(float(generator.uniform(0.35, 0.85)), 1.0, 64, dtype=np.float32) ** float(
        generator.uniform(0.4, 1.0)
    )
    ramp = ramp[:: int(generator.choice([-1, 1]))]
    strip = ramp[None] if generator.random() < 0.6 else ramp[:, None]
    return _scaled(image, cv2.resize(np.ascontiguousarray(strip), (image.shape[1], image.shape[0])))


def uneven_light(image: Image, generator: np.random.Generator) -> Image:
    """Brighter and darker places."""
    return _scaled(image, _field(image.shape, generator, int(generator.integers(2, 6)), 0.6, 1.0))


def bleed_through(image: Image, generator: np.random.Generator) -> Image:
    """Faint mirrored print from the back: the page itself, mirrored and moved."""
    back = cv2.GaussianBlur(to_gray(image)[:, ::-1], (0, 0), 1.6)
    back = np.roll(back, int(generator.integers(20, 200)), axis=0)
    strength = float(generator.uniform(0.08, 0.28))
    veil = cv2.addWeighted(back, strength, np.full_like(back, 255), 1 - strength, 0)
    return np.minimum(image, like(veil, image))


def grey(image: Image, _: np.random.Generator) -> Image:
    """Colour taken away."""
    return like(to_gray(image), image)


def one_bit(image: Image, generator: np.random.Generator) -> Image:
    """Black and white: a fixed threshold, Otsu's, a local one or an ordered screen."""
    gray, kind = to_gray(image), generator.integers(4)
    if kind == 0:
        _, out = cv2.threshold(gray, float(generator.uniform(110, 200)), 255, cv2.THRESH_BINARY)
    elif kind == 1:
        _, out = cv2.threshold(gray, 0, 255, cv2.THRESH_BINARY | cv2.THRESH_OTSU)
    elif kind == 2:
        out = cv2.adaptiveThreshold(gray, 255, cv2.ADAPTIVE_THRESH_MEAN_C, cv2.THRESH_BINARY, 31, 12)
    else:
        out = _screened(gray)
    return like(out, image)


def _screened(gray: Image) -> Image:
    """An ordered 4 x 4 dither."""
    bayer = np.array([[0, 8, 2, 10], [12, 4, 14, 6], [3, 11, 1, 9], [15, 7, 13, 5]], np.uint8) * 16 + 8
    screen = np.tile(bayer, (gray.shape[0] // 4 + 1, gray.shape[1] // 4 + 1))[
        : gray.shape[0], : gray.shape[1]
    ]
    return np.where(gray > screen, 255, 0).astype(np.uint8)


def invert(image: Image, _: np.random.Generator) -> Image:
    """A negative."""
    return 255 - image


def faded(image: Image, generator: np.random.Generator) -> Image:
    """Pale ink: dark tones lifted, with more light lost in places."""
    floor = float(generator.uniform(60, 170))
    return cv2.convertScaleAbs(image, alpha=(255 - floor) / 255, beta=floor)


def dark(image: Image, generator: np.random.Generator) -> Image:
    """Too much ink, or a grey ground."""
    table = (
        255 * (np.arange(256) / 255) ** generator.uniform(1.2, 2.2) * generator.uniform(0.75, 1.0)
    ).astype(np.uint8)
    return cv2.LUT(image, table)


def yellowed(image: Image, generator: np.random.Generator) -> Image:
    """Old paper."""
    if image.ndim == 2:
        return cv2.convertScaleAbs(image, alpha=float(generator.uniform(0.8, 0.95)))
    tint = np.array(
        [generator.uniform(0.65, 0.85), generator.uniform(0.82, 0.95), generator.uniform(0.9, 1.0)]
    )
    return cv2.merge(
        [
            cv2.convertScaleAbs(part, alpha=float(share))
            for part, share in zip(cv2.split(image), tint, strict=True)
        ]
    )


def marks(image: Image, generator: np.random.Generator) -> Image:
    """Punch holes, a staple, a crease or dark scan borders."""
    out, (height, width) = image.copy(), image.shape[:2]
    kind, ink = generator.integers(4), int(generator.integers(0, 120))
    colour = (ink, ink, ink)
    if kind == 0:
        x, radius = int(width * 0.035), max(4, int(width * 0.012))
        for share in (0.36, 0.64) if generator.random() < 0.6 else (0.2, 0.5, 0.8):
            cv2.circle(out, (x, int(height * share)), radius, colour, -1, cv2.LINE_AA)
    elif kind == 1:
        x, y = int(width * 0.06), int(height * 0.04)
        cv2.line(
            out, (x, y), (x + int(width * 0.03), y + int(generator.integers(-9, 10))), colour, 3, cv2.LINE_AA
        )
    elif kind == 2:
        y = int(height * generator.uniform(0.3, 0.7))
        cv2.line(out, (0, y), (width, y + int(generator.integers(-8, 9))), (200, 200, 200), 2, cv2.LINE_AA)
    else:
        for side in range(4):
            if generator.random() < 0.5:
                deep = int(width * generator.uniform(0.003, 0.03))
                out[
                    (slice(None, deep), slice(-deep, None), slice(None), slice(None))[side],
                    (slice(None), slice(None), slice(None, deep), slice(-deep, None))[side],
                ] = ink
    return out
