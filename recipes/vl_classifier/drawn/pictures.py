"""Pictures on a page: photographs, maps and windows, real ones where a folder of them is at hand, else made here."""

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
from recipes.vl_classifier.drawn.typeset import fit

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


def screenshot(draft: Draft, area: Area) -> Area:
    """A window of a program: real, or with title bar, menus, side list, fields, buttons and text."""
    pixels = real_picture(draft, "screenshot")
    if pixels is not None:
        place = lay(draft, pixels, area)
        if draft.chance(0.5):
            draft.sheet.rect(place.x, place.y, place.width, place.height, ink=(120, 120, 120))
        return place
    random, sheet, style = draft.random, draft.sheet, draft.style
    dark = random.random() < 0.25
    ground, ink, grey = (
        ((43, 43, 48), (225, 225, 225), (70, 70, 78))
        if dark
        else ((246, 246, 246), (30, 30, 30), (205, 205, 205))
    )
    size = min(style.size, area.height / 14, area.width / 22)
    scale = size / style.size * 0.8
    font, bar = style.font("regular", scale), size * 1.9
    sheet.rect(
        area.x, area.y, area.width, area.height, ground, (120, 120, 120), 0.5, radius=random.choice([0, 0, 3])
    )
    sheet.rect(area.x, area.y, area.width, bar, fill=random.choice([grey, style.accent, (60, 60, 65)]))
    sheet.text(
        area.x + size,
        area.y + bar * 0.68,
        fit(style, draft.prose.phrase(1, 3), area.width * 0.6, "regular", scale),
        font,
        (255, 255, 255),
    )
    for n in range(3):
        sheet.ellipse(
            area.right - size * (1 + 1.5 * n),
            area.y + bar / 2,
            size * 0.45,
            size * 0.45,
            fill=(235, 235, 235),
        )
    x = area.x + size
    while x < area.right - size * 5:
        word = draft.prose.label(8)
        sheet.text(x, area.y + bar * 1.68, word, font, ink)
        x += style.width(word, "regular", scale) + size * 1.5
    sheet.line(area.x, area.y + 2 * bar, area.right, area.y + 2 * bar, grey)
    _window_inside(
        draft, Area(area.x, area.y + 2 * bar, area.width, area.height - 2 * bar), size, scale, ink, grey
    )
    return area


def _window_inside(
    draft: Draft, area: Area, size: float, scale: float, ink: tuple[int, int, int], grey: tuple[int, int, int]
) -> None:
    random, sheet, style = draft.random, draft.sheet, draft.style
    font, left = style.font("regular", scale), area.x + size
    if random.random() < 0.6:
        side = area.width * random.uniform(0.18, 0.32)
        sheet.rect(area.x, area.y, side, area.height, fill=grey)
        for n in range(int(area.height / (size * 1.7)) - 1):
            sheet.rect(
                area.x + size * 0.5,
                area.y + size * (0.9 + 1.7 * n),
                size * 0.8,
                size * 0.8,
                fill=random.choice([style.accent, (240, 200, 90), (150, 150, 150)]),
            )
            sheet.text(
                area.x + size * 1.7,
                area.y + size * (1.6 + 1.7 * n),
                fit(style, draft.prose.label(), side - size * 2, "regular", scale),
                font,
                ink,
            )
        left = area.x + side + size
    y, wide = area.y + size * 0.8, area.right - left - size
    while y < area.bottom - size * 2.2:
        match random.choice(["field", "text", "button", "check", "rows"]):
            case "field":
                sheet.text(
                    left, y + size, fit(style, draft.prose.label(), wide * 0.3, "regular", scale), font, ink
                )
                sheet.rect(
                    left + wide * 0.34, y, wide * 0.55, size * 1.4, fill=(255, 255, 255), ink=(140, 140, 140)
                )
            case "button":
                for n in range(random.randint(1, 3)):
                    sheet.rect(
                        left + wide * 0.33 * n,
                        y,
                        wide * 0.27,
                        size * 1.5,
                        fill=grey,
                        ink=(140, 140, 140),
                        radius=2,
                    )
                    sheet.text(
                        left + wide * (0.33 * n + 0.135),
                        y + size,
                        fit(style, draft.prose.label(8), wide * 0.25, "regular", scale),
                        font,
                        ink,
                        "center",
                    )
            case "check":
                sheet.rect(left, y + size * 0.2, size, size, ink=ink)
                sheet.text(
                    left + size * 1.6,
                    y + size,
                    fit(style, draft.prose.phrase(2, 4), wide * 0.8, "regular", scale),
                    font,
                    ink,
                )
            case "rows":
                sheet.rect(left, y, wide, size * 1.5, fill=random.choice([(51, 120, 200), (190, 205, 225), grey]))
            case _:
                sheet.text(
                    left, y + size, fit(style, draft.prose.phrase(4, 9), wide, "regular", scale), font, ink
                )
        y += size * 2


def figure(draft: Draft, area: Area) -> Area:
    """A real diagram or chart from the folder, else a photograph."""
    pixels = real_picture(draft, draft.random.choice(["diagram", "chart"]))
    return lay(draft, pixels, area) if pixels is not None else photo(draft, area)
