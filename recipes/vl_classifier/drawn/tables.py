"""Tables of every look: full grids, three rules, stripes, bare columns; small, wide or over the page."""

from __future__ import annotations

from dataclasses import dataclass

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.sheet import Color
from recipes.vl_classifier.drawn.typeset import Setting, break_lines, fit, set_words

_LOOKS = ("grid", "grid", "booktabs", "booktabs", "booktabs", "header-rule", "lines", "lines", "stripes",
          "bare", "bare", "bare", "frame", "columns", "outer")  # fmt: skip
_RULED = {"grid", "booktabs", "lines", "frame", "columns", "outer"}
_FILLERS = ("integer", "integer", "decimal", "decimal", "percent", "money", "date", "code", "yes", "word",
            "word", "phrase", "time", "range", "signed")  # fmt: skip
_LEAST_ROWS = 3
_TEXTUAL = {"word", "phrase", "code", "yes", "text", "label"}


@dataclass(frozen=True)
class _Look:
    name: str
    scale: float
    pad: float
    """Free space on each side of a cell, in points."""
    pitch: float
    """Height of a one-line row, in points."""
    stroke: float
    ink: Color
    """Of the rules."""
    shade: Color | None
    """Behind the header."""
    bold_header: bool
    text: Color


def _new_look(draft: Draft, name: str | None) -> _Look:
    random, style = draft.random, draft.style
    name = name or random.choice(_LOOKS)
    scale = random.uniform(0.6, 0.75) if random.random() < 0.15 else random.uniform(0.75, 1.0)
    grey = random.choice([0, 0, 0, 90, 150, 190, 215])
    ink = style.accent if style.coloured and random.random() < 0.25 else (grey, grey, grey)
    faint = random.randint(110, 175)
    pale: Color = (
        tuple(255 - (255 - part) // 5 for part in style.accent) if style.coloured else (225, 225, 225)
    )  # type: ignore[assignment]
    shade = (
        random.choice([pale, style.accent]) if random.random() < (0.3 if name != "bare" else 0.08) else None
    )
    return _Look(
        name=name, scale=scale,
        pad=style.size * random.uniform(0.3, 0.9) + (style.size * 0.5 if name == "bare" else 0),
        pitch=style.size * scale * random.uniform(1.2, 1.95),
        stroke=random.choice([0.25, 0.4, 0.5, 0.8, 1.2]),
        ink=ink, shade=shade, bold_header=random.random() < 0.7,
        text=(faint, faint, faint) if random.random() < 0.1 else style.ink,
    )  # fmt: skip


def _cell(draft: Draft, filler: str, size: float) -> str:
    random = draft.random
    value = random.lognormvariate(size, 1.2)
    match filler:
        case "integer":
            return f"{int(value * 30):,}".replace(",", random.choice([",", ","]))
        case "decimal":
            return f"{value:.{2 if size < 3 else 1}f}"
        case "signed":
            return f"{random.choice('+−')}{value:.2f}"
        case "percent":
            return f"{random.random() * 100:.1f}%"
        case "money":
            return f"{value * 100:,.2f}"
        case "date":
            return f"{random.randint(1990, 2026)}-{random.randint(1, 12):02d}-{random.randint(1, 28):02d}"
        case "time":
            return f"{random.randint(5, 23):02d}:{random.randint(0, 59):02d}"
        case "code":
            return f"{random.choice('ABCDEFX')}{random.choice('KLMNT')}-{random.randint(10, 9999)}"
        case "yes":
            return random.choice(["yes", "no", "yes", "n/a", "x", "–"])
        case "range":
            return f"{int(value)}–{int(value * 2) + 3}"
        case "text":
            return " ".join(draft.prose.words(random.randint(3, 16)))
        case "phrase":
            return draft.prose.phrase(2, 4)
    return draft.prose.label()


def _content(draft: Draft, columns: int, rows: int, wordy: bool) -> tuple[list[str], list[list[str]]]:
    """The filler of each column, and the cells, header row first."""
    random = draft.random
    fillers = [random.choice(["label", "label", "phrase", "code", "integer"])]
    alike = random.choice(_FILLERS) if random.random() < 0.4 else None
    fillers += [alike or random.choice(_FILLERS) for _ in range(columns - 1)]
    if wordy:
        fillers[-1] = "text"
        if columns > 3 and random.random() < 0.4:
            fillers[1] = "text"
    sizes = [random.uniform(0, 5) for _ in fillers]
    header = [draft.prose.label(12) for _ in fillers]
    if alike and random.random() < 0.3:
        header[1:] = [str(random.choice([2000, 1, 10]) + number) for number in range(columns - 1)]
    body = [
        [_cell(draft, filler, size) for filler, size in zip(fillers, sizes, strict=True)] for _ in range(rows)
    ]
    if random.random() < 0.25:
        body = [
            [
                text if random.random() > 0.15 or not at else random.choice(["", "–"])
                for at, text in enumerate(row)
            ]
            for row in body
        ]
    return fillers, [header, *body]


def _column_widths(
    draft: Draft, cells: list[list[str]], fillers: list[str], look: _Look, room: float, stretch: bool
) -> list[float]:
    style = draft.style
    faces = ["bold" if look.bold_header else "regular"] + ["regular"] * (len(cells) - 1)
    natural = []
    for at, filler in enumerate(fillers):
        most = style.size * (14 if filler == "text" else 9)
        extents = [style.width(row[at], face, look.scale) for row, face in zip(cells, faces, strict=True)]
        natural.append(min(max(extents), most) + 2 * look.pad)
    whole = sum(natural)
    if whole > room or stretch:
        return [width * room / whole for width in natural]
    return natural


def table(draft: Draft, area: Area, look_name: str | None = None) -> float:
    """A table at the top of an area, as tall as it lets it be; marks itself and returns its height."""
    random = draft.random
    look = _new_look(draft, look_name)
    most = int(area.height / look.pitch) - 1
    if most < _LEAST_ROWS:
        return 0.0
    wordy = random.random() < 0.25 and area.width > draft.style.size * 24
    fitting = max(2, int(area.width / (draft.style.size * look.scale * 5.5)))
    columns = min(fitting, random.randint(2 if wordy else 3, random.choice([4, 5, 7, 10])))
    fillers, cells = _content(draft, columns, most, wordy)
    widths = _column_widths(draft, cells, fillers, look, area.width, random.random() < 0.55)
    left = area.x + (area.width - sum(widths)) * random.choice([0.0, 0.5, 0.5])
    top = area.y + look.stroke
    heights = _draw_rows(
        draft, look, fillers, cells, widths, Area(left, top, sum(widths), area.height - 2 * look.stroke)
    )
    _draw_rules(draft, look, widths, heights, left, top)
    draft.sheet.mark(
        "table-ruled" if look.name in _RULED else "table-borderless", left, top, sum(widths), sum(heights)
    )
    return sum(heights) + 2 * look.stroke


def _draw_rows(
    draft: Draft, look: _Look, fillers: list[str], cells: list[list[str]], widths: list[float], area: Area
) -> list[float]:
    """Draw the rows that fit; returns their heights."""
    heights: list[float] = []
    centred = draft.chance(0.25)
    # Centres the first line in its row whatever the leading of running text is.
    down = look.pitch / 2 + draft.style.size * look.scale * 0.34 - 0.78 * draft.style.line * look.scale
    for number, row in enumerate(cells):
        height = _row_height(draft, look, fillers, row, widths)
        if sum(heights) + height > area.height:
            break
        y = area.y + sum(heights)
        _row_ground(draft, look, number, area.x, y, sum(widths), height)
        x = area.x
        for filler, text, width in zip(fillers, row, widths, strict=True):
            box = Area(x + look.pad, y + down, width - 2 * look.pad, height)
            _draw_cell(draft, look, filler, text, box, number == 0, centred)
            x += width
        heights.append(height)
    return heights


def _row_height(draft: Draft, look: _Look, fillers: list[str], row: list[str], widths: list[float]) -> float:
    lines = 1
    for filler, text, width in zip(fillers, row, widths, strict=True):
        if filler == "text":
            broken = break_lines(draft.style, text.split(), width - 2 * look.pad, Setting(scale=look.scale))
            lines = max(lines, len(broken))
    return look.pitch + (lines - 1) * draft.style.line * look.scale


def _row_ground(
    draft: Draft, look: _Look, number: int, x: float, y: float, width: float, height: float
) -> None:
    if number == 0 and look.shade:
        draft.sheet.rect(x, y, width, height, fill=look.shade)
    elif look.name == "stripes" and number % 2:
        draft.sheet.rect(
            x, y, width, height, fill=(238, 238, 238) if not draft.style.coloured else (230, 238, 246)
        )


def _draw_cell(
    draft: Draft, look: _Look, filler: str, text: str, box: Area, header: bool, centred: bool
) -> None:
    style = draft.style
    face = "bold" if header and look.bold_header else "regular"
    dark = header and look.shade == style.accent and sum(style.accent) < 380
    ink = (255, 255, 255) if dark else look.text
    if filler == "text" and not header:
        set_words(
            draft,
            text.split(),
            Area(box.x, box.y, box.width, 1e6),
            Setting(align="left", scale=look.scale, ink=ink),
        )
        return
    align = "center" if centred else "left" if filler in _TEXTUAL else "right"
    text = fit(style, text, box.width, face, look.scale)
    x = box.x + {"left": 0.0, "center": box.width / 2, "right": box.width}[align]
    y = box.y + 0.78 * style.line * look.scale
    draft.sheet.text(x, y, text, style.font(face, look.scale), ink, align)


def _draw_rules(
    draft: Draft, look: _Look, widths: list[float], heights: list[float], left: float, top: float
) -> None:
    sheet, right, low, name = draft.sheet, left + sum(widths), top + sum(heights), look.name
    strong = look.stroke * (1.8 if name == "booktabs" else 1.0)
    rows = [top + sum(heights[:n]) for n in range(len(heights) + 1)]
    columns = [left + sum(widths[:n]) for n in range(len(widths) + 1)]
    across = {"grid": rows, "lines": rows, "booktabs": [rows[0], rows[1], rows[-1]], "header-rule": rows[1:2],
              "frame": [*rows[:2], rows[-1]], "columns": [*rows[:2], rows[-1]],
              "outer": [rows[0], rows[-1]]}  # fmt: skip
    down = {"grid": columns, "columns": columns, "frame": [left, right], "outer": [left, right]}
    for y in across.get(name, []):
        sheet.line(left, y, right, y, look.ink, strong if y in (rows[0], rows[-1]) else look.stroke)
    for x in down.get(name, []):
        sheet.line(x, top, x, low, look.ink, look.stroke)
