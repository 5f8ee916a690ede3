"""Blocks of text that plain OCR recovers: paragraphs, headings, lists, quotes, verse, clauses.

Every block draws itself into the top of an area and returns the height that it used, 0 where it does not fit.
"""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.typeset import Setting, set_line, set_words

_BULLETS = ("•", "–", "*", "-", "▪", "◦", "»", "—")


def align_of(draft: Draft) -> str:
    """How this document sets running text."""
    return "justify" if draft.style.justified else "left"


def paragraph(draft: Draft, area: Area) -> float:
    """Running text."""
    count = draft.random.choice([25, 50, 70, 90, 120, 180]) * (
        3 if draft.style.script in ("japanese", "chinese") else 1
    )
    emphasis = draft.random.choice([0.0, 0.0, 0.01, 0.03])
    setting = Setting(align=align_of(draft), first=draft.style.indent, emphasis=emphasis)
    draft.note("paragraphs")
    return set_words(draft, draft.prose.words(count), area, setting)


def heading(draft: Draft, area: Area, level: int = 2) -> float:
    """A heading with room above it; it needs room for text below it too."""
    style, random = draft.style, draft.random
    scale = {1: random.uniform(1.7, 2.3), 2: random.uniform(1.2, 1.6)}.get(level, random.uniform(1.0, 1.15))
    if area.height < 5 * style.line * scale:
        return 0.0
    draft.note("headings")
    number = random.choice(
        ["", "", f"{random.randint(1, 12)}.{random.randint(1, 9)} ", f"{random.randint(1, 9)}. "]
    )
    above = style.line * random.uniform(0.4, 0.8)
    setting = Setting(face="heading", scale=scale, ink=style.heading_ink, align="left", most_lines=2)
    words = (number + draft.prose.phrase(2, 7)).split()
    used = above + set_words(draft, words, area.below(above), setting)
    if random.random() < 0.1:
        draft.sheet.line(area.x, area.y + used, area.right, area.y + used, style.heading_ink, style.rule)
    return used + style.line * random.uniform(0.1, 0.4)


def bullets(draft: Draft, area: Area) -> float:
    """A bulleted, numbered or lettered list, at times nested."""
    style, random = draft.style, draft.random
    draft.note("list")
    mark, numbered, nested = random.choice(_BULLETS), random.random() < 0.35, random.random() < 0.3
    hang, used = style.size * random.uniform(1.2, 2.2), 0.0
    long = random.choice([8, 14, 30])
    for number in range(1, random.randint(4, 11)):
        inner = nested and number % 3 != 1
        left = hang * (2 if inner else 1)
        item = Area(area.x + left, area.y + used, area.width - left, area.height - used)
        height = set_words(draft, draft.prose.words(random.randint(2, long)), item, Setting(align="left"))
        if not height:
            break
        sign = "–" if inner else f"{number}." if numbered else mark
        draft.sheet.text(item.x - hang * 0.75, item.y + 0.78 * style.line, sign, style.font(), style.ink)
        used += height + style.gap * 0.3
    return used


def definitions(draft: Draft, area: Area) -> float:
    """Terms, each with its explanation under it, as in manual pages."""
    style, random = draft.style, draft.random
    draft.note("list")
    face = random.choice(["bold", "bold", "mono", "italic"])
    inset, used = style.size * random.uniform(2, 4), 0.0
    for _ in range(random.randint(2, 6)):
        if area.height - used < 3 * style.line:
            break
        term = (
            f"--{random.choice(['all', 'output', 'force', 'keep', 'dry-run', 'quiet'])}"
            if face == "mono"
            else draft.prose.label()
        )
        used += set_line(draft, term, area.below(used), face)
        text = Area(area.x + inset, area.y + used, area.width - inset, area.height - used)
        used += set_words(
            draft, draft.prose.words(random.randint(8, 40)), text, Setting(align=align_of(draft))
        )
        used += style.gap * 0.5
    return used


def quote(draft: Draft, area: Area) -> float:
    """An indented quotation, at times with a bar on its left or a line that says who spoke."""
    style, random = draft.style, draft.random
    inset = style.size * random.uniform(1.5, 3)
    text = Area(area.x + inset, area.y, area.width - 2 * inset, area.height)
    face = random.choice(["regular", "italic"])
    height = set_words(
        draft, draft.prose.words(random.randint(20, 70)), text, Setting(face=face, align=align_of(draft))
    )
    if height and random.random() < 0.5:
        grey = style.accent if style.coloured else (150, 150, 150)
        bar = random.uniform(0.8, 3)
        draft.sheet.rect(area.x + inset * 0.4, area.y, bar, height, fill=grey)
        draft.note("rule")
    return height


def verse(draft: Draft, area: Area) -> float:
    """Short ragged lines: a poem, an address, a song."""
    style, random = draft.style, draft.random
    inset, used = area.width * random.uniform(0.05, 0.25), 0.0
    for number in range(random.randint(6, 26)):
        if area.height - used < style.line:
            break
        line = Area(area.x + inset, area.y + used, area.width - inset, area.height - used)
        used += style.line if number % 5 == 4 else set_line(draft, draft.prose.phrase(3, 8), line)
    draft.note("paragraphs")
    return used


def dialogue(draft: Draft, area: Area) -> float:
    """What speakers say in turn, each after a name."""
    style, random, used = draft.style, draft.random, 0.0
    names = [draft.prose.label(10).upper() for _ in range(3)]
    inset = style.size * random.choice([0.0, 2.0, 5.0])
    for _ in range(random.randint(3, 9)):
        if area.height - used < 3 * style.line:
            break
        used += set_line(draft, random.choice(names) + ":", area.below(used), "bold")
        text = Area(area.x + inset, area.y + used, area.width - inset, area.height - used)
        used += set_words(
            draft, draft.prose.words(random.randint(5, 40)), text, Setting(align=align_of(draft))
        )
        used += style.gap * 0.4
    draft.note("paragraphs")
    return used


def clauses(draft: Draft, area: Area) -> float:
    """Legal text: numbered clauses with lettered parts."""
    style, random, used = draft.style, draft.random, 0.0
    chapter, hang = random.randint(1, 20), style.size * 2.6
    draft.note("list")
    for number in range(1, random.randint(3, 7)):
        for part in ("", *"abcd"[: random.randint(0, 4)]):
            left = hang * (2 if part else 1)
            item = Area(area.x + left, area.y + used, area.width - left, area.height - used)
            height = set_words(
                draft, draft.prose.words(random.randint(8, 50)), item, Setting(align=align_of(draft))
            )
            if not height:
                return used
            sign = f"({part})" if part else f"{chapter}.{number}"
            draft.sheet.text(item.x - hang, item.y + 0.78 * style.line, sign, style.font(), style.ink)
            used += height + style.gap * 0.3
    return used
