"""Fills areas with blocks of text, and puts figures and tables with captions among them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recipes.vl_classifier.drawn import forms, lists, pictures, prose, windows
from recipes.vl_classifier.drawn.axis_charts import CHARTS
from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.formulas import formula
from recipes.vl_classifier.drawn.graphs import DIAGRAMS
from recipes.vl_classifier.drawn.line_art import LINE_ART
from recipes.vl_classifier.drawn.listings import code
from recipes.vl_classifier.drawn.notes import framed_note
from recipes.vl_classifier.drawn.round_charts import ROUND_CHARTS
from recipes.vl_classifier.drawn.tables import table
from recipes.vl_classifier.drawn.typeset import Setting, set_words

Block = Callable[[Draft, Area], float]

# What documents of one manner are made of, by weight.
MANNERS: tuple[dict[Block, float], ...] = (
    {prose.paragraph: 10, prose.heading: 2, prose.bullets: 1, prose.quote: 0.3},
    {prose.paragraph: 10, prose.heading: 1.5, formula: 4},
    {
        prose.paragraph: 6,
        prose.heading: 2,
        code: 4,
        framed_note: 1,
        prose.bullets: 1,
        prose.definitions: 1,
    },
    {prose.paragraph: 6, prose.heading: 2, prose.bullets: 3, framed_note: 2, code: 1},
    {prose.definitions: 6, prose.heading: 2, prose.paragraph: 2},
    {prose.paragraph: 10, prose.verse: 0.6, prose.quote: 0.6},
    {prose.clauses: 8, prose.heading: 2, prose.paragraph: 2},
    {prose.dialogue: 8, prose.heading: 0.5, prose.paragraph: 1},
    {code: 9, prose.paragraph: 2, prose.heading: 1},
    {prose.bullets: 8, prose.heading: 3, prose.paragraph: 1},
    {framed_note: 4, prose.paragraph: 4, prose.heading: 1.5},
    {prose.paragraph: 1},
)
_MANNER_WEIGHTS = (9, 6, 6, 5, 3, 3, 3, 1.5, 2.5, 2, 1.5, 3)


def new_manner(draft: Draft) -> dict[Block, float]:
    """What this page's text is made of."""
    return draft.random.choices(MANNERS, _MANNER_WEIGHTS)[0]


def fill(draft: Draft, area: Area, manner: dict[Block, float]) -> float:
    """Set blocks from the top until no more fit; returns the height used."""
    style, used, misses = draft.style, 0.0, 0
    blocks, weights = list(manner), list(manner.values())
    while area.height - used > style.line and misses < 4:
        block = draft.random.choices(blocks, weights)[0]
        height = block(draft, area.below(used))
        if height <= 0:
            misses += 1
            continue
        used += height + style.gap
        weights = [
            w * (0.05 if b is prose.heading and block is prose.heading else 1) for b, w in manner.items()
        ]
    return used


def _chart(draft: Draft, area: Area) -> tuple[str, Area]:
    pixels = pictures.real_picture(draft, "chart") if draft.chance(0.25) else None
    if pixels is not None:
        return "chart", pictures.lay(draft, pixels, area)
    draft.random.choice(CHARTS if draft.chance(0.78) else ROUND_CHARTS)(draft, area)
    return "chart", area


def _diagram(draft: Draft, area: Area) -> tuple[str, Area]:
    pixels = pictures.real_picture(draft, "diagram") if draft.chance(0.3) else None
    if pixels is not None:
        return "diagram", pictures.lay(draft, pixels, area)
    draft.random.choice(DIAGRAMS)(draft, area)
    return "diagram", area


def _figure(draft: Draft, area: Area) -> tuple[str, Area]:
    draft.random.choice(LINE_ART)(draft, area)
    return "figure", area


def _form(draft: Draft, area: Area) -> tuple[str, Area]:
    return "", Area(area.x, area.y, area.width, forms.form(draft, area))


_PICTURES: dict[str, tuple[Callable[[Draft, Area], tuple[str, Area]], float]] = {
    "chart": (_chart, 7),
    "diagram": (_diagram, 6),
    "figure": (_figure, 3),
    "photo": (lambda draft, area: ("photo", pictures.photo(draft, area)), 5),
    "map": (lambda draft, area: ("map", pictures.map_(draft, area)), 1.5),
    "screenshot": (lambda draft, area: ("screenshot", windows.screenshot(draft, area)), 3),
    "form": (_form, 1),
}


def picture(draft: Draft, area: Area, kind: str | None = None) -> Area:
    """Any HIGH element but a table, as large as an area lets it be; marks it and returns where it lies."""
    kind = kind or draft.random.choices(list(_PICTURES), [weight for _, weight in _PICTURES.values()])[0]
    name, place = _PICTURES[kind][0](draft, area)
    if name:
        draft.sheet.mark(name, place.x, place.y, place.width, place.height)
    return place


def _caption(draft: Draft, area: Area, word: str) -> float:
    style, random = draft.style, draft.random
    count, chapter = random.choice([3, 6, 12, 25]), random.choice(["", f"{random.randint(1, 9)}."])
    words = [
        word,
        *f"{chapter}{random.randint(1, 30)}{random.choice([':', '.', ' –'])}".split(),
        *draft.prose.words(count),
    ]
    wide = sum(style.width(w) for w in words) > area.width * 0.9
    setting = Setting(
        face=random.choice(["regular", "regular", "italic"]), scale=0.9, align="left" if wide else "center"
    )
    return set_words(draft, words, area, setting)


def captioned(draft: Draft, area: Area, least: float) -> float:
    """A table or a picture with its caption over or under it, `least` points tall where that fits."""
    style, random = draft.style, draft.random
    free = style.line * random.uniform(0.4, 1.2)
    if area.height < 60:
        return 0.0
    is_table, above, captions = random.random() < 0.42, random.random() < 0.4, random.random() < 0.8
    used = free
    if captions and (above or is_table):
        used += _caption(draft, area.below(used), "Table" if is_table else "Figure") + free * 0.5
    room = Area(area.x, area.y + used, area.width, min(least, area.height - used - 3 * style.line))
    if room.height < 40:
        return 0.0
    if is_table:
        used += table(draft, room)
    else:
        place = picture(draft, _narrowed(draft, room))
        used += max(place.bottom - room.y, room.height if place.y > room.y + 1 else 0.0)
        used += (
            _caption(draft, area.below(used + free * 0.5), "Figure") + free * 0.5
            if captions and not above
            else 0.0
        )
    return used + free


def _narrowed(draft: Draft, room: Area) -> Area:
    share = draft.random.choice([1.0, 1.0, 0.85, 0.7])
    if room.width * share < 1.1 * room.height:
        return room
    width = room.width * share
    return Area(
        room.x + (room.width - width) * draft.random.choice([0.5, 0.5, 0.0]), room.y, width, room.height
    )


LISTS: dict[str, Block] = {
    "contents": lists.contents, "index": lists.index, "references": lists.bibliography,
    "dictionary": lists.dictionary, "log": lists.log,
}  # fmt: skip


def fill_all(draft: Draft, areas: Sequence[Area], manner: dict[Block, float]) -> None:
    """Fill several columns."""
    for area in areas:
        fill(draft, area, manner)
