"""Whole pages: shapes, margins, headers, columns, and what goes where on LOW and on HIGH ones."""

from __future__ import annotations

import random as randomness
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from recipes.vl_classifier.drawn import forms, prose
from recipes.vl_classifier.drawn.draft import Area, Draft, new_style
from recipes.vl_classifier.drawn.flow import LISTS, captioned, fill, fill_all, new_manner, picture
from recipes.vl_classifier.drawn.pictures import photo
from recipes.vl_classifier.drawn.sheet import Sheet
from recipes.vl_classifier.drawn.tables import table
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
    Shape("landscape", 842, 595, (9, 13), 4), Shape("slide", 400, 300, (9, 14), 6), Shape("wide-slide", 480, 270, (9, 14), 5),
    Shape("screen", 760, 500, (9, 12), 3), Shape("receipt", 210, 480, (7.5, 10), 2), Shape("dense", 595, 842, (6.3, 8), 4),
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


def _opening(draft: Draft, area: Area) -> float:
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


def _footnotes(draft: Draft, area: Area) -> Area:
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


def _logo(draft: Draft, x: float, y: float) -> None:
    """A sign too small to make a page HIGH."""
    side = (draft.sheet.width * draft.sheet.height * draft.random.uniform(0.002, 0.011)) ** 0.5
    place = Area(x, y, side, side)
    if draft.chance(0.5):
        place = photo(draft, place)
    else:
        draft.sheet.ellipse(x + side / 2, y + side / 2, side / 2, side / 2, fill=draft.style.accent)
        draft.sheet.rect(x + side * 0.3, y + side * 0.3, side * 0.4, side * 0.4, fill=draft.style.background)
    draft.sheet.mark("figure", place.x, place.y, place.width, place.height)


def manual_page(draft: Draft, body: Area) -> None:
    """A page of a Unix manual: names in the corners, flush headings, indented text and options."""
    style, random, used = draft.style, draft.random, 0.0
    name, middle = f"{draft.prose.label(8).upper()}({random.randint(1, 8)})", draft.prose.phrase(2, 3)[:28]
    for y in (body.y - style.size * 0.5, body.bottom + style.size):
        for share, text, align in ((0.0, name, "left"), (0.5, middle, "center"), (1.0, name, "right")):
            draft.sheet.text(body.x + body.width * share, y, text, style.font(), style.ink, align)
    inset = style.size * random.uniform(2, 5)
    while body.height - used > 5 * style.line:
        used += style.line * 0.7
        used += set_line(draft, draft.prose.label(16).upper(), body.below(used), "bold")
        block = random.choice([prose.paragraph, prose.definitions, prose.definitions, prose.code])
        used += block(draft, Area(body.x + inset, body.y + used, body.width - inset, body.height - used))


def text_page(draft: Draft, body: Area) -> None:
    """Blocks of text in columns, at times a page that ends early."""
    body = _footnotes(draft, body)
    body = body.below(_opening(draft, body))
    if draft.chance(0.12):
        body = Area(body.x, body.y, body.width, body.height * draft.random.uniform(0.15, 0.7))
    fill_all(draft, columns_of(draft, body), new_manner(draft))


def list_page(draft: Draft, body: Area) -> None:
    """Contents, index, references, dictionary or log over the page."""
    name = draft.random.choices(list(LISTS), [6, 4, 4, 2, 2])[0]
    used = prose.heading(draft, body, 1) if draft.chance(0.7) else 0.0
    area = body.below(used)
    columns = columns_of(draft, area) if name in {"index", "dictionary", "references"} else [area]
    if name == "index" and len(columns) == 1 and area.width > draft.style.size * 26:
        half = (area.width - 16) / 2
        columns = [
            Area(area.x, area.y, half, area.height),
            Area(area.x + half + 16, area.y, half, area.height),
        ]
    for column in columns:
        LISTS[name](
            draft,
            column if draft.chance(0.8) else Area(column.x, column.y, column.width, column.height * 0.6),
        )


def letter_page(draft: Draft, body: Area) -> None:
    """Addresses, a date, a salutation, paragraphs and a name."""
    style, random, used = draft.style, draft.random, 0.0
    draft.note("form-letter")
    if random.random() < 0.35:
        _logo(draft, body.x, body.y)
        used += 0.12 * body.height
    for align in (random.choice(["left", "right"]), "left"):
        for _ in range(random.randint(2, 4)):
            used += set_line(draft, draft.prose.label(26), body.below(used), align=align)
        used += style.line * random.uniform(0.5, 2)
    for _ in range(random.randint(2, 5)):
        used += prose.paragraph(draft, body.below(used)) + style.line * 0.6
    used += style.line
    used += set_line(draft, draft.prose.label(20), body.below(used)) + style.line * random.uniform(1, 3)
    set_line(draft, draft.prose.label(20), body.below(used), "italic")


def sparse_page(draft: Draft, body: Area) -> None:
    """A title page, a nearly blank one, a dedication."""
    style, random = draft.style, draft.random
    kind = random.choices(["title", "line", "blank", "corner"], [5, 3, 0.7, 1])[0]
    draft.note("blank" if kind == "blank" else "short")
    used = body.height * random.uniform(0.02, 0.4)
    if kind == "title" and random.random() < 0.3:
        _logo(draft, body.x + body.width * random.choice([0.0, 0.45]), body.bottom - body.height * 0.12)
    if kind == "title":
        align = random.choice(["center", "center", "left", "right"])
        words = draft.prose.phrase(2, 7).split()
        used += set_words(
            draft,
            words,
            body.below(used),
            Setting(face="heading", scale=random.uniform(1.8, 3.4), ink=style.heading_ink, align=align),
        )
        if random.random() < 0.3:
            draft.sheet.line(
                body.x, body.y + used + 8, body.right, body.y + used + 8, style.accent, random.uniform(0.5, 3)
            )
        for _ in range(random.randint(1, 6)):
            used += style.line * random.uniform(0.2, 3)
            used += set_line(
                draft,
                draft.prose.phrase(1, 5),
                body.below(used),
                random.choice(["regular", "italic"]),
                random.uniform(1, 1.4),
                align=align,
            )
    elif kind == "line":
        set_words(
            draft,
            draft.prose.words(random.randint(1, 40)),
            body.below(used),
            Setting(align=random.choice(["center", "left"])),
        )
    elif kind == "corner":
        prose.paragraph(draft, Area(body.x, body.y, body.width * 0.6, body.height * 0.3))


def slide_page(draft: Draft, body: Area) -> None:
    """A title and points, on a slide."""
    used = _slide_title(draft, body)
    area = body.below(used)
    for _ in range(draft.random.randint(1, 3)):
        block = draft.random.choice(
            [prose.bullets, prose.bullets, prose.paragraph, prose.code, prose.framed_note]
        )
        height = block(draft, area)
        area = area.below(height + draft.style.line * 0.6)


def _slide_title(draft: Draft, body: Area) -> float:
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


def framed_page(draft: Draft, body: Area) -> None:
    """Text inside a frame round the whole page, or over tinted bands: LOW in spite of its lines."""
    draft.note("framed-text")
    if draft.chance(0.6):
        draft.sheet.rect(
            body.x - 8,
            body.y - 8,
            body.width + 16,
            body.height + 16,
            ink=draft.style.accent,
            stroke=draft.random.uniform(0.5, 2),
        )
    manner = new_manner(draft)
    for part in _bands(draft, body):
        look = draft.random.choice(["none", "tint", "rules"])
        if look == "tint":
            draft.sheet.rect(part.x - 4, part.y - 4, part.width + 8, part.height + 4, fill=(242, 242, 242))
        elif look == "rules":
            draft.sheet.line(part.x, part.y - 4, part.right, part.y - 4, draft.style.ink, draft.style.rule)
        fill(draft, part, manner)


def _bands(draft: Draft, body: Area) -> list[Area]:
    count = draft.random.randint(1, 4)
    height = body.height / count
    return [Area(body.x, body.y + n * height + 4, body.width, height - 12) for n in range(count)]


def _element_height(draft: Draft, width: float) -> float:
    """Height in points of an element this wide: mostly 8 to 45 % of the page, now and then more."""
    share = draft.random.choice([draft.random.uniform(0.08, 0.18), draft.random.uniform(0.15, 0.45)])
    return max(50.0, share * draft.sheet.width * draft.sheet.height / width)


def mixed_page(draft: Draft, body: Area) -> None:
    """Text with one to three captioned figures or tables in it."""
    body = body.below(_opening(draft, body))
    manner = new_manner(draft)
    if draft.chance(0.3):
        used = captioned(draft, body, min(_element_height(draft, body.width), body.height * 0.7))
        body = body.below(used)
    columns = columns_of(draft, body, most=2)
    chosen = draft.random.randrange(len(columns))
    for number, column in enumerate(columns):
        if number == chosen or draft.chance(0.3):
            before = draft.random.choice([0.0, draft.random.uniform(0.1, 0.75)]) * column.height
            used = fill(draft, Area(column.x, column.y, column.width, before), manner) if before else 0.0
            column = column.below(used)
            column = column.below(
                captioned(draft, column, min(_element_height(draft, column.width), column.height * 0.8))
            )
        fill(draft, column, manner)


def beside_page(draft: Draft, body: Area) -> None:
    """A picture with text running beside it."""
    manner, random = new_manner(draft), draft.random
    top = fill(draft, Area(body.x, body.y, body.width, body.height * random.uniform(0.1, 0.5)), manner)
    height, share = body.height * random.uniform(0.2, 0.4), random.uniform(0.35, 0.6)
    width, gap = body.width * share, draft.style.size * 1.5
    left = random.random() < 0.5
    box = Area(body.x if left else body.right - width, body.y + top, width, height)
    text = Area(body.x + width + gap if left else body.x, body.y + top, body.width - width - gap, height)
    place = picture(draft, box) if random.random() < 0.75 else None
    if place is None:
        table(draft, box)
    fill(draft, text, {prose.paragraph: 1})
    fill(draft, body.below(top + height + draft.style.line), manner)


def table_page(draft: Draft, body: Area) -> None:
    """One to four tables over the page, with little text."""
    used = prose.heading(draft, body, draft.random.randint(1, 3)) if draft.chance(0.6) else 0.0
    count = draft.random.choice([1, 1, 1, 2, 3, 4])
    for _ in range(count):
        if draft.chance(0.3):
            used += prose.paragraph(
                draft, Area(body.x, body.y + used, body.width, min(80.0, body.height - used))
            )
            used += draft.style.line * draft.random.uniform(0.4, 1.2)
        room = min(body.height - used, body.height / count * draft.random.uniform(0.5, 1.0))
        if room > 50:
            used += table(
                draft, Area(body.x, body.y + used, body.width, room)
            ) + draft.style.line * draft.random.uniform(1, 3)
    if draft.chance(0.5):
        fill(draft, body.below(used), new_manner(draft))


def picture_page(draft: Draft, body: Area) -> None:
    """One to six pictures over the page."""
    columns, rows = draft.random.choice([(1, 1), (1, 2), (2, 2), (2, 3), (1, 3), (2, 1)])
    kind = draft.random.choice([None, None, "chart", "photo", "diagram", "figure"])
    used = prose.heading(draft, body, 2) if draft.chance(0.5) else 0.0
    area, gap = body.below(used), draft.style.line * 1.8
    width, height = (area.width - gap * (columns - 1)) / columns, area.height / rows - gap
    if height < 50:
        return
    for row in range(rows):
        for column in range(columns):
            box = Area(area.x + column * (width + gap), area.y + row * (height + gap), width, height)
            picture(draft, box, kind)
            if draft.chance(0.7):
                label = f"({'abcdef'[row * columns + column]}) {draft.prose.phrase(1, 4)}"
                set_line(
                    draft, label, Area(box.x, box.bottom + 2, box.width, gap), scale=0.85, align="center"
                )


def form_page(draft: Draft, body: Area) -> None:
    """A form or an invoice."""
    if draft.chance(0.35):
        forms.invoice(draft, body)
        return
    used = prose.heading(draft, body, 1)
    if draft.chance(0.5):
        used += prose.paragraph(draft, Area(body.x, body.y + used, body.width, min(70.0, body.height)))
    forms.form(
        draft,
        Area(
            body.x,
            body.y + used + 6,
            body.width,
            (body.height - used - 6) * draft.random.choice([1.0, 1.0, 0.6]),
        ),
    )


def high_slide(draft: Draft, body: Area) -> None:
    """A slide with a picture or a table, alone or beside points."""
    area = body.below(_slide_title(draft, body))
    if draft.chance(0.5):
        half = area.width * draft.random.uniform(0.4, 0.55)
        prose.bullets(draft, Area(area.x, area.y, area.width - half - 10, area.height))
        area = Area(area.right - half, area.y, half, area.height)
    if draft.chance(0.3):
        table(draft, area)
    else:
        picture(draft, area)


def receipt(draft: Draft, body: Area) -> None:
    """A till receipt: goods with prices in two or three bare columns."""
    used = 0.0
    for _ in range(draft.random.randint(2, 5)):
        used += set_line(draft, draft.prose.label(24), body.below(used), align="center")
    used += draft.style.line
    used += table(
        draft, Area(body.x, body.y + used, body.width, body.height * draft.random.uniform(0.3, 0.6)), "bare"
    )
    set_words(draft, draft.prose.words(12), body.below(used + draft.style.line), Setting(align="center"))


def screen_page(draft: Draft, _: Area) -> None:
    """A window over the whole picture."""
    draft.sheet.boxes.clear()
    picture(draft, Area(0, 0, draft.sheet.width, draft.sheet.height), "screenshot")


Maker = Callable[[Draft, Area], None]
_LOW: dict[Maker, float] = {
    text_page: 60,
    list_page: 16,
    letter_page: 5,
    sparse_page: 7,
    framed_page: 7,
    manual_page: 5,
}
_HIGH: dict[Maker, float] = {mixed_page: 55, beside_page: 8, table_page: 16, picture_page: 9, form_page: 7}
_SLIDES = {"slide", "wide-slide"}


def maker_of(random: randomness.Random, shape: Shape, high: bool) -> Maker:
    """What to draw on a page of this shape."""
    if high and shape.name == "receipt":
        return receipt
    if high and shape.name == "screen" and random.random() < 0.6:
        return screen_page
    if shape.name in _SLIDES and random.random() < 0.75:
        return high_slide if high else slide_page
    if not high and shape.name not in {"a4", "letter", "book", "small-book", "dense"}:
        return text_page
    weights = _HIGH if high else _LOW
    return random.choices(list(weights), list(weights.values()))[0]
