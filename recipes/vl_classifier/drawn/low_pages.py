"""Pages of text only, some of them with rules, frames, shades and columns that look like more."""

from __future__ import annotations

from recipes.vl_classifier.drawn import prose
from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.flow import LISTS, fill, fill_all, new_manner
from recipes.vl_classifier.drawn.layout import (
    columns_of,
    footnotes,
    opening,
    slide_title,
)
from recipes.vl_classifier.drawn.listings import code
from recipes.vl_classifier.drawn.notes import framed_note
from recipes.vl_classifier.drawn.pictures import photo
from recipes.vl_classifier.drawn.typeset import Setting, set_line, set_words


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
        block = random.choice([prose.paragraph, prose.definitions, prose.definitions, code])
        used += block(draft, Area(body.x + inset, body.y + used, body.width - inset, body.height - used))


def text_page(draft: Draft, body: Area) -> None:
    """Blocks of text in columns, at times a page that ends early."""
    body = footnotes(draft, body)
    body = body.below(opening(draft, body))
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
    used = slide_title(draft, body)
    area = body.below(used)
    for _ in range(draft.random.randint(1, 3)):
        block = draft.random.choice([prose.bullets, prose.bullets, prose.paragraph, code, framed_note])
        height = block(draft, area)
        area = area.below(height + draft.style.line * 0.6)


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
