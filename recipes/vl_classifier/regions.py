"""Where a PDF page holds what OCR loses, judged from its objects."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy import ndimage

from recipes.vl_classifier.objects import LONGEST_SIDE_PT, PageObjects, Place, is_inside
from recipes.vl_classifier.rule import Box, label_of
from recipes.vl_classifier.tables import borderless_tables, ruled_tables

_CELL_PT = 3.0
_REACH_CELLS = 3  # drawings nearer than this are one
_LEAST_IMAGE_SHARE = 0.004  # icons and bullets are smaller
_BACKGROUND_SHARE = 0.8
_LEAST_SIDE_PT = 25.0
_LEAST_SHAPES, _LEAST_SEGMENTS, _LEAST_FRAMES = 6, 40, 3


class Judgement(NamedTuple):
    """What the objects of a page say."""

    label: str
    boxes: tuple[Box, ...]
    doubts: tuple[str, ...]
    """What keeps the objects alone from being trusted."""


def judge(page: PageObjects) -> Judgement:
    """Label one page by its objects."""
    borderless, mono = borderless_tables(page)
    kinds = {
        "table-ruled": ruled_tables(page),
        "table-borderless": borderless,
        "diagram": _drawn(page) + _shaded(page),
        "figure": _pictures(page),
        "form": _forms(page),
    }
    boxes = tuple(_box(kind, place, page) for kind, places in kinds.items() for place in places)
    doubts = ["mono-table"] if mono else []
    if any(_share(image, page) > _BACKGROUND_SHARE for image in page.images):
        doubts.append("full-page-image")
    return Judgement(label_of(boxes), boxes, tuple(doubts))


def _share(place: Place, page: PageObjects) -> float:
    return (place[2] - place[0]) * (place[3] - place[1]) / (page.width_pt * page.height_pt)


def _box(kind: str, place: Place, page: PageObjects) -> Box:
    shares = (
        place[0] / page.width_pt,
        place[1] / page.height_pt,
        place[2] / page.width_pt,
        place[3] / page.height_pt,
    )
    return (kind, *(round(min(max(share, 0.0), 1.0), 4) for share in shares))


def _pictures(page: PageObjects) -> list[Place]:
    """Images, neighbours joined; a background under text is none."""
    n_letters = sum(len(word.text) for word in page.words)
    images = [image for image in page.images
              if n_letters < 150 or _share(image, page) < _BACKGROUND_SHARE]  # fmt: skip
    groups = _clusters(images)
    return [place for place, _ in groups if _share(place, page) >= _LEAST_IMAGE_SHARE]


def _drawn(page: PageObjects) -> list[Place]:
    """Clusters of paths that are more than rules and frames of text."""
    small = [item for item in page.drawings if item[1] > _LEAST_SEGMENTS or not _is_text_frame(item[0], page)]
    frames = [frame for frame in page.frames if not _is_text_frame(frame, page)]
    marks = [place for place, _ in small] + frames + page.rules
    n_small = len(small)
    found = []
    for place, members in _clusters(marks):
        shapes = [small[member] for member in members if member < n_small]
        n_frames = sum(n_small <= member < n_small + len(frames) for member in members)
        sides = place[2] - place[0], place[3] - place[1]
        is_large = min(sides) >= _LEAST_SIDE_PT
        if is_large and not _holds_code(place, page) and _is_drawing(shapes, n_frames, len(members)):
            found.append(place)
    return found


def _is_text_frame(frame: Place, page: PageObjects) -> bool:
    share = _share(frame, page)
    return share >= _BACKGROUND_SHARE or (share >= _LEAST_IMAGE_SHARE and _holds_code(frame, page))


def _holds_code(place: Place, page: PageObjects) -> bool:
    """Whether monospaced words fill a place, such as a frame round code or the shade of each of its lines."""
    inside = [word for word in page.words if is_inside(word.place, place)]
    return len(inside) >= 5 and sum(word.is_mono for word in inside) > 0.4 * len(inside)


def _shaded(page: PageObjects) -> list[Place]:
    """Clusters of filled rectangles of many widths, such as bars or boxes, but no shaded lines of code."""
    shades = [shade for shade in page.shades if not _is_text_frame(shade, page)]
    found = []
    for place, members in _clusters(shades):
        lefts = {round(shades[member][0] / 4) for member in members}
        widths = {round((shades[member][2] - shades[member][0]) / 4) for member in members}
        is_varied = len(members) >= _LEAST_SHAPES - 1 and len(lefts) >= 3 and len(widths) >= 2
        if is_varied and not _holds_code(place, page):
            found.append(place)
    return found


def _is_drawing(shapes: list[tuple[Place, int]], n_frames: int, n_marks: int) -> bool:
    large = [item for item in shapes if max(item[0][2] - item[0][0], item[0][3] - item[0][1]) > 3]
    if len(large) >= _LEAST_SHAPES or (len(large) >= 2 and sum(size for _, size in large) >= _LEAST_SEGMENTS):
        return True
    is_plot = any(size > 3 * _LEAST_SEGMENTS for _, size in large)
    return is_plot or (n_frames >= _LEAST_FRAMES and bool(large) and n_marks - n_frames >= 2)


def _forms(page: PageObjects) -> list[Place]:
    return [place for place, members in _clusters(page.fields, reach=12) if len(members) >= 3]


def _clusters(places: list[Place], reach: int = _REACH_CELLS) -> list[tuple[Place, list[int]]]:
    """Groups of places that touch or nearly do: what encloses each, and the indices of its members."""
    if not places:
        return []
    size = round(LONGEST_SIDE_PT / _CELL_PT) + 2
    cells = np.zeros((size, size), dtype=bool)
    for left, top, right, bottom in places:
        rows = slice(max(int(top / _CELL_PT) - reach // 2, 0), int(bottom / _CELL_PT) + 1 + reach // 2)
        cells[rows, max(int(left / _CELL_PT) - reach // 2, 0) : int(right / _CELL_PT) + 1 + reach // 2] = True
    groups, _ = ndimage.label(cells)
    members: dict[int, list[int]] = {}
    for index, (left, top, _, _) in enumerate(places):
        key = int(groups[min(int(top / _CELL_PT), size - 1), min(int(left / _CELL_PT), size - 1)])
        members.setdefault(key, []).append(index)
    found = []
    for indices in members.values():
        lefts, tops, rights, bottoms = zip(*(places[index] for index in indices), strict=True)
        found.append(((min(lefts), min(tops), max(rights), max(bottoms)), indices))
    return found
