"""Forms: boxes to fill, lines to write on, ticks, grids of letters, invoices with totals."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.tables import table
from recipes.vl_classifier.drawn.typeset import fit, set_line


def form(draft: Draft, area: Area) -> float:
    """A form over the whole area, marked as one; returns its height."""
    style, random = draft.style, draft.random
    scale, pitch, used = random.uniform(0.75, 0.95), style.line * random.uniform(1.7, 2.6), 0.0
    look = random.choice(["lines", "boxes", "cells", "dots"])
    while area.height - used > pitch:
        row = Area(area.x, area.y + used, area.width, pitch)
        kind = random.choices(["fields", "ticks", "letters", "section", "writing"], [8, 2, 1, 1, 1])[0]
        if kind == "fields":
            _fields(draft, row, look, scale)
        elif kind == "ticks":
            _ticks(draft, row, scale)
        elif kind == "letters":
            _letters(draft, row, scale)
        elif kind == "section":
            _section(draft, row, scale)
        elif area.height - used > 3 * pitch:
            used += pitch
            draft.sheet.line(row.x, row.bottom, row.right, row.bottom, style.ink, 0.5)
            draft.sheet.line(
                row.x, row.bottom + pitch * 0.9, row.right, row.bottom + pitch * 0.9, style.ink, 0.5
            )
        used += pitch
    draft.sheet.mark("form", area.x, area.y, area.width, used)
    return used


def _fields(draft: Draft, row: Area, look: str, scale: float) -> None:
    style, count = draft.style, draft.random.choice([1, 1, 2, 2, 3, 4])
    wide = row.width / count
    for n in range(count):
        x, label = row.x + wide * n, fit(style, draft.prose.phrase(1, 3), wide * 0.42, "regular", scale)
        if look == "cells":
            draft.sheet.rect(x, row.y, wide, row.height, ink=style.ink, stroke=0.5)
            draft.sheet.text(
                x + 2, row.y + style.size * 0.75, label, style.font("regular", scale * 0.85), style.ink
            )
            _written(draft, x + 6, row.bottom - 3, wide - 10)
            continue
        start, base = x + style.width(label, "regular", scale) + 5, row.y + row.height * 0.75
        draft.sheet.text(x, base, label, style.font("regular", scale), style.ink)
        end = x + wide - 8
        if look == "boxes":
            draft.sheet.rect(
                start, row.y + row.height * 0.2, end - start, row.height * 0.66, ink=style.ink, stroke=0.5
            )
        else:
            draft.sheet.line(
                start, base + 2, end, base + 2, style.ink, 0.5, (1.0, 2.0) if look == "dots" else ()
            )
        _written(draft, start + 4, base, end - start - 6)


def _written(draft: Draft, x: float, y: float, width: float) -> None:
    if draft.chance(0.35) and width > 20:
        blue = (30, 40, 140) if draft.style.coloured else draft.style.ink
        draft.sheet.text(
            x,
            y,
            fit(draft.style, draft.prose.phrase(1, 2), width, "italic", 0.95),
            draft.style.font("italic", 0.95),
            blue,
        )


def _ticks(draft: Draft, row: Area, scale: float) -> None:
    style, count = draft.style, draft.random.randint(2, 5)
    side, wide = style.size * 0.9, row.width / count
    for n in range(count):
        x, y = row.x + wide * n, row.y + row.height * 0.3
        draft.sheet.rect(x, y, side, side, ink=style.ink, stroke=0.6)
        if draft.chance(0.3):
            draft.sheet.line(x, y, x + side, y + side, style.ink, 0.9)
            draft.sheet.line(x + side, y, x, y + side, style.ink, 0.9)
        draft.sheet.text(
            x + side * 1.5,
            y + side * 0.9,
            fit(style, draft.prose.phrase(1, 3), wide - side * 2, "regular", scale),
            style.font("regular", scale),
            style.ink,
        )


def _letters(draft: Draft, row: Area, scale: float) -> None:
    style, side = draft.style, row.height * 0.62
    label = fit(style, draft.prose.label(), row.width * 0.25, "regular", scale)
    draft.sheet.text(row.x, row.y + row.height * 0.7, label, style.font("regular", scale), style.ink)
    x = row.x + row.width * 0.28
    while x + side < row.right - draft.random.uniform(0, 60):
        draft.sheet.rect(x, row.y + row.height * 0.2, side, side, ink=style.ink, stroke=0.5)
        x += side


def _section(draft: Draft, row: Area, scale: float) -> None:
    style = draft.style
    dark = draft.chance(0.4)
    draft.sheet.rect(
        row.x,
        row.y + row.height * 0.15,
        row.width,
        row.height * 0.7,
        fill=style.accent if dark else (228, 228, 228),
    )
    ink = (255, 255, 255) if dark else style.ink
    draft.sheet.text(
        row.x + 4,
        row.y + row.height * 0.66,
        fit(style, draft.prose.phrase(2, 5), row.width - 8, "bold", scale),
        style.font("bold", scale),
        ink,
    )


def invoice(draft: Draft, area: Area) -> None:
    """Two addresses, a table of items and totals at its right."""
    style, random, used = draft.style, draft.random, 0.0
    used += set_line(draft, draft.prose.label(), area, "heading", 1.8, style.heading_ink)
    for n in range(random.randint(3, 6)):
        left = area.below(used)
        set_line(draft, draft.prose.phrase(2, 4), Area(left.x, left.y, area.width * 0.45, left.height))
        right = Area(area.x + area.width * 0.6, left.y, area.width * 0.4, left.height)
        used += set_line(
            draft,
            f"{draft.prose.label(8)}: {random.randint(100, 99999)}",
            right,
            "bold" if n == 0 else "regular",
        )
    used += style.line * random.uniform(1, 4)
    height = area.height * random.uniform(0.2, 0.55)
    used += table(
        draft,
        Area(area.x, area.y + used, area.width, height),
        random.choice(["grid", "lines", "header-rule", "stripes", "bare"]),
    )
    for text in ("Subtotal", "VAT 20%", "Total"):
        row = area.below(used)
        set_line(
            draft,
            text,
            Area(area.x + area.width * 0.6, row.y, area.width * 0.2, row.height),
            "bold" if text == "Total" else "regular",
        )
        used += set_line(draft, f"{random.uniform(10, 9000):,.2f}", row, align="right")
    for _ in range(random.randint(0, 4)):
        used += set_line(draft, draft.prose.phrase(5, 12), area.below(used + style.line * 2), scale=0.85)
