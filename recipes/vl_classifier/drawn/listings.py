"""Listings of programs: plain, framed or shaded, at times numbered or coloured."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Color
from recipes.vl_classifier.drawn.texts import corpus
from recipes.vl_classifier.drawn.typeset import fit

_STATEMENTS = {
    "def", "class", "return", "if", "else", "for", "in", "import", "from", "while", "try", "except",
    "not", "int", "void", "static", "const", "struct", "char", "extern", "#define", "#include",
    "typedef", "case", "local", "fi", "then", "done", "do", "and", "or", "with", "as", "None", "self",
}  # fmt: skip


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
