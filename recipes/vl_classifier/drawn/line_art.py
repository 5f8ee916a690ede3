"""Drawings of things: circuits, floor plans, geometry, molecules, staves, boards, machine parts."""

from __future__ import annotations

import math

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Point


def circuit(draft: Draft, area: Area) -> None:
    """Wires on a grid with resistors, capacitors and sources."""
    random, sheet, ink = draft.random, draft.sheet, draft.style.ink
    columns, rows = max(2, int(area.width / 60)), max(2, int(area.height / 55))
    wide, tall = area.width / columns, area.height / rows
    for row in range(rows):
        for column in range(columns):
            x, y = area.x + wide * (column + 0.5), area.y + tall * (row + 0.5)
            if column + 1 < columns and random.random() < 0.85:
                _part(draft, x, y, x + wide, y)
            if row + 1 < rows and random.random() < 0.75:
                _part(draft, x, y, x, y + tall)
            sheet.ellipse(x, y, 1.4, 1.4, fill=ink)


def _part(draft: Draft, x0: float, y0: float, x1: float, y1: float) -> None:
    sheet, ink, kind = (
        draft.sheet,
        draft.style.ink,
        draft.random.choice(["wire", "wire", "resistor", "zigzag", "capacitor", "source"]),
    )
    far = math.hypot(x1 - x0, y1 - y0)
    ux, uy = (x1 - x0) / far, (y1 - y0) / far

    def at(along: float, aside: float) -> Point:
        return x0 + ux * along - uy * aside, y0 + uy * along + ux * aside

    half = min(9.0, far / 4)
    if kind == "wire":
        sheet.line(x0, y0, x1, y1, ink, 0.6)
        return
    sheet.line(x0, y0, *at(far / 2 - half, 0), ink, 0.6)
    sheet.line(*at(far / 2 + half, 0), x1, y1, ink, 0.6)
    m = far / 2
    if kind == "resistor":
        sheet.polyline(
            [at(m - half, -3.5), at(m + half, -3.5), at(m + half, 3.5), at(m - half, 3.5)],
            ink,
            0.7,
            closed=True,
        )
    elif kind == "zigzag":
        sheet.polyline(
            [at(m - half + half * n / 3, 0 if n in (0, 6) else 4 - 8 * (n % 2)) for n in range(7)], ink, 0.7
        )
    elif kind == "capacitor":
        for place in (m - 2, m + 2):
            sheet.line(*at(place, -6), *at(place, 6), ink, 0.9)
        sheet.line(*at(m - half, 0), *at(m - 2, 0), ink, 0.6)
        sheet.line(*at(m + 2, 0), *at(m + half, 0), ink, 0.6)
    else:
        sheet.ellipse(*at(m, 0), half, half, None, ink, 0.7)
    sheet.text(
        *at(m, -10),
        draft.random.choice("RCLVU") + str(draft.random.randint(1, 20)),
        draft.style.font(scale=0.65),
        ink,
    )


def floor_plan(draft: Draft, area: Area) -> None:
    """Rooms with doors and names."""
    random, sheet, rooms = draft.random, draft.sheet, [area.inset(4, 4)]
    while len(rooms) < random.randint(4, 9):
        rooms.sort(key=lambda room: -room.width * room.height)
        room, share = rooms.pop(0), random.uniform(0.35, 0.65)
        if room.width > room.height:
            cut = room.width * share
            rooms += [
                Area(room.x, room.y, cut, room.height),
                Area(room.x + cut, room.y, room.width - cut, room.height),
            ]
        else:
            cut = room.height * share
            rooms += [
                Area(room.x, room.y, room.width, cut),
                Area(room.x, room.y + cut, room.width, room.height - cut),
            ]
    for room in rooms:
        sheet.rect(room.x, room.y, room.width, room.height, ink=draft.style.ink, stroke=2.0)
    for room in rooms:
        door = min(14.0, room.width * 0.3)
        x = room.x + room.width * random.uniform(0.2, 0.6)
        sheet.line(x, room.bottom, x + door, room.bottom, (255, 255, 255), 2.6)
        sheet.arc(x, room.bottom, door, -90, 90, draft.style.ink, 0.4)
        sheet.text(
            room.x + room.width / 2,
            room.y + room.height / 2,
            draft.prose.label(8),
            draft.style.font(scale=0.7),
            draft.style.ink,
            "center",
        )


def geometry(draft: Draft, area: Area) -> None:
    """Triangles, circles and named points."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    radius = min(area.width, area.height) * 0.4
    x, y = area.x + area.width / 2, area.y + area.height / 2
    turns = sorted(random.uniform(0, math.tau) for _ in range(random.randint(3, 6)))
    corners = [(x + radius * math.cos(t), y + radius * math.sin(t)) for t in turns]
    if random.random() < 0.7:
        sheet.ellipse(x, y, radius, radius, None, style.ink, 0.6)
    sheet.polyline(corners, style.ink, 0.8, closed=True, fill=(235, 240, 250) if style.coloured else None)
    for number, (px, py) in enumerate(corners):
        sheet.text(px + 3, py - 3, "ABCDEFGH"[number], style.font("italic"), style.ink)
        if random.random() < 0.6:
            sheet.line(px, py, x, y, style.ink, 0.5, random.choice([(), (2.0, 2.0)]))


def molecule(draft: Draft, area: Area) -> None:
    """Joined hexagons with side groups."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    side = min(area.width / 7, area.height / 4.5)
    for number in range(max(1, min(4, int(area.width / (side * 1.8))))):
        x, y = area.x + side * (1.2 + number * 1.732), area.y + area.height / 2
        ring = [
            (x + side * math.sin(n * math.tau / 6), y + side * math.cos(n * math.tau / 6)) for n in range(6)
        ]
        sheet.polyline(ring, style.ink, 0.9, closed=True)
        inner = [(x + 0.8 * (px - x), y + 0.8 * (py - y)) for px, py in ring]
        for n in (0, 2, 4):
            sheet.line(*inner[n], *inner[n + 1], style.ink, 0.9)
        px, py = random.choice(ring[::3])
        end = py + math.copysign(side * 0.7, py - y)
        sheet.line(px, py, px, end, style.ink, 0.9)
        sheet.text(
            px,
            end + (8 if end > y else -2),
            random.choice(["OH", "NH2", "Cl", "CH3", "O", "N"]),
            style.font(scale=0.85),
            style.ink,
            "center",
        )


def staves(draft: Draft, area: Area) -> None:
    """Music: staves with notes and bar lines."""
    random, sheet = draft.random, draft.sheet
    gap = random.uniform(3.5, 5.5)
    for number in range(max(1, int(area.height / (gap * 10)))):
        top = area.y + gap * (3 + 10 * number)
        for line in range(5):
            sheet.line(area.x, top + gap * line, area.right, top + gap * line, (0, 0, 0), 0.4)
        x = area.x + 24
        while x < area.right - 8:
            y, up = top + gap * random.randint(-1, 10) / 2, random.random() < 0.5
            sheet.ellipse(
                x, y, gap * 0.62, gap * 0.45, fill=(0, 0, 0) if random.random() < 0.8 else None, ink=(0, 0, 0)
            )
            sheet.line(
                x + gap * 0.6 * (1 if up else -1),
                y,
                x + gap * 0.6 * (1 if up else -1),
                y + gap * 3.2 * (-1 if up else 1),
                (0, 0, 0),
                0.6,
            )
            x += random.choice([12, 16, 22])
            if random.random() < 0.2:
                sheet.line(x, top, x, top + 4 * gap, (0, 0, 0), 0.6)
                x += 10


def board(draft: Draft, area: Area) -> None:
    """A square board with pieces, letters or digits in some fields."""
    random, sheet, style = draft.random, draft.sheet, draft.style
    fields, side = random.choice([8, 8, 9, 12]), min(area.width, area.height)
    left, cell, shaded = area.x + (area.width - side) / 2, side / fields, draft.chance(0.6)
    for row in range(fields):
        for column in range(fields):
            dark = (220, 190, 150) if style.coloured else (190, 190, 190)
            fill = dark if shaded and (row + column) % 2 else None
            x, y = left + cell * column, area.y + cell * row
            sheet.rect(x, y, cell, cell, fill, style.ink, 0.4)
            if random.random() < 0.35:
                sheet.text(
                    x + cell / 2,
                    y + cell * 0.7,
                    random.choice("KQRBNP123456789"),
                    style.font("bold", max(0.5, cell / style.size * 0.6)),
                    style.ink,
                    "center",
                )


def machine_part(draft: Draft, area: Area) -> None:
    """A part in outline with axes, holes, hatching and dimensions."""
    random, sheet, ink = draft.random, draft.sheet, draft.style.ink
    body = area.inset(area.width * 0.16, area.height * 0.2)
    sheet.rect(body.x, body.y, body.width, body.height, ink=ink, stroke=1.1, radius=random.choice([0, 6, 14]))
    sheet.line(
        area.x, body.y + body.height / 2, area.right, body.y + body.height / 2, ink, 0.3, (7.0, 2.0, 1.5, 2.0)
    )
    sheet.hatch(body.x + body.width * 0.62, body.y + 2, body.width * 0.3, body.height - 4, ink, 4, 1)
    for n in range(random.randint(1, 3)):
        x, r = body.x + body.width * (0.15 + 0.17 * n), body.height * random.uniform(0.1, 0.25)
        sheet.ellipse(x, body.y + body.height / 2, r, r, None, ink, 0.9)
        sheet.line(x, area.y + 4, x, area.bottom - 4, ink, 0.3, (7.0, 2.0, 1.5, 2.0))
    y = area.bottom - area.height * 0.08
    sheet.arrow(body.x + 10, y, body.right, y, ink, 0.4)
    sheet.arrow(body.right - 10, y, body.x, y, ink, 0.4)
    sheet.text(
        body.x + body.width / 2,
        y - 2,
        f"{random.randint(8, 400)}",
        draft.style.font(scale=0.75),
        ink,
        "center",
    )


LINE_ART = (circuit, circuit, floor_plan, geometry, molecule, staves, board, machine_part)
