"""Diagrams of nodes and edges: networks, trees, automata, arrows between letters."""

from __future__ import annotations

import math

from recipes.vl_classifier.drawn.diagrams import classes, fill_of, flow, node, packet, sequence, timing
from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Point


def network(draft: Draft, area: Area) -> None:
    """Nodes anywhere with edges to their neighbours."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    count, named = random.randint(6, 30), draft.chance(0.6)
    points: list[Point] = [
        (random.uniform(area.x + 12, area.right - 12), random.uniform(area.y + 12, area.bottom - 12))
        for _ in range(count)
    ]
    radius, fill, arrows = random.uniform(2.5, 11), fill_of(draft) or (255, 255, 255), draft.chance(0.4)
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
    fill = fill_of(draft) or (255, 255, 255)
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
