"""Displayed formulas, set roughly: fractions, sums, integrals, matrices, aligned equations."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft

_NAMES = (
    "x",
    "y",
    "z",
    "a",
    "b",
    "k",
    "n",
    "f",
    "g",
    "u",
    "v",
    "α",
    "β",
    "λ",
    "μ",
    "σ",
    "θ",
    "φ",
    "A",
    "B",
    "P",
    "E",
)
_SIGNS = ("=", "+", "−", "≤", "≈", "·", "∈", "→", "<")


class _Pen:
    """Writes atoms from left to right about a middle line."""

    def __init__(self, draft: Draft, x: float, y: float, scale: float) -> None:
        self.draft, self.x, self.y, self.scale = draft, x, y, scale

    def write(self, text: str, face: str = "italic", scale: float = 1.0, rise: float = 0.0) -> None:
        style = self.draft.style
        size = self.scale * scale
        baseline = self.y + style.size * (0.3 * self.scale - rise)
        self.draft.sheet.text(self.x, baseline, text, style.font(face, size), style.ink)
        self.x += style.width(text, face, size) + style.size * 0.08

    def atom(self) -> None:
        self.write(self.draft.random.choice(_NAMES))
        if self.draft.chance(0.4):
            self.write(
                self.draft.random.choice("012ijkn"), scale=0.7, rise=self.draft.random.choice([0.45, -0.2])
            )

    def sign(self) -> None:
        self.x += self.draft.style.size * 0.25
        self.write(self.draft.random.choice(_SIGNS), "regular")
        self.x += self.draft.style.size * 0.25

    def fraction(self) -> None:
        style, x = self.draft.style, self.x
        ends = []
        for rise in (0.62, -0.72):
            self.x = x
            inner = _Pen(self.draft, x, self.y - rise * style.size * self.scale, self.scale * 0.92)
            inner.run(self.draft.random.randint(1, 2))
            ends.append(inner.x)
        self.x = max(ends)
        self.draft.sheet.line(x - 1, self.y, self.x + 1, self.y, style.ink, 0.5)
        self.x += style.size * 0.3

    def big(self) -> None:
        sign = self.draft.random.choice("∑∫∏")
        x = self.x
        self.write(sign, "regular", 1.7, rise=-0.25)
        after, self.x = self.x, x
        self.write("i=1", scale=0.6, rise=-1.15)
        self.x = x + self.draft.style.size * 0.2
        self.write("n", scale=0.6, rise=1.15)
        self.x = max(after, self.x) + self.draft.style.size * 0.2

    def matrix(self) -> None:
        style, random = self.draft.style, self.draft.random
        rows, columns, cell = random.randint(2, 3), random.randint(2, 4), style.size * 1.9 * self.scale
        top, left = self.y - rows * cell * 0.36, self.x + style.size * 0.5
        for row in range(rows):
            for column in range(columns):
                pen = _Pen(self.draft, left + column * cell, top + (row + 0.5) * cell * 0.72, self.scale)
                pen.write(random.choice([*"01", *_NAMES]))
        right, low = left + columns * cell - style.size * 0.4, top + rows * cell * 0.72
        for x, out in ((self.x, 3.0), (right + style.size * 0.3, -3.0)):
            self.draft.sheet.polyline([(x + out, top), (x, top), (x, low), (x + out, low)], style.ink, 0.6)
        self.x = right + style.size * 0.7

    def run(self, count: int) -> None:
        for number in range(count):
            if number:
                self.sign()
            self.atom()


def formula(draft: Draft, area: Area) -> float:
    """One to four displayed lines, centred or indented, at times numbered."""
    style, random = draft.style, draft.random
    lines, pitch, matrices = (
        random.choice([1, 1, 1, 2, 3, 4]),
        style.size * random.uniform(2.9, 3.6),
        random.random() < 0.25,
    )
    pitch *= 1.5 if matrices else 1.0
    if area.height < lines * pitch or area.width < 14 * style.size:
        return 0.0
    draft.note("formula")
    left = area.x + area.width * random.uniform(0.06, 0.3)
    for line in range(lines):
        pen = _Pen(draft, left, area.y + pitch * (line + 0.5), random.uniform(1.0, 1.12))
        while pen.x < area.x + area.width * random.uniform(0.35, 0.7):
            random.choices([pen.atom, pen.fraction, pen.big, pen.matrix], [5, 3, 2, 2 if matrices else 0])[
                0
            ]()
            pen.sign()
        pen.atom()
        if random.random() < 0.4:
            number = f"({random.randint(1, 9)}.{random.randint(1, 30)})"
            draft.sheet.text(area.right, pen.y + style.size * 0.3, number, style.font(), style.ink, "right")
    return lines * pitch
