"""Photographs and maps on a page, real ones where a folder of them is at hand, else made here."""

from __future__ import annotations

import math
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import skia
from numpy.typing import NDArray

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.scenes import scene

# Share of pictures taken from the folder of real ones, where there are any of the kind.
_REAL_SHARE = 0.6

_MOST_PIXELS = 700


@lru_cache(maxsize=8)
def _files(folder: Path) -> tuple[Path, ...]:
    return tuple(
        sorted(path for path in folder.glob("*") if path.suffix.lower() in {".png", ".jpg", ".jpeg", ".webp"})
    )


@lru_cache(maxsize=600)
def _read(path: Path) -> NDArray[np.uint8] | None:
    """RGB pixels of at most 700 a side, transparent ground made white."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or image.dtype != np.uint8 or min(image.shape[:2]) < 60:
        return None
    shrink = min(1.0, _MOST_PIXELS / max(image.shape[:2]))
    image = cv2.resize(image, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    if image.ndim == 2:
        return cv2.cvtColor(image, cv2.COLOR_GRAY2RGB)
    if image.shape[2] == 4:
        alpha = image[:, :, 3:].astype(np.float32) / 255
        image = (image[:, :, :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def real_picture(draft: Draft, kind: str) -> NDArray[np.uint8] | None:
    """A picture of the kind from the folder, RGB, or None."""
    if draft.pictures is None or not draft.chance(_REAL_SHARE):
        return None
    files = _files(draft.pictures / kind)
    return _read(draft.random.choice(files)) if files else None


def lay(draft: Draft, pixels: NDArray[np.uint8], area: Area) -> Area:
    """Lay a picture as large as an area lets it be, its shape kept; returns where it lies."""
    height, width = pixels.shape[:2]
    scale = min(area.width / width, area.height / height)
    place = Area(
        area.x + (area.width - width * scale) / 2,
        area.y + (area.height - height * scale) / 2,
        width * scale,
        height * scale,
    )
    if not draft.style.coloured:
        pixels = cv2.cvtColor(cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    draft.sheet.picture(pixels, place.x, place.y, place.width, place.height)
    return place


def photo(draft: Draft, area: Area) -> Area:
    """A photograph; returns where it lies."""
    pixels = real_picture(draft, "photo")
    if pixels is None:
        tall = 300
        wide = max(40, min(900, round(tall * area.width / area.height)))
        pixels = scene(np.random.default_rng(draft.random.getrandbits(32)), tall, wide)
    place = lay(draft, pixels, area)
    if draft.chance(0.25):
        draft.sheet.rect(place.x, place.y, place.width, place.height, ink=draft.style.ink, stroke=0.6)
    return place


def map_(draft: Draft, area: Area) -> Area:
    """A map: real, or land, water, roads and names."""
    pixels = real_picture(draft, "map")
    if pixels is not None:
        return lay(draft, pixels, area)
    random, sheet, style = draft.random, draft.sheet, draft.style
    sheet.canvas.save()
    sheet.canvas.clipRect(skia.Rect.MakeXYWH(area.x, area.y, area.width, area.height))
    tints = (
        [(200, 225, 245), (240, 238, 228), (214, 232, 205)]
        if style.coloured
        else [(225, 225, 225), (252, 252, 252), (240, 240, 240)]
    )
    sheet.rect(area.x, area.y, area.width, area.height, fill=tints[0])
    for tint in (tints[1], tints[1], tints[2]):
        cx, cy = random.uniform(area.x, area.right), random.uniform(area.y, area.bottom)
        reach = min(area.width, area.height) * random.uniform(0.3, 0.75)
        shore = [
            (
                cx + reach * random.uniform(0.6, 1.2) * math.cos(t * math.tau / 14),
                cy + reach * random.uniform(0.6, 1.2) * math.sin(t * math.tau / 14),
            )
            for t in range(14)
        ]
        sheet.curve(shore, (90, 90, 90), 0.6, fill=tint, closed=True)
    for number in range(random.randint(6, 18)):
        points = [
            (random.uniform(area.x - 20, area.right + 20), random.uniform(area.y - 20, area.bottom + 20))
            for _ in range(3)
        ]
        ink = (
            random.choice([(230, 150, 60), (120, 120, 120), (90, 130, 200)])
            if style.coloured
            else random.choice([(90, 90, 90), (170, 170, 170)])
        )
        sheet.curve(points, ink, random.choice([0.5, 0.8, 1.8]), random.choice([(), (), (3.0, 2.0)]))
        if number % 2:
            x, y = points[1]
            sheet.ellipse(x, y, 1.5, 1.5, fill=style.ink)
            sheet.text(
                x + 3, y, draft.prose.label(10), style.font(scale=random.uniform(0.55, 0.85)), style.ink
            )
    sheet.canvas.restore()
    sheet.rect(area.x, area.y, area.width, area.height, ink=style.ink, stroke=0.7)
    return area
