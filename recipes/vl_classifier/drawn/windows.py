"""Windows of programs, real ones where a folder of them is at hand, else drawn."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.pictures import lay, real_picture
from recipes.vl_classifier.drawn.typeset import fit


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
                sheet.rect(
                    left, y, wide, size * 1.5, fill=random.choice([(51, 120, 200), (190, 205, 225), grey])
                )
            case _:
                sheet.text(
                    left, y + size, fit(style, draft.prose.phrase(4, 9), wide, "regular", scale), font, ink
                )
        y += size * 2
