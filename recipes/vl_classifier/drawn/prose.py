"""Blocks of text that plain OCR recovers: paragraphs, headings, lists, quotes, notes, formulas, code.

Every block draws itself into the top of an area and returns the height that it used, 0 where it does not fit.
"""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Color
from recipes.vl_classifier.drawn.texts import corpus
from recipes.vl_classifier.drawn.typeset import Setting, break_lines, fit, set_line, set_words

_BULLETS = ("•", "–", "*", "-", "▪", "◦", "»", "—")
_STATEMENTS = {"def", "class", "return", "if", "else", "for", "in", "import", "from", "while", "try", "except", "not",
               "int", "void", "static", "const", "struct", "char", "extern", "#define", "#include", "typedef", "case", "local",
               "fi", "then", "done", "do", "and", "or", "with", "as", "None", "self"}  # fmt: skip


def _align(draft: Draft) -> str:
    return "justify" if draft.style.justified else "left"


def paragraph(draft: Draft, area: Area) -> float:
    """Running text."""
    count = draft.random.choice([25, 50, 70, 90, 120, 180]) * (
        3 if draft.style.script in ("japanese", "chinese") else 1
    )
    emphasis = draft.random.choice([0.0, 0.0, 0.01, 0.03])
    setting = Setting(align=_align(draft), first=draft.style.indent, emphasis=emphasis)
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
        used += set_words(draft, draft.prose.words(random.randint(8, 40)), text, Setting(align=_align(draft)))
        used += style.gap * 0.5
    return used


def quote(draft: Draft, area: Area) -> float:
    """An indented quotation, at times with a bar on its left or a line that says who spoke."""
    style, random = draft.style, draft.random
    inset = style.size * random.uniform(1.5, 3)
    text = Area(area.x + inset, area.y, area.width - 2 * inset, area.height)
    face = random.choice(["regular", "italic"])
    height = set_words(
        draft, draft.prose.words(random.randint(20, 70)), text, Setting(face=face, align=_align(draft))
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
        used += set_words(draft, draft.prose.words(random.randint(5, 40)), text, Setting(align=_align(draft)))
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
                draft, draft.prose.words(random.randint(8, 50)), item, Setting(align=_align(draft))
            )
            if not height:
                return used
            sign = f"({part})" if part else f"{chapter}.{number}"
            draft.sheet.text(item.x - hang, item.y + 0.78 * style.line, sign, style.font(), style.ink)
            used += height + style.gap * 0.3
    return used


def framed_note(draft: Draft, area: Area) -> float:
    """A note in a frame, a tint or between rules, with a title and at times a tiny sign."""
    style, random = draft.style, draft.random
    pad = style.size * random.uniform(0.6, 1.2)
    words = draft.prose.words(random.randint(12, 70))
    wide = sum(style.width(word) for word in words) + style.width(" ") * len(words)
    sign = style.size * 2.4 if random.random() < 0.35 else 0.0
    inner = area.width - 2 * pad - sign
    height = (int(wide / inner * 1.06) + 3.2) * style.line + 2 * pad
    if inner < 8 * style.size or height > area.height:
        return 0.0
    draft.note("framed-text")
    used = _fill_note(
        draft,
        words,
        Area(area.x + pad + sign, area.y + pad, inner, height),
        Area(area.x, area.y, area.width, height),
        pad,
    )
    if sign:
        _tiny_sign(draft, area.x + pad + sign * 0.35, area.y + pad + style.line * 0.8, style.size * 0.9)
    return used


def _fill_note(draft: Draft, words: list[str], inner: Area, outer: Area, pad: float) -> float:
    style, random = draft.style, draft.random
    title = (
        random.choice(["Note", "Warning", "Tip", "Important", "Caution", ""])
        if style.script == "latin"
        else draft.prose.label()
    )
    # The frame goes under the text, so the lines are counted before they are set.
    setting = Setting(align=_align(draft))
    lines = len(break_lines(style, words, inner.width, setting)) + bool(title)
    height = lines * style.line + 2 * pad
    _note_ground(draft, Area(outer.x, outer.y, outer.width, height))
    at = set_line(draft, title, inner, "bold", ink=style.heading_ink) if title else 0.0
    set_words(draft, words, inner.below(at), setting)
    return height


def _note_ground(draft: Draft, area: Area) -> None:
    style, random = draft.style, draft.random
    look = random.choice(["frame", "tint", "both", "rules", "bar", "round"])
    pale: Color = tuple(255 - (255 - part) // 8 for part in style.accent)  # type: ignore[assignment]
    if look in {"tint", "both", "bar"}:
        draft.sheet.rect(
            area.x, area.y, area.width, area.height, fill=pale if style.coloured else (240, 240, 240)
        )
    if look in {"frame", "both", "round"}:
        radius = 4.0 if look == "round" else 0.0
        draft.sheet.rect(
            area.x, area.y, area.width, area.height, ink=style.accent, stroke=style.rule, radius=radius
        )
    if look == "rules":
        for y in (area.y, area.bottom):
            draft.sheet.line(area.x, y, area.right, y, style.ink, style.rule)
    if look == "bar":
        draft.sheet.rect(area.x, area.y, 2.5, area.height, fill=style.accent)


def _tiny_sign(draft: Draft, x: float, y: float, radius: float) -> None:
    style, sheet = draft.style, draft.sheet
    if draft.chance(0.5):
        sheet.ellipse(x, y, radius, radius, fill=style.accent)
        sheet.text(x, y + radius * 0.4, "i", style.font("bold"), (255, 255, 255), "center")
    else:
        corners = [(x, y - radius), (x + radius, y + radius * 0.7), (x - radius, y + radius * 0.7)]
        sheet.polyline(corners, style.ink, 1.0, fill=(250, 210, 60) if style.coloured else None, closed=True)
        sheet.text(x, y + radius * 0.5, "!", style.font("bold"), style.ink, "center")


def code(draft: Draft, area: Area) -> float:
    """A listing: plain, framed or shaded, at times numbered or with coloured words."""
    style, random = draft.style, draft.random
    scale = random.uniform(0.75, 0.95)
    pitch, pad = style.size * scale * random.uniform(1.1, 1.3), style.size * 0.5
    rows = min(random.randint(4, 30), int((area.height - 2 * pad) / pitch))
    if rows < 3:
        return 0.0
    draft.note("code")
    height = rows * pitch + 2 * pad
    dark = _code_ground(draft, Area(area.x, area.y, area.width, height))
    numbers = style.width("000 ", "mono", scale) if random.random() < 0.25 else 0.0
    lines = random.choice(corpus().code)
    start = random.randrange(len(lines) - min(rows, len(lines) - 1))
    colours = _syntax_colours(draft, dark)
    for number, text in enumerate(lines[start : start + rows]):
        y = area.y + pad + pitch * number + 0.75 * pitch
        if numbers:
            draft.sheet.text(
                area.x + pad, y, f"{start + number:3d}", style.font("mono", scale), (130, 130, 130)
            )
        _code_line(draft, text, area.x + pad + numbers, y, area.width - 2 * pad - numbers, scale, colours)
    return height


def _code_ground(draft: Draft, area: Area) -> bool:
    random, sheet = draft.random, draft.sheet
    look = random.choice(["plain", "plain", "frame", "tint", "both", "rules", "dark"])
    if look == "dark" and random.random() < 0.5:
        sheet.rect(area.x, area.y, area.width, area.height, fill=(40, 42, 54))
        return True
    shade = random.randint(232, 248)
    fill = (shade, shade, random.choice([shade, 255])) if draft.style.coloured else (shade, shade, shade)
    if look in {"tint", "both"}:
        sheet.rect(area.x, area.y, area.width, area.height, fill=fill)
    if look in {"frame", "both"}:
        sheet.rect(area.x, area.y, area.width, area.height, ink=random.choice([(0, 0, 0), (170, 170, 170)]))
    if look == "rules":
        for y in (area.y, area.bottom):
            sheet.line(area.x, y, area.right, y)
    return False


def _syntax_colours(draft: Draft, dark: bool) -> tuple[Color, Color, Color]:
    """Colours of common words, keywords and comments."""
    base = (230, 230, 230) if dark else draft.style.ink
    if not draft.style.coloured and not dark:
        return base, base, base
    return base, (255, 121, 198) if dark else (0, 0, 170), (98, 160, 120) if dark else (60, 130, 60)


def _code_line(
    draft: Draft,
    text: str,
    x: float,
    y: float,
    width: float,
    scale: float,
    colours: tuple[Color, Color, Color],
) -> None:
    style = draft.style
    text = fit(style, text, width, "mono", scale)
    if len(set(colours)) == 1 or text.lstrip().startswith(("#", "//", "/*", "*")):
        ink = colours[2] if text.lstrip().startswith(("#", "//", "/*", "*")) else colours[0]
        draft.sheet.text(x, y, text, style.font("mono", scale), ink)
        return
    advance = style.width("0", "mono", scale)
    at = 0
    for word in text.split(" "):
        ink = colours[1] if word.strip("():,") in _STATEMENTS else colours[0]
        if word:
            draft.sheet.text(x + at * advance, y, word, style.font("mono", scale), ink)
        at += len(word) + 1
