"""A page being drawn: its sheet, its typography, its text and its randomness, handed to every element."""

from __future__ import annotations

import random as randomness
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import skia

from recipes.vl_classifier.drawn import fonts
from recipes.vl_classifier.drawn.shaping import needs_shaping, shaped_width
from recipes.vl_classifier.drawn.sheet import WHITE, Color, Sheet
from recipes.vl_classifier.drawn.texts import SCRIPT_OF, Prose, corpus

ACCENTS: tuple[Color, ...] = (
    (31, 73, 125), (0, 90, 156), (192, 0, 0), (0, 102, 51), (102, 0, 102), (215, 7, 81), (198, 89, 17),
    (0, 112, 120), (64, 64, 64), (120, 60, 20), (20, 120, 200), (85, 107, 47), (0, 0, 160), (139, 0, 0),
)  # fmt: skip
# Scripts of pages, by weight: most real pages are Latin.
_SCRIPT_WEIGHTS = {
    "latin": 74, "cyrillic": 6, "greek": 2.5, "japanese": 5, "chinese": 5, "korean": 3, "arabic": 1.5,
    "hebrew": 1, "devanagari": 1, "thai": 1,
}  # fmt: skip


@dataclass(frozen=True)
class Area:
    """A rectangle of the page, in points."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> float:
        """The right edge."""
        return self.x + self.width

    @property
    def bottom(self) -> float:
        """The lower edge."""
        return self.y + self.height

    def inset(self, across: float, down: float) -> Area:
        """The rectangle inside with margins left free on all sides."""
        return Area(self.x + across, self.y + down, self.width - 2 * across, self.height - 2 * down)

    def below(self, used: float) -> Area:
        """What is left under the first `used` points."""
        return Area(self.x, self.y + used, self.width, self.height - used)


@dataclass
class Style:
    """The typography of one document."""

    language: str
    script: str
    body: fonts.Family
    heading: fonts.Family
    mono: fonts.Family
    size: float
    leading: float
    """Line distance as a multiple of the size."""
    ink: Color
    heading_ink: Color
    accent: Color
    background: Color
    coloured: bool
    justified: bool
    indent: float
    """Indent of a paragraph's first line, in points."""
    gap: float
    """Space between blocks, in points."""
    bold_headings: bool
    rule: float
    """Usual stroke width of rules, in points."""
    _fonts: dict[tuple[str, float], skia.Font] = field(default_factory=dict)
    _widths: dict[tuple[str, str, float], float] = field(default_factory=dict)

    @property
    def line(self) -> float:
        """Line distance of the body, in points."""
        return self.size * self.leading

    def font(self, face: str = "regular", scale: float = 1.0) -> skia.Font:
        """A cut at a multiple of the body size: regular, bold, italic, mono, mono-bold or heading."""
        scale = round(scale, 2)
        if (face, scale) not in self._fonts:
            family = {"mono": self.mono, "mono-bold": self.mono, "heading": self.heading}.get(face, self.body)
            bold = face in {"bold", "mono-bold"} or (face == "heading" and self.bold_headings)
            font = skia.Font(family.cut(bold, face == "italic"), self.size * scale)
            font.setSubpixel(True)
            font.setEdging(skia.Font.Edging.kAntiAlias)
            font.setHinting(skia.FontHinting.kNone)
            self._fonts[face, scale] = font
        return self._fonts[face, scale]

    def width(self, text: str, face: str = "regular", scale: float = 1.0) -> float:
        """Advance of a text, in points."""
        key = (text, face, round(scale, 2))
        if key not in self._widths:
            font = self.font(face, scale)
            self._widths[key] = shaped_width(text, font) if needs_shaping(text) else font.measureText(text)
        return self._widths[key]


@dataclass
class Draft:
    """Everything an element needs in order to draw itself."""

    sheet: Sheet
    style: Style
    prose: Prose
    random: randomness.Random
    pictures: Path | None = None
    """Folder of real pictures in one folder a kind, if there is one."""
    kinds: list[str] = field(default_factory=list)
    """What was drawn, by the names of `rule`, in the order drawn."""

    def chance(self, share: float) -> bool:
        """True in this share of cases."""
        return self.random.random() < share

    def note(self, kind: str) -> None:
        """Remember a LOW kind that was drawn."""
        if kind not in self.kinds:
            self.kinds.append(kind)


def _pick(
    random: randomness.Random, known: dict[str, fonts.Family], names: tuple[str, ...], letters: str
) -> fonts.Family:
    fitting = [known[name] for name in names if name in known and known[name].covers(letters)]
    return random.choice(fitting or [family for family in known.values() if family.covers(letters)])


@lru_cache(maxsize=1)
def _languages(fonts_folder: Path) -> dict[str, list[str]]:
    """Languages by script that there are both text and letters for."""
    known, texts = fonts.families(fonts_folder).values(), corpus()
    found = {
        script: [
            name for name in texts.languages(script) if any(f.covers(texts.letters(name)) for f in known)
        ]
        for script in _SCRIPT_WEIGHTS
    }
    return {script: names for script, names in found.items() if names}


def _pick_language(random: randomness.Random, fonts_folder: Path) -> str:
    usable = _languages(fonts_folder)
    script = random.choices(list(usable), [_SCRIPT_WEIGHTS[name] for name in usable])[0]
    if script == "latin" and random.random() < 0.5:
        return "en"
    return random.choice(usable[script])


def _body_names(random: randomness.Random, script: str) -> tuple[str, ...]:
    if script in fonts.OF_SCRIPT:
        return fonts.OF_SCRIPT[script]
    drawn = random.random()
    if drawn < 0.22:
        return fonts.SERIF[:2]
    if drawn < 0.62:
        return fonts.SERIF
    if drawn < 0.93:
        return fonts.SANS
    return fonts.TYPEWRITER if drawn < 0.985 else fonts.HAND


def _darkened(color: Color, share: float) -> Color:
    return tuple(round(part * share) for part in color)  # type: ignore[return-value]


def _background(random: randomness.Random, coloured: bool) -> Color:
    drawn = random.random()
    if drawn < 0.86:
        return WHITE
    if drawn < 0.93 or not coloured:
        shade = random.randint(232, 252)
        return (shade, shade, shade)
    return random.choice(
        [(253, 246, 227), (250, 243, 230), (240, 246, 252), (245, 250, 240), (255, 250, 225)]
    )


def new_style(random: randomness.Random, fonts_folder: Path, size: float) -> Style:
    """Draw the typography of a document whose body is `size` points."""
    known = fonts.families(fonts_folder)
    language = _pick_language(random, fonts_folder)
    script, letters = SCRIPT_OF[language], corpus().letters(language)
    body = _pick(random, known, _body_names(random, script), letters)
    other = _pick(random, known, fonts.OF_SCRIPT.get(script, fonts.SANS), letters)
    heading = body if random.random() < 0.6 else other
    coloured = random.random() < 0.42
    accent = (
        random.choice(ACCENTS)
        if coloured
        else _darkened((255, 255, 255), random.choice([0.0, 0.0, 0.2, 0.4]))
    )
    ink = _darkened((255, 255, 255), random.choice([0.0, 0.0, 0.0, 0.07, 0.13, 0.2, 0.27]))
    spaced = random.random() < 0.6
    return Style(
        language=language, script=script, body=body, heading=heading, 
        mono=_pick(random, known, fonts.MONO, "Aa0"), size=size,
        leading=random.uniform(1.12, 1.32) if random.random() < 0.8 else random.uniform(1.3, 1.8), ink=ink,
        heading_ink=accent if random.random() < 0.6 else ink, accent=accent,
        background=_background(random, coloured), coloured=coloured, justified=random.random() < 0.6,
        indent=0.0 if spaced else size * random.uniform(1.0, 2.2),
        gap=size * (random.uniform(0.5, 1.1) if spaced else random.uniform(0.0, 0.2)),
        bold_headings=random.random() < 0.85, rule=random.choice([0.25, 0.4, 0.5, 0.5, 0.75, 1.0]),
    )  # fmt: skip
