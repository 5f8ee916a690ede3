"""What every page begins with: its shape and margins, header and footer, columns, titles, footnotes."""

from __future__ import annotations

import random as randomness
from dataclasses import dataclass
from pathlib import Path

from recipes.vl_classifier.drawn.draft import Area, Draft, new_style
from recipes.vl_classifier.drawn.sheet import Sheet
from recipes.vl_classifier.drawn.texts import Prose
from recipes.vl_classifier.drawn.typeset import Setting, set_line, set_words


@dataclass(frozen=True)
class Shape:
    """A paper or a screen: size in points, and the body sizes of type that suit it."""

    name: str
    width: float
    height: float
    sizes: tuple[float, float]
    weight: float


SHAPES = (
    Shape("a4", 595, 842, (8.5, 12.5), 44), Shape("letter", 612, 792, (8.5, 12.5), 20),
    Shape("book", 400, 610, (8, 11.5), 9), Shape("small-book", 330, 500, (8, 11), 4),
    Shape("landscape", 842, 595, (9, 13), 4), Shape("slide", 400, 300, (9, 14), 6),
    Shape("wide-slide", 480, 270, (9, 14), 5), Shape("screen", 760, 500, (9, 12), 3),
    Shape("receipt", 210, 480, (7.5, 10), 2), Shape("dense", 595, 842, (6.3, 8), 4),
)  # fmt: skip


@dataclass(frozen=True)
class Assets:
    """Folders of typefaces and of real pictures."""

    fonts: Path
    pictures: Path | None


def new_draft(random: randomness.Random, assets: Assets) -> tuple[Draft, Shape]:
    """A blank page with its typography."""
    shape = random.choices(SHAPES, [shape.weight for shape in SHAPES])[0]
    style = new_style(random, assets.fonts, random.uniform(*shape.sizes))
    longest = random.randint(1000, 1400)
    scale = longest / max(shape.width, shape.height)
    sheet = Sheet(shape.width, shape.height, scale, style.background)
    return Draft(sheet, style, Prose(random, style.language), random, assets.pictures), shape


def body_of(draft: Draft, shape: Shape) -> Area:
    """Draw header and footer, and return the space between the margins."""
    random, sheet = draft.random, draft.sheet
    small = shape.name in {"receipt", "slide", "wide-slide", "screen"}
    across = shape.width * (random.uniform(0.03, 0.08) if small else random.uniform(0.07, 0.2))
    top = shape.height * (random.uniform(0.03, 0.08) if small else random.uniform(0.05, 0.14))
    area = Area(
        across, top, shape.width - 2 * across, shape.height - top - shape.height * random.uniform(0.06, 0.13)
    )
    if shape.name in {"receipt", "screen"}:
        return area
    if random.random() < 0.55:
        _header(draft, area)
    if random.random() < 0.75:
        number = random.choice(
            [
                str(random.randint(1, 500)),
                f"- {random.randint(1, 90)} -",
                f"{random.randint(1, 20)} / {random.randint(20, 60)}",
            ]
        )
        x, align = random.choice(
            [(area.x + area.width / 2, "center"), (area.right, "right"), (area.x, "left")]
        )
        y = min(area.bottom + draft.style.size * 2.4, sheet.height - draft.style.size * 0.6)
        sheet.text(x, y, number, draft.style.font(scale=0.9), draft.style.ink, align)
        if random.random() < 0.2:
            sheet.line(
                area.x,
                y - draft.style.size * 1.2,
                area.right,
                y - draft.style.size * 1.2,
                draft.style.ink,
                draft.style.rule,
            )
            draft.note("rule")
    return area


def _header(draft: Draft, area: Area) -> None:
    style, random, y = draft.style, draft.random, max(draft.style.size * 1.6, area.y - draft.style.size * 1.6)
    if y > area.y - style.size:
        return
    face = random.choice(["regular", "italic", "bold"])
    font = style.font(face, 0.85)
    if random.random() < 0.07 and style.coloured:
        draft.sheet.rect(0, 0, draft.sheet.width, y + style.size * 0.6, fill=style.accent)
        draft.sheet.text(area.x, y, draft.prose.label(22), font, (255, 255, 255))
        return
    draft.sheet.text(area.x, y, draft.prose.phrase(1, 4)[:40], font, style.ink)
    if random.random() < 0.7:
        draft.sheet.text(
            area.right,
            y,
            random.choice([str(random.randint(1, 400)), draft.prose.label(20)]),
            font,
            style.ink,
            "right",
        )
    if random.random() < 0.5:
        draft.sheet.line(
            area.x, y + style.size * 0.45, area.right, y + style.size * 0.45, style.ink, style.rule
        )
        draft.note("rule")


def columns_of(draft: Draft, area: Area, most: int = 3) -> list[Area]:
    """One to three columns, narrower ones rarer."""
    random, size = draft.random, draft.style.size
    fitting = min(most, max(1, int(area.width / (size * 15))))
    count = random.choices([1, 2, 3], [10, 5, 0.8])[0]
    count = min(count, fitting)
    gap = size * random.uniform(1.2, 2.6)
    width = (area.width - gap * (count - 1)) / count
    if count > 1:
        draft.note("columns")
        if random.random() < 0.12:
            for n in range(1, count):
                x = area.x + n * (width + gap) - gap / 2
                draft.sheet.line(x, area.y, x, area.bottom, draft.style.ink, 0.4)
    return [Area(area.x + n * (width + gap), area.y, width, area.height) for n in range(count)]


def opening(draft: Draft, area: Area) -> float:
    """A title with authors at the head of a page, now and then."""
    if draft.chance(0.82):
        return 0.0
    align = draft.random.choice(["center", "left"])
    setting = Setting(
        face="heading", scale=draft.random.uniform(1.6, 2.3), ink=draft.style.heading_ink, align=align
    )
    used = set_words(draft, draft.prose.phrase(2, 8).split(), area, setting)
    for _ in range(draft.random.randint(0, 3)):
        used += set_line(draft, draft.prose.label(30), area.below(used), align=align)
    return used + draft.style.line


def footnotes(draft: Draft, area: Area) -> Area:
    """Notes at the foot under a short rule, now and then; returns the space above them."""
    if draft.chance(0.85) or area.height < 300:
        return area
    scale, count = 0.8, draft.random.randint(1, 3)
    height = draft.style.line * scale * 2 * count + 6
    top = area.bottom - height
    draft.sheet.line(area.x, top, area.x + area.width * 0.35, top, draft.style.ink, 0.4)
    for n in range(count):
        note = Area(
            area.x, top + 4 + n * draft.style.line * scale * 2, area.width, draft.style.line * scale * 2
        )
        set_words(
            draft,
            [str(n + 1), *draft.prose.words(draft.random.randint(5, 28))],
            note,
            Setting(scale=scale, align="left"),
        )
    return Area(area.x, area.y, area.width, area.height - height - draft.style.line)


def slide_title(draft: Draft, body: Area) -> float:
    """The title of a slide, at times in a bar; returns its height."""
    style, bar = draft.style, draft.style.line * 1.9
    if draft.chance(0.4):
        draft.sheet.rect(
            0, 0, draft.sheet.width, bar, fill=style.accent if sum(style.accent) < 500 else (60, 60, 60)
        )
        draft.sheet.text(
            body.x, bar * 0.68, draft.prose.phrase(2, 4)[:34], style.font("heading", 1.3), (255, 255, 255)
        )
        return max(0.0, bar - body.y) + style.line * 0.5
    return (
        set_line(draft, draft.prose.phrase(2, 4), body, "heading", 1.5, style.heading_ink) + style.line * 0.5
    )
