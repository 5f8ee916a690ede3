"""Whole areas of listed text: contents, index, bibliography, dictionary, log."""

from __future__ import annotations

from recipes.vl_classifier.drawn.draft import Area, Draft
from recipes.vl_classifier.drawn.typeset import Setting, fit, set_line, set_words


def contents(draft: Draft, area: Area) -> float:
    """A table of contents with page numbers at the right, with or without dot leaders."""
    style, random, used, page = draft.style, draft.random, 0.0, random_start(draft)
    draft.note("contents")
    dots, bold_chapters, numbered = (
        random.choice([" .", ".", "", " . "]),
        random.random() < 0.7,
        random.random() < 0.7,
    )
    numbers, pitch = [0, 0, 0], style.line * random.uniform(1.0, 1.5)
    deepest = random.randint(1, 3)
    while area.height - used > pitch:
        level = 0 if numbers[0] == 0 else random.choices(range(deepest), [2, 5, 3][:deepest])[0]
        numbers = [*numbers[:level], numbers[level] + 1, *[0] * (2 - level)]
        mark = ".".join(str(n) for n in numbers[: level + 1]) + "  " if numbered else ""
        face = "bold" if level == 0 and bold_chapters else "regular"
        left = area.x + level * style.size * 1.6
        _contents_line(
            draft,
            mark + draft.prose.phrase(1, 6),
            str(page),
            left,
            area.right,
            area.y + used + pitch,
            face,
            dots,
        )
        used += pitch * (1.3 if level == 0 and bold_chapters and random.random() < 0.3 else 1.0)
        page += random.randint(0, 6)
    return used


def random_start(draft: Draft) -> int:
    """A page number to start from."""
    return draft.random.choice([1, 1, 3, 7, 40, 180])


def _contents_line(
    draft: Draft, title: str, page: str, left: float, right: float, y: float, face: str, dots: str
) -> None:
    style = draft.style
    end = style.width(page, face)
    title = fit(style, title, right - left - end - style.size * 3, face)
    draft.sheet.text(left, y, title, style.font(face), style.ink)
    draft.sheet.text(right, y, page, style.font(face), style.ink, "right")
    room = right - end - left - style.width(title, face) - style.size
    if dots and face != "bold" and style.width(dots) > 0:
        leader = dots * int(room / style.width(dots))
        draft.sheet.text(right - end - style.size * 0.4, y, leader, style.font(), style.ink, "right")


def index(draft: Draft, area: Area) -> float:
    """Short entries with page numbers, under letters."""
    style, random, used = draft.style, draft.random, 0.0
    draft.note("index")
    letter = random.randrange(20)
    while area.height - used > 3 * style.line:
        if random.random() < 0.06:
            letter += 1
            used += style.line * 0.6
            used += set_line(
                draft, chr(65 + letter % 26), area.below(used), "heading", 1.15, style.heading_ink
            )
            continue
        pages = ", ".join(str(random.randint(1, 400)) for _ in range(random.choice([1, 1, 2, 4])))
        inner = style.size * 1.2 if random.random() < 0.25 else 0.0
        item = Area(area.x + inner, area.y + used, area.width - inner, area.height - used)
        entry = f"{draft.prose.label(24).lower()}, {pages}"
        used += (
            set_words(draft, entry.split(), item, Setting(align="left", scale=0.9, hang=style.size * 1.5))
            or 1e9
        )
    return min(used, area.height)


def bibliography(draft: Draft, area: Area) -> float:
    """References with hanging indents or bracketed numbers."""
    style, random, used = draft.style, draft.random, 0.0
    draft.note("references")
    numbered, number = random.random() < 0.6, random.choice([1, 1, 12, 33])
    hang = style.width("[100] ") if numbered else style.size * 1.6
    for _ in range(random.randint(6, 60)):
        if area.height - used < 3 * style.line:
            break
        item = Area(area.x + hang, area.y + used, area.width - hang, area.height - used)
        authors = ", ".join(
            f"{draft.prose.label(10)} {random.choice('ABCDEGHJKLMNPRST')}."
            for _ in range(random.randint(1, 4))
        )
        journal = draft.prose.phrase(2, 5)
        pages = f"{random.randint(1, 80)}:{random.randint(1, 900)}–{random.randint(901, 1800)}"
        place = f"{journal}, {pages}, {random.randint(1950, 2024)}."
        entry = f"{authors} {draft.prose.phrase(4, 12)}. {place}"
        first = 0.0 if numbered else -hang
        height = set_words(draft, entry.split(), item, Setting(align="left", first=first, scale=0.95))
        if numbered:
            draft.sheet.text(
                item.x - hang, item.y + 0.74 * style.line, f"[{number}]", style.font(scale=0.95), style.ink
            )
        number += 1
        used += height + style.gap * 0.5
    return used


def dictionary(draft: Draft, area: Area) -> float:
    """Headwords with explanations run in."""
    style, random, used = draft.style, draft.random, 0.0
    draft.note("paragraphs")
    hang = style.size * random.choice([0.0, 1.0, 1.5])
    while area.height - used > 2 * style.line:
        item = area.below(used)
        word = draft.prose.label(16).lower()
        draft.sheet.text(item.x, item.y + 0.78 * style.line, word, style.font("bold"), style.ink)
        setting = Setting(first=style.width(word + "  ", "bold"), hang=hang, emphasis=0.04)
        used += set_words(draft, draft.prose.words(random.randint(8, 45)), item, setting) + style.gap * 0.2
    return used


def log(draft: Draft, area: Area) -> float:
    """Lines of a log or of a terminal session."""
    style, random, used = draft.style, draft.random, 0.0
    draft.note("code")
    scale, second = random.uniform(0.7, 0.95), random.randint(0, 80_000)
    stamped = random.random() < 0.5
    while area.height - used > 2 * style.line:
        second += random.randint(0, 90)
        stamp = (
            f"{second // 3600:02d}:{second // 60 % 60:02d}:{second % 60:02d} "
            if stamped
            else random.choice(["$ ", "", "  "])
        )
        line = stamp + draft.prose.phrase(3, 14).lower()
        used += set_line(draft, line, area.below(used), "mono", scale)
    return used
