"""Diagrams of boxes and arrows: flow, classes, sequences, networks, trees, automata, blocks, packets, timing."""

from __future__ import annotations

import math

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Color, Point
from recipes.vl_classifier.drawn.typeset import fit


def _fill(draft: Draft) -> Color | None:
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
        _fill(draft),
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
    wide, tall, scale, fill = area.width / columns, area.height / rows, 0.7, _fill(draft)
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
    head, fill = min(22.0, area.height * 0.15), _fill(draft)
    for x in at:
        node(draft, x, area.y + head / 2, area.width / count * 0.7, head, "rect", fill)
        sheet.line(x, area.y + head, x, area.bottom, style.ink, 0.5, (3.0, 2.0))
    for step in range(int((area.height - head) / 16) - 1):
        first, last = random.sample(range(count), 2)
        y = area.y + head + 16 * (step + 1)
        sheet.arrow(at[first], y, at[last], y, style.ink, 0.6, 4, random.choice([(), (), (3.0, 2.0)]))
        text = fit(style, draft.prose.label(), abs(at[first] - at[last]) * 0.8, "regular", 0.65)
        sheet.text((at[first] + at[last]) / 2, y - 2, text, style.font("regular", 0.65), style.ink, "center")


def network(draft: Draft, area: Area) -> None:
    """Nodes anywhere with edges to their neighbours."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    count, named = random.randint(6, 30), draft.chance(0.6)
    points: list[Point] = [
        (random.uniform(area.x + 12, area.right - 12), random.uniform(area.y + 12, area.bottom - 12))
        for _ in range(count)
    ]
    radius, fill, arrows = random.uniform(2.5, 11), _fill(draft) or (255, 255, 255), draft.chance(0.4)
    for x, y in points:
        near = sorted(points, key=lambda p: (p[0] - x) ** 2 + (p[1] - y) ** 2)[1 : random.randint(2, 4)]
        for x1, y1 in near:
            far = math.hypot(x1 - x, y1 - y) or 1.0
            end = (x1 - (x1 - x) / far * radius, y1 - (y1 - y) / far * radius)
            (sheet.arrow if arrows else sheet.line)(x, y, *end, style.ink, 0.5)
    for number, (x, y) in enumerate(points):
        sheet.ellipse(x, y, radius, radius, fill, style.ink, 0.6)
        if named and radius > 5:
            sheet.text(x, y + 3, str(number), style.font("regular", 0.7), style.ink, "center")


def tree(draft: Draft, area: Area) -> None:
    """A rooted tree, from the top or from the left; leaves in bare words or boxes."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    levels, lying, boxed, square = (
        random.randint(3, 4),
        draft.chance(0.4),
        draft.chance(0.5),
        draft.chance(0.5),
    )
    widest = max(2, int((area.height / 16) if lying else (area.width / 45)))
    rows = [1]
    for _ in range(levels - 1):
        rows.append(min(widest, rows[-1] * random.randint(2, 3)))
    places: list[list[Point]] = []
    for level, count in enumerate(rows):
        along = [(n + 0.5) / count for n in range(count)]
        deep = (level + 0.5) / levels
        places.append(
            [
                (area.x + area.width * (deep if lying else s), area.y + area.height * (s if lying else deep))
                for s in along
            ]
        )
    for upper, lower in zip(places, places[1:], strict=False):
        for n, (x, y) in enumerate(lower):
            px, py = upper[n * len(upper) // len(lower)]
            if square and not lying:
                middle = (y + py) / 2
                sheet.polyline([(px, py), (px, middle), (x, middle), (x, y)], style.ink, 0.5)
            else:
                sheet.line(px, py, x, y, style.ink, 0.5)
    fill = _fill(draft) or (255, 255, 255)
    for row, count in zip(places, rows, strict=True):
        width = min(70.0, (area.width / levels if lying else area.width / count) * 0.82)
        for x, y in row:
            node(draft, x, y, width, min(16.0, style.size * 1.5), "round" if boxed else "rect", fill)


def automaton(draft: Draft, area: Area) -> None:
    """States in a ring with bent arrows."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    count, radius = random.randint(3, 7), min(area.width, area.height) * 0.1
    cx, cy = area.x + area.width / 2, area.y + area.height / 2
    at = [
        (
            cx + area.width * 0.38 * math.cos(n * math.tau / count),
            cy + area.height * 0.36 * math.sin(n * math.tau / count),
        )
        for n in range(count)
    ]
    for n, (x, y) in enumerate(at):
        for m in {(n + 1) % count, random.randrange(count)} - {n}:
            x1, y1 = at[m]
            far = math.hypot(x1 - x, y1 - y)
            bend = ((x + x1) / 2 - (y1 - y) * 0.18, (y + y1) / 2 + (x1 - x) * 0.18)
            start = (x + (x1 - x) / far * radius, y + (y1 - y) / far * radius)
            end = (x1 - (x1 - x) / far * radius, y1 - (y1 - y) / far * radius)
            sheet.curve([start, bend, end], style.ink, 0.6)
            sheet.arrow(bend[0] * 0.1 + end[0] * 0.9, bend[1] * 0.1 + end[1] * 0.9, *end, style.ink, 0.6, 4)
            sheet.text(*bend, random.choice("abcxy01"), style.font("italic", 0.8), style.ink)
    for n, (x, y) in enumerate(at):
        sheet.ellipse(x, y, radius, radius, (255, 255, 255), style.ink, 0.7)
        if n == 0:
            sheet.ellipse(x, y, radius * 0.82, radius * 0.82, None, style.ink, 0.6)
        sheet.text(x, y + 3, f"q{n}", style.font("italic", 0.85), style.ink, "center")


def packet(draft: Draft, area: Area) -> None:
    """Fields of a record or a stack of layers: adjoining boxes of unequal width."""
    random, style = draft.random, draft.style
    rows = max(2, min(9, int(area.height / 22)))
    tall, fill = area.height / rows, _fill(draft)
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


def arrows_of_maps(draft: Draft, area: Area) -> None:
    """A commutative diagram: letters at corners and named arrows between them."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    columns, rows = max(2, min(4, int(area.width / 70))), max(2, min(3, int(area.height / 55)))
    wide, tall, free = area.width / columns, area.height / rows, style.size * 1.2
    for row in range(rows):
        for column in range(columns):
            x, y = area.x + wide * (column + 0.5), area.y + tall * (row + 0.5)
            sheet.text(
                x,
                y + style.size * 0.35,
                random.choice("ABCDEFGHKMNXYZ"),
                style.font("italic", 1.1),
                style.ink,
                "center",
            )
            if column + 1 < columns:
                sheet.arrow(x + free, y, x + wide - free, y, style.ink, 0.5, 4)
                sheet.text(
                    x + wide / 2,
                    y - 3,
                    random.choice("fghφψα"),
                    style.font("italic", 0.8),
                    style.ink,
                    "center",
                )
            if row + 1 < rows:
                sheet.arrow(x, y + free, x, y + tall - free, style.ink, 0.5, 4)
                sheet.text(x + 4, y + tall / 2, random.choice("uvwπ"), style.font("italic", 0.8), style.ink)


DIAGRAMS = (
    flow,
    flow,
    flow,
    classes,
    sequence,
    network,
    tree,
    tree,
    automaton,
    packet,
    timing,
    arrows_of_maps,
)
