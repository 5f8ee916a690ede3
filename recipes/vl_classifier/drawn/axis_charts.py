"""Charts between two axes: bars, lines, points, areas, histograms, boxes, heat maps, contours."""

from __future__ import annotations

import math

from recipes.vl_classifier.drawn.axes import DASHES, bar, frame_plot, legend, marker
from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Color


def bars(draft: Draft, area: Area) -> None:
    """Single, grouped or stacked bars."""
    random = draft.random
    count, series, stacked = random.randint(3, 12), random.choice([1, 1, 2, 3, 4]), random.random() < 0.35
    plot = frame_plot(draft, area, [draft.prose.label(8) for _ in range(count)])
    fat = random.uniform(0.5, 0.9) / count
    for group in range(count):
        left, base = (group + 0.5) / count - fat / 2, 0.0
        for number in range(series):
            height = random.uniform(0.08, 0.95) / (series if stacked else 1)
            if stacked:
                bar(plot, left, base, fat, height, number)
                base += height
            else:
                bar(plot, left + fat * number / series, 0.0, fat / series, height, number)
    legend(plot, series)


def lying_bars(draft: Draft, area: Area) -> None:
    """Horizontal bars, or the offset ones of a time plan."""
    random, style = draft.random, draft.style
    count, plan = random.randint(4, 14), random.random() < 0.4
    plot = frame_plot(draft, area)
    start = 0.0
    for row in range(count):
        length = random.uniform(0.08, 0.4) if plan else random.uniform(0.1, 0.95)
        left = min(start, 0.95 - length) if plan else 0.0
        bar(plot, left, 1 - (row + 0.85) / count, length, 0.7 / count, row if plan else 0)
        start += length * random.uniform(0.2, 0.9)
        x, y = plot.point(left + length + 0.01, 1 - (row + 0.65) / count)
        if x < plot.area.right - 40:
            draft.sheet.text(
                x, y, draft.prose.label(8), style.font("regular", plot.text_scale * 0.8), style.ink
            )


def _walk(draft: Draft, count: int) -> list[float]:
    """Heights between 0.04 and 0.96: a random walk, a trend, a wave or a decay."""
    random, kind = draft.random, draft.random.choice(["walk", "trend", "wave", "decay", "curve"])
    phase, turns, slope = random.uniform(0, 6.3), random.uniform(0.5, 4), random.uniform(-0.8, 0.8)
    level, heights = random.uniform(0.2, 0.8), []
    for n in range(count):
        t = n / max(1, count - 1)
        level += random.gauss(0, 0.05)
        heights.append({"walk": level, "trend": 0.5 + slope * (t - 0.5) + random.gauss(0, 0.03),
                        "wave": 0.5 + 0.4 * math.sin(phase + turns * 6.28 * t),
                        "decay": 0.9 * math.exp(-turns * t) + 0.05,
                        "curve": 0.1 + 0.8 * t ** (turns / 2)}[kind])  # fmt: skip
    return [min(0.96, max(0.04, height)) for height in heights]


def lines(draft: Draft, area: Area) -> None:
    """One to five lines, with or without marks, at times with areas under them."""
    random, sheet = draft.random, draft.sheet
    plot, series, filled = frame_plot(draft, area), random.choice([1, 1, 2, 3, 4, 5]), random.random() < 0.12
    count, marks = random.choice([5, 8, 12, 30, 80]), random.random() < 0.4
    dashed, curved = random.random() < 0.4, random.random() < 0.3
    for number in range(series):
        points = [plot.point(n / (count - 1), height) for n, height in enumerate(_walk(draft, count))]
        ink = plot.inks[number % 6]
        if filled:
            sheet.polyline(
                [plot.point(0, 0), *points, plot.point(1, 0)], ink, 0.0, fill=ink, closed=True, alpha=110
            )
        draw = sheet.curve if curved and count < 20 else sheet.polyline
        draw(points, ink, plot.stroke, DASHES[number] if dashed else ())
        if marks and count <= 30:
            for x, y in points:
                marker(plot, x, y, number)
    legend(plot, series)


def scatter(draft: Draft, area: Area) -> None:
    """Clouds of points, at times with a fitted line or bubbles."""
    random = draft.random
    plot, series, bubbles = frame_plot(draft, area), random.choice([1, 1, 2, 3]), random.random() < 0.15
    for number in range(series):
        cx, cy, slope, wide = (
            random.uniform(0.3, 0.7),
            random.uniform(0.3, 0.7),
            random.uniform(-1, 1),
            random.uniform(0.05, 0.25),
        )
        for _ in range(random.choice([12, 40, 100, 200]) // series):
            dx = random.gauss(0, wide)
            x, y = cx + dx, cy + slope * dx + random.gauss(0, 0.08)
            if 0.01 < x < 0.99 and 0.01 < y < 0.99:
                at = plot.point(x, y)
                if bubbles:
                    radius = random.uniform(2, 14)
                    draft.sheet.ellipse(
                        *at, radius, radius, fill=plot.inks[number], alpha=120, ink=plot.inks[number]
                    )
                else:
                    marker(plot, *at, number)
    if random.random() < 0.3:
        draft.sheet.line(
            *plot.point(0.05, random.uniform(0.1, 0.9)),
            *plot.point(0.95, random.uniform(0.1, 0.9)),
            plot.inks[3],
        )
    legend(plot, series)


def histogram(draft: Draft, area: Area) -> None:
    """Touching bars of a skewed or bell-shaped count."""
    plot, count = frame_plot(draft, area), draft.random.choice([8, 15, 25, 50])
    middle, wide = draft.random.uniform(0.25, 0.7), draft.random.uniform(0.1, 0.25)
    for n in range(count):
        t = (n + 0.5) / count
        height = 0.9 * math.exp(-(((t - middle) / wide) ** 2) / 2) * draft.random.uniform(0.8, 1.05)
        bar(plot, n / count, 0.0, 1 / count, min(height, 0.97), 0)


def boxes(draft: Draft, area: Area) -> None:
    """Box plots with whiskers, or points with error bars."""
    random, sheet, count = draft.random, draft.sheet, draft.random.randint(3, 10)
    plot, bare = frame_plot(draft, area, [draft.prose.label(7) for _ in range(count)]), draft.chance(0.3)
    for n in range(count):
        low, q1, median, q3, high = sorted(random.uniform(0.08, 0.92) for _ in range(5))
        middle, half = (n + 0.5) / count, 0.28 / count
        for start, end in ((low, q1), (q3, high)):
            sheet.line(*plot.point(middle, start), *plot.point(middle, end), (0, 0, 0), 0.5)
        for y in (low, high):
            sheet.line(*plot.point(middle - half / 2, y), *plot.point(middle + half / 2, y), (0, 0, 0), 0.5)
        if bare:
            marker(plot, *plot.point(middle, median), 0)
            continue
        left, top = plot.point(middle - half, q3)
        fill = plot.inks[n % 6] if random.random() < 0.4 else (255, 255, 255)
        sheet.rect(
            left, top, 2 * half * plot.area.width, (q3 - q1) * plot.area.height, fill=fill, ink=(0, 0, 0)
        )
        sheet.line(*plot.point(middle - half, median), *plot.point(middle + half, median), (0, 0, 0), 1.0)


def heat_map(draft: Draft, area: Area) -> None:
    """A matrix of shaded cells, at times with their values."""
    random, style = draft.random, draft.style
    plot, rows, columns, written = (
        frame_plot(draft, area),
        random.randint(4, 20),
        random.randint(4, 20),
        draft.chance(0.3),
    )
    dark, light = (plot.inks[0], (255, 255, 240)) if style.coloured else ((20, 20, 20), (250, 250, 250))
    wide, tall = plot.area.width / columns, plot.area.height / rows
    for row in range(rows):
        for column in range(columns):
            t = 0.5 + 0.5 * math.sin(row * 0.5 + column * 0.3) * random.uniform(0.5, 1)
            fill: Color = tuple(round(a * t + b * (1 - t)) for a, b in zip(dark, light, strict=True))  # type: ignore[assignment]
            x, y = plot.area.x + wide * column, plot.area.y + tall * row
            draft.sheet.rect(x, y, wide + 0.2, tall + 0.2, fill=fill)
            if written and wide > style.size * 2.2 and tall > style.size:
                draft.sheet.text(
                    x + wide / 2, y + tall * 0.6, f"{t:.2f}", style.font("regular", 0.65), style.ink, "center"
                )


def contour(draft: Draft, area: Area) -> None:
    """Nested closed curves round one or two summits."""
    plot, random = frame_plot(draft, area), draft.random
    for _ in range(random.randint(1, 2)):
        cx, cy, wobble = (
            random.uniform(0.3, 0.7),
            random.uniform(0.3, 0.7),
            [random.uniform(0.8, 1.2) for _ in range(12)],
        )
        reach = min(cx, 1 - cx, cy, 1 - cy) * 0.82
        for ring in range(1, random.randint(5, 10)):
            around = [(reach * w * ring / 10, n * math.tau / 12) for n, w in enumerate(wobble)]
            points = [plot.point(cx + r * math.cos(turn), cy + r * math.sin(turn)) for r, turn in around]
            draft.sheet.curve(points, plot.inks[ring % 6], 0.6, closed=True)


CHARTS = (bars, bars, lying_bars, lines, lines, lines, scatter, scatter, histogram, boxes, heat_map, contour)
