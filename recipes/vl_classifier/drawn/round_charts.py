"""Charts without two axes: pies, rings, radar, Venn, tree maps."""

from __future__ import annotations

import math

from recipes.vl_classifier.drawn.axes import series_inks
from recipes.vl_classifier.drawn.draft import Area, Draft

_GREY = (120, 120, 120)


def pie(draft: Draft, area: Area) -> None:
    """A pie or ring with names beside it or in a legend."""
    random, style, sheet = draft.random, draft.style, draft.sheet
    count, inks = random.randint(3, 7), series_inks(draft)
    radius = min(area.width * 0.3, area.height * 0.42)
    x, y = area.x + area.width * random.choice([0.5, 0.36]), area.y + area.height / 2
    parts = [random.uniform(0.4, 3) for _ in range(count)]
    start, edge = random.uniform(0, 360), random.choice([(255, 255, 255), (0, 0, 0)])
    for number, part in enumerate(parts):
        sweep = 360 * part / sum(parts)
        sheet.wedge(x, y, radius, start, sweep, inks[number % 6], edge, 0.7)
        turn = math.radians(start + sweep / 2)
        text = draft.prose.label(8) if random.random() < 0.7 else f"{part / sum(parts):.0%}"
        align = "left" if math.cos(turn) > 0 else "right"
        sheet.text(
            x + radius * 1.1 * math.cos(turn),
            y + radius * 1.1 * math.sin(turn),
            text,
            style.font(scale=0.8),
            style.ink,
            align,
        )
        start += sweep
    if random.random() < 0.3:
        sheet.ellipse(x, y, radius * 0.55, radius * 0.55, fill=style.background)


def radar(draft: Draft, area: Area) -> None:
    """A web of spokes with one to three closed lines."""
    random, sheet, inks = draft.random, draft.sheet, series_inks(draft)
    spokes, radius = random.randint(5, 10), min(area.width, area.height) * 0.38
    x, y = area.x + area.width / 2, area.y + area.height / 2

    def ring(reach: list[float]) -> list[tuple[float, float]]:
        turns = [n * math.tau / spokes - math.pi / 2 for n in range(spokes)]
        return [
            (x + r * radius * math.cos(t), y + r * radius * math.sin(t))
            for r, t in zip(reach, turns, strict=True)
        ]

    for step in range(1, 5):
        sheet.polyline(ring([step / 4] * spokes), (190, 190, 190), 0.4, closed=True)
    for corner in ring([1.0] * spokes):
        sheet.line(x, y, *corner, (190, 190, 190), 0.4)
    for px, py in ring([1.14] * spokes):
        sheet.text(px, py + 3, draft.prose.label(7), draft.style.font(scale=0.75), draft.style.ink, "center")
    for number in range(random.randint(1, 3)):
        points = ring([random.uniform(0.25, 0.95) for _ in range(spokes)])
        sheet.polyline(
            points,
            inks[number],
            1.0,
            fill=inks[number] if random.random() < 0.4 else None,
            closed=True,
            alpha=90,
        )


def venn(draft: Draft, area: Area) -> None:
    """Two or three circles over each other."""
    sheet, style, inks = draft.sheet, draft.style, series_inks(draft)
    count, radius = draft.random.choice([2, 3, 3]), min(area.width, area.height) * 0.27
    x, y, filled = area.x + area.width / 2, area.y + area.height / 2, draft.chance(0.6)
    for number in range(count):
        turn = number * math.tau / count - math.pi / 2 * (count == 3)
        cx, cy = x + 0.6 * radius * math.cos(turn), y + 0.6 * radius * math.sin(turn)
        sheet.ellipse(
            cx,
            cy,
            radius,
            radius,
            fill=inks[number] if filled else None,
            ink=(40, 40, 40),
            stroke=0.6,
            alpha=110,
        )
        sheet.text(
            x + 1.15 * radius * math.cos(turn),
            y + 1.1 * radius * math.sin(turn),
            draft.prose.label(8),
            style.font(scale=0.85),
            style.ink,
            "center",
        )


def tree_map(draft: Draft, area: Area) -> None:
    """A rectangle cut into named parts."""
    random, inks, todo = draft.random, series_inks(draft), [area.inset(2, 2)]
    while len(todo) < random.randint(7, 20):
        todo.sort(key=lambda part: -part.width * part.height)
        part, share = todo.pop(0), random.uniform(0.3, 0.7)
        if part.width > part.height:
            cut = part.width * share
            todo += [
                Area(part.x, part.y, cut, part.height),
                Area(part.x + cut, part.y, part.width - cut, part.height),
            ]
        else:
            cut = part.height * share
            todo += [
                Area(part.x, part.y, part.width, cut),
                Area(part.x, part.y + cut, part.width, part.height - cut),
            ]
    for number, part in enumerate(todo):
        draft.sheet.rect(
            part.x, part.y, part.width, part.height, fill=inks[number % 6], ink=(255, 255, 255), stroke=1.2
        )
        if part.width > 40 and part.height > 12:
            draft.sheet.text(
                part.x + 3, part.y + 10, draft.prose.label(6), draft.style.font(scale=0.75), (255, 255, 255)
            )


ROUND_CHARTS = (pie, pie, pie, radar, venn, tree_map)
