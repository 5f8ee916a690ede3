"""Tables on a page: grids of rules, three or more equal rules, columns of words that line up."""

from __future__ import annotations

from collections.abc import Iterator

from recipes.vl_classifier.objects import THIN_PT, PageObjects, Place
from recipes.vl_classifier.rows import Cell, aligned_runs, enclosing, text_rows

_TOUCH_PT = 4.0
_LEAST_RULE_PT, _LEAST_EQUAL_RULE_PT = 8.0, 60.0
_MARGIN_SHARE = 0.1  # of the page's height: where the rules of running heads and feet are


def ruled_tables(page: PageObjects) -> list[Place]:
    """Grids, and text in columns between rules of equal length."""
    level, upright = _joined_rules(page)
    grids = list(_grids(level, upright, page))
    free = [rule for rule in level if not any(_overlaps(rule, grid, 2.0) for grid in grids)]
    return grids + list(_between_equal_rules(free, page))


def borderless_tables(page: PageObjects) -> tuple[list[Place], list[Place]]:
    """Places where words line up as a table: in a proportional font, and numbers in a monospaced one."""
    runs = aligned_runs(page)
    mono = [run.place for run in runs if run.is_mono and run.is_numeric]
    return [run.place for run in runs if not run.is_mono], mono


def _joined_rules(page: PageObjects) -> tuple[list[Place], list[Place]]:
    """All level and all upright rules, pieces on one line joined; frames count as four."""
    rules = list(page.rules)
    for left, top, right, bottom in page.frames:
        rules += [(left, top, right, top), (left, bottom, right, bottom)]
        rules += [(left, top, left, bottom), (right, top, right, bottom)]
    level = [rule for rule in rules if rule[2] - rule[0] >= max(THIN_PT, rule[3] - rule[1])]
    upright = [_turned(rule) for rule in rules if rule[3] - rule[1] > max(THIN_PT, rule[2] - rule[0])]
    return _joined(level), [_turned(rule) for rule in _joined(upright)]


def _turned(place: Place) -> Place:
    return place[1], place[0], place[3], place[2]


def _joined(level: list[Place]) -> list[Place]:
    joined: list[Place] = []
    for rule in sorted(level, key=lambda rule: (round((rule[1] + rule[3]) / 3), rule[0])):
        last = joined[-1] if joined else None
        if last and abs(last[1] - rule[1]) < 2.5 and rule[0] - last[2] < 6:
            joined[-1] = enclosing([last, rule])
        else:
            joined.append(rule)
    return [rule for rule in joined if rule[2] - rule[0] >= _LEAST_RULE_PT]


def _overlaps(one: Place, other: Place, margin: float) -> bool:
    return (one[0] < other[2] + margin and other[0] < one[2] + margin
            and one[1] < other[3] + margin and other[1] < one[3] + margin)  # fmt: skip


def _grids(level: list[Place], upright: list[Place], page: PageObjects) -> Iterator[Place]:
    """Rules that cross so as to make two columns and two rows of cells or more."""
    for group in _touching(level[:400] + upright[:400]):
        group_level = [rule for rule in group if rule[2] - rule[0] >= rule[3] - rule[1]]
        group_upright = [rule for rule in group if rule[2] - rule[0] < rule[3] - rule[1]]
        n_levels = len({round(rule[1] / 4) for rule in group_level})
        n_uprights = len({round(rule[0] / 4) for rule in group_upright})
        place = enclosing(group)
        n_rows = len([row for row in text_rows(page.words) if _overlaps(row[0].place, place, 0.0)])
        if min(n_levels, n_uprights) >= 2 and n_levels + n_uprights >= 5 and n_rows >= 2:
            yield place


def _touching(rules: list[Place]) -> list[list[Place]]:
    groups: list[list[Place]] = []
    for rule in rules:
        near = [group for group in groups if any(_overlaps(rule, other, _TOUCH_PT) for other in group)]
        groups = [group for group in groups if all(group is not other for other in near)]
        groups.append([rule, *(other for group in near for other in group)])
    return [group for group in groups if len(group) >= 4]


def _between_equal_rules(level: list[Place], page: PageObjects) -> Iterator[Place]:
    rows = text_rows(page.words)
    inner = [
        rule for rule in level if rule[2] - rule[0] >= _LEAST_EQUAL_RULE_PT and not _is_margin(rule, page)
    ]
    while inner:
        first = inner[0]
        equal = [rule for rule in inner if abs(rule[0] - first[0]) < 4 and abs(rule[2] - first[2]) < 4]
        inner = [rule for rule in inner if rule not in equal]
        place = enclosing(equal)
        if len(equal) >= 3 and _holds_columns(rows, place):
            yield place


def _is_margin(rule: Place, page: PageObjects) -> bool:
    is_edge = rule[1] < _MARGIN_SHARE * page.height_pt or rule[3] > (1 - _MARGIN_SHARE) * page.height_pt
    return is_edge and rule[2] - rule[0] > 0.6 * page.width_pt


def _holds_columns(rows: list[list[Cell]], place: Place) -> bool:
    """Whether most rows inside have two cells or more."""
    inside = [[cell for cell in row if _overlaps(cell.place, place, 0.0)] for row in rows]
    inside = [row for row in inside if row]
    n_split = sum(len(row) >= 2 for row in inside)
    return n_split >= 2 and n_split >= 0.4 * len(inside)
