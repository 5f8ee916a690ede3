"""Pages with tables, figures, forms or screens on them, alone or among text."""

from __future__ import annotations

from recipes.vl_classifier.drawn import forms, prose
from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.flow import captioned, fill, new_manner, picture
from recipes.vl_classifier.drawn.layout import (
    columns_of,
    opening,
    slide_title,
)
from recipes.vl_classifier.drawn.tables import table
from recipes.vl_classifier.drawn.typeset import Setting, set_line, set_words


def _element_height(draft: Draft, width: float) -> float:
    """Height in points of an element this wide: mostly 8 to 45 % of the page, now and then more."""
    share = draft.random.choice([draft.random.uniform(0.08, 0.18), draft.random.uniform(0.15, 0.45)])
    return max(50.0, share * draft.sheet.width * draft.sheet.height / width)


def mixed_page(draft: Draft, body: Area) -> None:
    """Text with one to three captioned figures or tables in it."""
    body = body.below(opening(draft, body))
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
    area = body.below(slide_title(draft, body))
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
