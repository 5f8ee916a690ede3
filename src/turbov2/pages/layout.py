"""Reading order: columns from left to right, each from top to bottom, headings over columns before them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from turbov2.pages.lines import Line, Word, lines_of, median_height
from turbov2.pages.tables import Table, table_of

_GUTTER = 0.8  # width in line heights, at least
_COLUMN_BANDS = 3  # at which both sides have text, at least
_PROSE_WORDS = 4  # a line on average: text that is read down its column, not across
_MAX_DEPTH = 6

Span = tuple[float, float]
Layout = list["Line | Table"]


class _Band(NamedTuple):
    """Lines of which each shares some height with another, and the white strips between them."""

    lines: list[Line]
    strips: list[Span]


def lay_out(words: Sequence[Word], numbers: Sequence[int]) -> Layout:
    """Returns a page's lines and tables in reading order; numbers: of each word's line in the file."""
    lines = lines_of(words, numbers)
    return _ordered(lines, median_height(lines), 0)


def _ordered(lines: list[Line], height: float, depth: int) -> Layout:
    """Returns the lines of a region in reading order."""
    if len(lines) < 2 or depth >= _MAX_DEPTH:
        return [*_across(lines)]
    found: Layout = []
    for bands, gutters in _segments(_bands(lines), _GUTTER * height):
        inside = [line for band in bands for line in band.lines]
        if not gutters or len(bands) == len(inside):
            found += _across(inside)
        elif table := table_of([band.lines for band in bands], gutters):
            found.append(table)
        elif gutter := _column_gutter(inside, gutters, bands):
            middle = sum(gutter) / 2
            found += _ordered([line for line in inside if line.right <= middle], height, depth + 1)
            found += _ordered([line for line in inside if line.right > middle], height, depth + 1)
        else:
            found += _across(inside)
    return found


def _bands(lines: Sequence[Line]) -> list[_Band]:
    """Returns the lines in groups between which a horizontal cut meets none, from top to bottom."""
    groups: list[list[Line]] = []
    bottom = float("-inf")
    for line in sorted(lines, key=lambda line: line.top):
        # Descenders and ascenders of neighbouring lines may touch.
        if groups and line.top + 0.25 * line.height < bottom:
            groups[-1].append(line)
        else:
            groups.append([line])
        bottom = max(bottom, line.bottom)
    return [_Band(group, _strips(group)) for group in groups]


def _strips(lines: Sequence[Line]) -> list[Span]:
    """Returns the horizontal extents that no line covers, the endless ones at both sides included."""
    strips: list[Span] = []
    covered = float("-inf")
    for line in sorted(lines, key=lambda line: line.left):
        if line.left > covered:
            strips.append((covered, line.left))
        covered = max(covered, line.right)
    return [*strips, (covered, float("inf"))]


def _segments(bands: Sequence[_Band], width: float) -> list[tuple[list[_Band], list[Span]]]:
    """Returns runs of bands that have white strips in common, with those that divide the run."""
    runs: list[tuple[list[_Band], list[Span]]] = []
    for band in bands:
        if runs and runs[-1][1]:
            common = _common(runs[-1][1], band.strips, width)
            # A single line that closes one of several strips stands behind a table, not in it.
            if common and (len(band.lines) > 1 or len(common) == len(runs[-1][1])):
                runs[-1] = ([*runs[-1][0], band], common)
                continue
        # A line across the page divides nothing; a run begins where something stands side by side.
        if runs and len(runs[-1][0]) and not runs[-1][1] and not _inner(band, width):
            runs[-1][0].append(band)
        else:
            runs.append(([band], _inner(band, width)))
    return runs


def _inner(band: _Band, width: float) -> list[Span]:
    return [strip for strip in band.strips[1:-1] if strip[1] - strip[0] >= width]


def _common(gutters: Sequence[Span], strips: Sequence[Span], width: float) -> list[Span]:
    both = [(max(a[0], b[0]), min(a[1], b[1])) for a in gutters for b in strips]
    return [span for span in both if span[1] - span[0] >= width]


def _column_gutter(lines: Sequence[Line], gutters: Sequence[Span], bands: Sequence[_Band]) -> Span | None:
    """Returns the first gutter at whose sides text is read downwards; None where it is read across."""
    for gutter in gutters:
        middle = sum(gutter) / 2
        left = [line for line in lines if line.right <= middle]
        right = [line for line in lines if line.right > middle]
        if not left or not right:
            continue
        if max(line.start for line in left) < min(line.start for line in right):
            return gutter  # as the file has it
        n_shared = sum(_has_both(band, middle) for band in bands)
        is_tall = n_shared >= _COLUMN_BANDS or len(lines) > 2 * len(bands)
        if is_tall and all(_mean_words(side) >= _PROSE_WORDS for side in (left, right)):
            return gutter
    return None


def _has_both(band: _Band, middle: float) -> bool:
    return len({line.right <= middle for line in band.lines}) == 2


def _mean_words(lines: Sequence[Line]) -> float:
    return sum(len(line.words) for line in lines) / len(lines)


def _across(lines: Sequence[Line]) -> list[Line]:
    """Returns the lines from top to bottom, those side by side joined from left to right."""
    found: list[Line] = []
    for band in _bands(lines):
        row = sorted(band.lines, key=lambda line: line.left)
        if all(line.right <= other.left for line, other in zip(row, row[1:], strict=False)):
            words = tuple(word for line in row for word in line.words)
            found.append(Line(words, row[0].start, len(row) > 1))
        else:
            found += sorted(band.lines, key=lambda line: (line.top, line.left))
    return found
