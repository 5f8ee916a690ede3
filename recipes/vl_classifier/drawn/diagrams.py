"""Diagrams of boxes: flow, classes, sequences, records, signals over time."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Color
from recipes.vl_classifier.drawn.typeset import fit


def fill_of(draft: Draft) -> Color | None:
    """A pale fill for the boxes of one diagram, or none."""
    if draft.chance(0.45):
        return None
    if not draft.style.coloured:
        return draft.random.choice([(235, 235, 235), (215, 215, 215), (255, 255, 255)])
    return draft.random.choice(
        [(220, 230, 242), (253, 234, 218), (235, 241, 222), (255, 255, 204), (229, 224, 236), (218, 238, 243)]
    )


def node(
    draft: Draft, x: float, y: float, width: float, height: float, shape: str, fill: Color | None
) -> None:
    """A named shape about (x, y)."""
    sheet, style = draft.sheet, draft.style
    left, top = x - width / 2, y - height / 2
    match shape:
        case "ellipse":
            sheet.ellipse(x, y, width / 2, height / 2, fill, style.ink, 0.6)
        case "diamond":
            corners = [(x, top), (x + width / 2, y), (x, top + height), (left, y)]
            sheet.polyline(corners, style.ink, 0.6, fill=fill, closed=True)
        case "slanted":
            corners = [
                (left + 6, top),
                (left + width, top),
                (left + width - 6, top + height),
                (left, top + height),
            ]
            sheet.polyline(corners, style.ink, 0.6, fill=fill, closed=True)
        case "cylinder":
            sheet.rect(left, top, width, height, fill, style.ink, 0.6)
            sheet.ellipse(x, top, width / 2, height * 0.14, fill or style.background, style.ink, 0.6)
        case _:
            sheet.rect(
                left, top, width, height, fill, style.ink, 0.6, radius=5.0 if shape == "round" else 0.0
            )
    scale = max(0.5, min(0.85, width / (style.size * 6)))
    text = fit(style, draft.prose.label(11), width * (0.62 if shape == "diamond" else 0.9), "regular", scale)
    sheet.text(x, y + style.size * scale * 0.35, text, style.font("regular", scale), style.ink, "center")


def flow(draft: Draft, area: Area) -> None:
    """Boxes in rows and columns joined by arrows."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    columns = max(1, min(random.randint(1, 5), int(area.width / 70)))
    rows = max(2, min(random.randint(2, 6), int(area.height / 42)))
    wide, tall = area.width / columns, area.height / rows
    fill, shapes = (
        fill_of(draft),
        random.choice(
            [
                ["rect"],
                ["round"],
                ["rect", "diamond", "slanted"],
                ["rect", "cylinder", "ellipse"],
                ["ellipse"],
            ]
        ),
    )
    half_x, half_y = wide * random.uniform(0.3, 0.38), tall * random.uniform(0.26, 0.34)
    kept = {(r, c) for r in range(rows) for c in range(columns) if random.random() < 0.85 or columns == 1}
    dash = random.choice([(), (), (), (2.0, 1.5)])
    for row, column in sorted(kept):
        x, y = area.x + wide * (column + 0.5), area.y + tall * (row + 0.5)
        node(draft, x, y, 2 * half_x, 2 * half_y, random.choice(shapes), fill)
        if (row + 1, column) in kept and random.random() < 0.85:
            sheet.arrow(x, y + half_y, x, y + tall - half_y, style.ink, 0.6, 3.5, dash)
        if (row, column + 1) in kept and random.random() < 0.6:
            sheet.arrow(x + half_x, y, x + wide - half_x, y, style.ink, 0.6, 3.5, dash)
        elif (row + 1, column + 1) in kept and random.random() < 0.3:
            sheet.arrow(x + half_x, y, x + wide, y + tall - half_y, style.ink, 0.6, 3.5, dash)


def classes(draft: Draft, area: Area) -> None:
    """UML classes: boxes with lines of members, joined by hollow arrows."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    columns, rows = max(1, min(3, int(area.width / 110))), max(1, min(3, int(area.height / 110)))
    wide, tall, scale, fill = area.width / columns, area.height / rows, 0.7, fill_of(draft)
    for row in range(rows):
        for column in range(columns):
            x, y = area.x + wide * (column + 0.12), area.y + tall * (row + 0.1)
            width, members = wide * 0.74, random.randint(1, max(1, int(tall * 0.55 / (style.size * 0.95))))
            pitch = style.size * 0.95
            height = pitch * (members + 1.6)
            sheet.rect(x, y, width, height, fill, style.ink, 0.6)
            sheet.text(
                x + width / 2,
                y + pitch,
                fit(style, draft.prose.label(), width, "bold", scale),
                style.font("bold", scale),
                style.ink,
                "center",
            )
            sheet.line(x, y + pitch * 1.35, x + width, y + pitch * 1.35, style.ink, 0.5)
            for n in range(members):
                text = fit(
                    style,
                    random.choice("+-#") + draft.prose.label().lower() + random.choice(["()", ": int", ""]),
                    width - 4,
                    "regular",
                    scale,
                )
                sheet.text(x + 3, y + pitch * (2.2 + n), text, style.font("regular", scale), style.ink)
            if row and random.random() < 0.7:
                sheet.arrow(x + width / 2, y, x + width / 2, y - tall * 0.12, style.ink, 0.6, 5, hollow=True)
            if column and random.random() < 0.6:
                sheet.line(x, y + height / 2, x - wide * 0.26, y + height / 2, style.ink, 0.6)


def sequence(draft: Draft, area: Area) -> None:
    """Lifelines with messages between them."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    count = max(2, min(5, int(area.width / 80)))
    at = [area.x + area.width * (n + 0.5) / count for n in range(count)]
    head, fill = min(22.0, area.height * 0.15), fill_of(draft)
    for x in at:
        node(draft, x, area.y + head / 2, area.width / count * 0.7, head, "rect", fill)
        sheet.line(x, area.y + head, x, area.bottom, style.ink, 0.5, (3.0, 2.0))
    for step in range(int((area.height - head) / 16) - 1):
        first, last = random.sample(range(count), 2)
        y = area.y + head + 16 * (step + 1)
        sheet.arrow(at[first], y, at[last], y, style.ink, 0.6, 4, random.choice([(), (), (3.0, 2.0)]))
        text = fit(style, draft.prose.label(), abs(at[first] - at[last]) * 0.8, "regular", 0.65)
        sheet.text((at[first] + at[last]) / 2, y - 2, text, style.font("regular", 0.65), style.ink, "center")


def packet(draft: Draft, area: Area) -> None:
    """Fields of a record or a stack of layers: adjoining boxes of unequal width."""
    random, style = draft.random, draft.style
    rows = max(2, min(9, int(area.height / 22)))
    tall, fill = area.height / rows, fill_of(draft)
    for row in range(rows):
        cuts = sorted({0, 32, *random.sample([8, 16, 24, 4, 20], random.randint(0, 3))})
        for start, stop in zip(cuts, cuts[1:], strict=False):
            width = area.width * (stop - start) / 32
            x = area.x + area.width * start / 32
            draft.sheet.rect(x, area.y + row * tall, width, tall, fill, style.ink, 0.6)
            text = fit(style, draft.prose.label(), width * 0.9, "regular", 0.8)
            draft.sheet.text(
                x + width / 2,
                area.y + (row + 0.6) * tall,
                text,
                style.font("regular", 0.8),
                style.ink,
                "center",
            )


def timing(draft: Draft, area: Area) -> None:
    """Digital signals over time."""
    random, style = draft.random, draft.style
    rows = max(2, min(8, int(area.height / 24)))
    tall, left = area.height / rows, area.x + style.size * 5
    for row in range(rows):
        low, high = area.y + (row + 0.85) * tall, area.y + (row + 0.25) * tall
        draft.sheet.text(area.x, low, draft.prose.label(7).upper(), style.font("regular", 0.75), style.ink)
        x, up, points = left, False, [(left, low)]
        while x < area.right - 20:
            x = min(area.right, x + (12 if row == 0 else random.choice([12, 24, 36, 60])))
            points += [(x, high if up else low), (x, low if up else high)]
            up = not up
        draft.sheet.polyline(points, style.ink, 0.8)
