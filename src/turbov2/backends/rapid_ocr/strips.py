"""Strips: what a line of text looks like from above - ink and gaps - and where it may be cut. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_INK_SHARE = 0.25  # of the strip's contrast
_EDGE_SHARE = 0.1  # of its height, where the lines above and below may show
# A recogniser trained on short strips now and then loses half the letters of one forty times as wide as high.
_MAX_RATIO = 16.0
_LEAST_CUT = 0.15  # of the height: narrower gaps are between letters
_REACH = 0.25  # of a piece's length: how far from its wanted end it may be cut


class Gap(NamedTuple):
    """Columns without ink, `start` to `end`, in pixels of the strip."""

    start: int
    end: int

    @property
    def width(self) -> int:
        """In pixels."""
        return self.end - self.start

    @property
    def middle(self) -> float:
        """In pixels from the strip's left edge."""
        return (self.start + self.end) / 2


def gaps_of(strip: Pixels) -> list[Gap]:
    """Returns the runs of columns of a `[h, w, 3]` strip without ink, from left to right."""
    margin = int(len(strip) * _EDGE_SHARE)
    inner = strip[margin : len(strip) - margin].astype(np.int16)
    paper = np.median(inner, axis=(0, 1))
    contrast = np.abs(inner - paper).max(axis=(0, 2))  # over colours too: a blue link is as bright as paper
    is_blank = contrast < _INK_SHARE * max(1.0, float(contrast.max()))
    edges = np.flatnonzero(np.diff(np.concatenate(([False], is_blank, [False])).astype(np.int8)))
    return [Gap(int(start), int(end)) for start, end in edges.reshape(-1, 2)]


def widest_between(gaps: Sequence[Gap], start: float, end: float) -> Gap | None:
    """Returns the widest part of a gap that lies between the two columns, None if there is none."""
    inside = [
        Gap(max(gap.start, round(start)), min(gap.end, round(end)))
        for gap in gaps
        if gap.end > start and gap.start < end
    ]
    return max(inside, key=lambda gap: gap.width, default=None)


def cuts(width: int, height: int, gaps: Sequence[Gap]) -> list[int]:
    """Returns the edges of the strip's pieces, 0 and `width` included: none much longer than the bound.

    A strip is cut in the widest gaps near where equal pieces would end, as those are between words; without
    gaps it stays whole.
    """
    wide = [gap for gap in gaps if gap.width >= max(2.0, _LEAST_CUT * height)]
    n_pieces = int(np.ceil(width / (_MAX_RATIO * height)))
    edges = [0]
    for piece in range(1, n_pieces):
        length = (width - edges[-1]) / (n_pieces - piece + 1)
        wanted = edges[-1] + length
        near = [gap for gap in wide if abs(gap.middle - wanted) < _REACH * length]
        if near:
            edges.append(round(max(near, key=lambda gap: gap.width).middle))
    return [*edges, width]


def trimmed(gaps: Sequence[Gap], start: float, end: float) -> tuple[float, float]:
    """Returns the interval without the gaps at its ends; as it is when nothing but gap lies within."""
    left, right = start, end
    for gap in gaps:
        if gap.start <= left < gap.end:
            left = float(gap.end)
        if gap.start < right <= gap.end:
            right = float(gap.start)
    return (left, right) if left < right else (start, end)
