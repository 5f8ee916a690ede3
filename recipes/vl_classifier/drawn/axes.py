"""The frame of a chart between two axes: ticks, grid, names, legend, and the marks of a series."""

from __future__ import annotations

from dataclasses import dataclass

from recipes.vl_classifier.drawn.draft import ACCENTS, Area, Draft
from recipes.vl_classifier.drawn.sheet import Color, Point

_SERIES: tuple[tuple[Color, ...], ...] = (
    ((31, 119, 180), (255, 127, 14), (44, 160, 44), (214, 39, 40), (148, 103, 189), (140, 86, 75)),
    ((0, 69, 134), (255, 66, 14), (255, 211, 32), (87, 157, 28), (126, 0, 33), (131, 202, 255)),
    ((79, 129, 189), (192, 80, 77), (155, 187, 89), (128, 100, 162), (75, 172, 198), (247, 150, 70)),
    ((148, 0, 211), (0, 158, 115), (86, 180, 233), (230, 159, 0), (0, 114, 178), (213, 94, 0)),
    ((248, 118, 109), (0, 186, 56), (97, 156, 255), (183, 159, 0), (0, 191, 196), (245, 100, 227)),
    ((0, 0, 255), (255, 0, 0), (0, 128, 0), (0, 0, 0), (255, 0, 255), (0, 160, 160)),
)  # fmt: skip

_GREYS: tuple[Color, ...] = (
    (0, 0, 0),
    (70, 70, 70),
    (110, 110, 110),
    (140, 140, 140),
    (175, 175, 175),
    (210, 210, 210),
)

DASHES: tuple[tuple[float, ...], ...] = ((), (4.0, 2.0), (1.0, 1.5), (5.0, 1.5, 1.0, 1.5), (2.0, 2.0), ())


@dataclass(frozen=True)
class Plot:
    """The inside of a chart and how its series look."""

    draft: Draft
    area: Area
    inks: tuple[Color, ...]
    hatched: bool
    stroke: float
    text_scale: float

    def point(self, x: float, y: float) -> Point:
        """A place on the page from shares of the plot, the second from below."""
        return self.area.x + x * self.area.width, self.area.bottom - y * self.area.height


def series_inks(draft: Draft) -> tuple[Color, ...]:
    """Colours for series: of one of the common sets, greys, or one accent."""
    if not draft.style.coloured or draft.chance(0.2):
        return tuple(draft.random.sample(_GREYS, 6))
    return draft.random.choice(_SERIES) if draft.chance(0.85) else (draft.random.choice(ACCENTS), *_GREYS[1:])


def _ticks(draft: Draft) -> list[str]:
    random = draft.random
    step = random.choice([0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 25, 50, 100, 500, 1000])
    count, start = random.randint(4, 8), random.choice([0, 0, 0, 1, 4, -3])
    return [f"{(start + n) * step:g}" for n in range(count)]


def frame_plot(draft: Draft, area: Area, categories: list[str] | None = None) -> Plot:
    """Draw axes, ticks, grid, titles and labels; `categories` replace the numbers under the plot."""
    random, style = draft.random, draft.style
    scale = min(1.0, max(0.5, area.height / 260, 0.55)) * random.uniform(0.75, 1.0)
    size = style.size * scale
    values = _ticks(draft)
    left = max(style.width(value, "regular", scale) for value in values) + size * (
        2.4 if draft.chance(0.7) else 1.0
    )
    top = size * (2.0 if draft.chance(0.4) else 0.6)
    bottom = size * (3.2 if draft.chance(0.75) else 1.6)
    inner = Area(area.x + left, area.y + top, area.width - left - size * 0.8, area.height - top - bottom)
    grey = random.choice([0, 0, 60, 120, 160])
    ink, stroke = (grey, grey, grey), random.choice([0.3, 0.5, 0.8])
    plot = Plot(
        draft,
        inner,
        series_inks(draft),
        draft.chance(0.3) and not style.coloured,
        random.uniform(0.5, 1.8),
        scale,
    )
    _ground(plot, len(values), ink, stroke)
    _tick_labels(plot, values, categories, ink, stroke)
    if top > size:
        draft.sheet.text(
            inner.x + inner.width / 2,
            area.y + size * 1.1,
            draft.prose.phrase(2, 4),
            style.font("bold", scale),
            style.ink,
            "center",
        )
    if bottom > 2 * size:
        draft.sheet.text(
            inner.x + inner.width / 2,
            area.bottom - size * 0.3,
            draft.prose.label(),
            style.font("regular", scale),
            style.ink,
            "center",
        )
    if left > size * 3:
        draft.sheet.turned_text(
            area.x + size * 0.9,
            inner.y + inner.height / 2,
            draft.prose.label(),
            style.font("regular", scale),
            style.ink,
            -90,
        )
    return plot


def _ground(plot: Plot, rows: int, ink: Color, stroke: float) -> None:
    random, sheet, area = plot.draft.random, plot.draft.sheet, plot.area
    look = random.choice(["box", "box", "corner", "corner", "floor", "none"])
    if random.random() < 0.12:
        sheet.rect(area.x, area.y, area.width, area.height, fill=(235, 235, 235))
    grid = random.choice(["none", "none", "across", "across", "both"])
    pale, dash = (
        random.choice([(225, 225, 225), (200, 200, 200), (170, 170, 170)]),
        random.choice([(), (), (1.0, 1.5), (3.0, 2.0)]),
    )
    if grid != "none":
        for row in range(rows):
            y = area.bottom - area.height * row / (rows - 1)
            sheet.line(area.x, y, area.right, y, pale, 0.3, dash)
    if grid == "both":
        for column in range(1, 8):
            x = area.x + area.width * column / 8
            sheet.line(x, area.y, x, area.bottom, pale, 0.3, dash)
    if look == "box":
        sheet.rect(area.x, area.y, area.width, area.height, ink=ink, stroke=stroke)
    if look in {"corner", "floor"}:
        sheet.line(area.x, area.bottom, area.right, area.bottom, ink, stroke)
    if look == "corner":
        sheet.line(area.x, area.y, area.x, area.bottom, ink, stroke)


def _tick_labels(
    plot: Plot, values: list[str], categories: list[str] | None, ink: Color, stroke: float
) -> None:
    draft, area, scale = plot.draft, plot.area, plot.text_scale
    style, sheet, size = draft.style, draft.sheet, draft.style.size * plot.text_scale
    font = style.font("regular", scale)
    for number, value in enumerate(values):
        y = area.bottom - area.height * number / (len(values) - 1)
        sheet.text(area.x - size * 0.5, y + size * 0.35, value, font, style.ink, "right")
        sheet.line(area.x - size * 0.3, y, area.x, y, ink, stroke)
    below = categories or _ticks(draft)
    count = len(below)
    turned = sum(style.width(text, "regular", scale) for text in below) > area.width * 0.95
    for number, text in enumerate(below):
        share = (number + 0.5) / count if categories else number / (count - 1)
        x = area.x + area.width * share
        sheet.line(x, area.bottom, x, area.bottom + size * 0.3, ink, stroke)
        if turned:
            sheet.turned_text(x, area.bottom + size * 0.9, text[:6], font, style.ink, -45, "right")
        else:
            sheet.text(x, area.bottom + size * 1.3, text, font, style.ink, "center")


def legend(plot: Plot, count: int) -> None:
    """A small box of series names in a corner of the plot."""
    draft, area, scale = plot.draft, plot.area, plot.text_scale * 0.9
    if count < 2 or draft.chance(0.3):
        return
    size = draft.style.size * scale
    names = [draft.prose.label(10) for _ in range(count)]
    width = max(draft.style.width(name, "regular", scale) for name in names) + size * 3
    height = count * size * 1.3 + size * 0.6
    x = draft.random.choice([area.x + size * 0.5, area.right - width - size * 0.5])
    y = draft.random.choice([area.y + size * 0.4, area.y + size * 0.4, area.bottom - height - size * 0.4])
    if draft.chance(0.7):
        draft.sheet.rect(x, y, width, height, fill=(255, 255, 255), ink=(120, 120, 120), stroke=0.3)
    for number, name in enumerate(names):
        at = y + size * (1.2 + 1.3 * number)
        draft.sheet.rect(x + size * 0.4, at - size * 0.6, size * 1.6, size * 0.6, fill=plot.inks[number % 6])
        draft.sheet.text(x + size * 2.4, at, name, draft.style.font("regular", scale), draft.style.ink)


def bar(plot: Plot, x: float, y: float, width: float, height: float, number: int) -> None:
    """One bar of a series; place and size in shares of the plot."""
    sheet, ink = plot.draft.sheet, plot.inks[number % 6]
    left, top = plot.point(x, y + height)
    wide, tall = width * plot.area.width, height * plot.area.height
    if plot.hatched and number % 3 != 2:
        sheet.rect(left, top, wide, tall, fill=(255, 255, 255), ink=(0, 0, 0))
        sheet.hatch(left, top, wide, tall, (0, 0, 0), 2.5 + number % 2, 1 - 2 * (number % 2))
    else:
        sheet.rect(left, top, wide, tall, fill=ink, ink=(0, 0, 0) if plot.stroke > 1.3 else None)


def marker(plot: Plot, x: float, y: float, number: int) -> None:
    """One point of a series, at a place on the page."""
    sheet, ink, r = plot.draft.sheet, plot.inks[number % 6], 1.0 + plot.stroke
    match number % 4:
        case 0:
            sheet.ellipse(x, y, r, r, fill=ink)
        case 1:
            sheet.rect(x - r, y - r, 2 * r, 2 * r, fill=(255, 255, 255), ink=ink)
        case 2:
            sheet.polyline(
                [(x, y - r * 1.2), (x + r, y + r), (x - r, y + r)], ink, 0.5, fill=ink, closed=True
            )
        case _:
            sheet.line(x - r, y - r, x + r, y + r, ink, 0.7)
            sheet.line(x - r, y + r, x + r, y - r, ink, 0.7)
