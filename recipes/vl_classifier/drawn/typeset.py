"""Breaks words into lines and sets the lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from recipes.vl_classifier.drawn.draft import Area, Draft, Style
from recipes.vl_classifier.drawn.shaping import is_right_to_left
from recipes.vl_classifier.drawn.sheet import Color
from recipes.vl_classifier.drawn.texts import UNSPACED

_VOWELS = set("aeiouyáéíóúäöüаеиоуыэюяαεηιουω")


@dataclass(frozen=True)
class Setting:
    """How a run of words is set."""

    face: str = "regular"
    scale: float = 1.0
    ink: Color | None = None
    align: str = "justify"
    """justify, left, right or center."""
    first: float = 0.0
    """Indent of the first line, in points."""
    hang: float = 0.0
    """Indent of the other lines, in points."""
    emphasis: float = 0.0
    """Share of words set in another cut or ink."""
    most_lines: int = 10_000


def _space(style: Style, setting: Setting) -> float:
    return 0.0 if style.script in UNSPACED else style.width(" ", setting.face, setting.scale)


def _hyphen_at(word: str, fitting: int) -> int:
    """Where a word may be split so that at most `fitting` letters stay, 0 if nowhere."""
    for at in range(min(fitting, len(word) - 3), 2, -1):
        if word[at - 1].lower() in _VOWELS and word[at].lower() not in _VOWELS and word[: at + 2].isalpha():
            return at
    return 0


def break_lines(style: Style, words: Sequence[str], width: float, setting: Setting) -> list[list[str]]:
    """Split words into lines of at most `width` points, hyphenating long words of alphabetic scripts."""
    lines: list[list[str]] = [[]]
    space = _space(style, setting)
    left = width - setting.first
    hyphens = style.justified and style.script in {"latin", "cyrillic", "greek"}
    for word in words:
        word = fit(style, word, width - setting.hang, setting.face, setting.scale)
        extent = style.width(word, setting.face, setting.scale)
        if extent > left and lines[-1]:
            if hyphens and left > 0.14 * width and len(word) > 6:
                at = _hyphen_at(word, int(len(word) * left / extent) - 1)
                if at:
                    lines[-1].append(word[:at] + "-")
                    word = word[at:]
                    extent = style.width(word, setting.face, setting.scale)
            lines.append([])
            left = width - setting.hang
        lines[-1].append(word)
        left -= extent + space
    return lines


def fit(style: Style, text: str, width: float, face: str = "regular", scale: float = 1.0) -> str:
    """The text, cut by letters to at most `width` points."""
    whole = style.width(text, face, scale)
    if whole > width:
        text = text[: max(1, int(len(text) * width / whole))]
        while len(text) > 1 and style.width(text, face, scale) > width:
            text = text[:-1]
    return text


def _line_start(align: str, x: float, room: float, natural: float) -> float:
    return x + {"right": room - natural, "center": (room - natural) / 2}.get(align, 0.0)


def _set_line(
    draft: Draft, words: Sequence[str], x: float, y: float, room: float, setting: Setting, stretch: bool
) -> None:
    style, scale = draft.style, setting.scale
    ink = setting.ink or style.ink
    looks = [_emphasis(draft, ink) if draft.chance(setting.emphasis) else (setting.face, ink) for _ in words]
    extents = [style.width(word, face, scale) for word, (face, _) in zip(words, looks, strict=True)]
    space = _space(style, setting)
    natural = sum(extents) + space * (len(words) - 1)
    backwards = is_right_to_left(words[0]) if words else False
    if stretch and len(words) > 1:
        space = max(0.5 * space, space + min(room - natural, 0.3 * room) / (len(words) - 1))
    at = (
        x
        if stretch
        else _line_start(
            "right" if backwards and setting.align != "center" else setting.align, x, room, natural
        )
    )
    pairs = list(zip(words, extents, looks, strict=True))
    if not (stretch or backwards or setting.emphasis) and style.script not in (
        "thai",
        "devanagari",
        "arabic",
        "hebrew",
    ):
        joined = (" " if space else "").join(words)
        draft.sheet.text(at, y, joined, style.font(setting.face, scale), ink)
        return
    for word, extent, (face, shown) in reversed(pairs) if backwards else pairs:
        draft.sheet.text(at, y, word, style.font(face, scale), shown)
        at += extent + space


def _emphasis(draft: Draft, ink: Color) -> tuple[str, Color]:
    drawn = draft.random.random()
    if drawn < 0.45:
        return "italic", ink
    if drawn < 0.8 or not draft.style.coloured:
        return "bold", ink
    return "regular", draft.style.accent


def set_words(draft: Draft, words: Sequence[str], area: Area, setting: Setting) -> float:
    """Set words into an area from its top; returns the height used. Lines that do not fit are left out."""
    pitch = draft.style.line * setting.scale
    lines = break_lines(draft.style, words, area.width, setting)
    shown = lines[: min(int(area.height / pitch + 1e-6), setting.most_lines)]
    for number, line in enumerate(shown):
        indent = setting.hang if number else setting.first
        baseline = area.y + pitch * number + 0.78 * pitch
        stretch = setting.align == "justify" and number + 1 < len(lines)
        _set_line(draft, line, area.x + indent, baseline, area.width - indent, setting, stretch)
    return pitch * len(shown)


def set_line(
    draft: Draft, text: str, area: Area, face: str = "regular", scale: float = 1.0, ink: Color | None = None,
    align: str = "left",
) -> float:  # fmt: skip
    """Set one line, cut to the area's width; returns its height, or 0 if it does not fit."""
    pitch = draft.style.line * scale
    if area.height < pitch:
        return 0.0
    text = fit(draft.style, text, area.width, face, scale)
    x = area.x + {"left": 0.0, "center": area.width / 2, "right": area.width}[align]
    draft.sheet.text(
        x, area.y + 0.78 * pitch, text, draft.style.font(face, scale), ink or draft.style.ink, align
    )
    return pitch
