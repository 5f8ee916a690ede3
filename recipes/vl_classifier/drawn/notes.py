"""Framed and shaded notes: text that looks like more."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.prose import align_of
from recipes.vl_classifier.drawn.sheet import Color
from recipes.vl_classifier.drawn.typeset import Setting, break_lines, set_line, set_words


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
    setting = Setting(align=align_of(draft))
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
