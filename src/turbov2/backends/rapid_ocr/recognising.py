"""Strips as words: cut where they are long, read in batches of like length, put together again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from turbov2.backends.rapid_ocr.letters import Letter, Word, decoded, plain_marks, words_of
from turbov2.backends.rapid_ocr.networks import STRIP_HEIGHT_PX, Recogniser
from turbov2.backends.rapid_ocr.strips import cuts, gaps_of

if TYPE_CHECKING:
    from turbov2.types.images import Pixels

_LEAST_WIDTH_PX = 320  # the recogniser was trained on strips padded to it
_MOST_WIDTH_PX = 3200  # of one strip that could not be cut; longer ones are squeezed
_BATCH_PX = 6 * 768  # widths of a batch in all: bounds its memory, which grows with the alphabet
_BATCH_STRIPS = 6


class _Piece(NamedTuple):
    """A part of a strip: which one, from which of its columns on."""

    strip: int
    left: int
    pixels: Pixels

    @property
    def width_px(self) -> int:
        """Once it is as high as the recogniser wants."""
        height, width = self.pixels.shape[:2]
        return min(_MOST_WIDTH_PX, int(np.ceil(STRIP_HEIGHT_PX * width / height)))


def read_strips(recogniser: Recogniser, strips: Sequence[Pixels]) -> list[list[Word]]:
    """Returns the words of each BGR strip, left to right; none where nothing was read."""
    gaps = [gaps_of(strip) for strip in strips]
    pieces: list[_Piece] = []
    for index, strip in enumerate(strips):
        edges = cuts(strip.shape[1], strip.shape[0], gaps[index])
        pieces += [
            _Piece(index, left, strip[:, left:right]) for left, right in zip(edges, edges[1:], strict=False)
        ]
    letters: list[list[tuple[int, list[Letter]]]] = [[] for _ in strips]
    for batch in _batches(pieces):
        for piece, read in zip(batch, _read(recogniser, batch), strict=True):
            letters[piece.strip].append((piece.left, read))
    return [
        words_of(plain_marks(_joined(read)), gaps[index], strips[index].shape[1])
        for index, read in enumerate(letters)
    ]


def _batches(pieces: Sequence[_Piece]) -> Iterator[list[_Piece]]:
    """Yields the pieces, those of like width together, so that little of a batch is padding."""
    batch: list[_Piece] = []
    for piece in sorted(pieces, key=lambda each: each.width_px):
        is_full = len(batch) == _BATCH_STRIPS or (len(batch) + 1) * piece.width_px > _BATCH_PX
        if batch and is_full:
            yield batch
            batch = []
        batch.append(piece)
    if batch:
        yield batch


def _read(recogniser: Recogniser, batch: list[_Piece]) -> Iterator[list[Letter]]:
    width_px = max(_LEAST_WIDTH_PX, *(piece.width_px for piece in batch))
    best, sureness = recogniser.columns([piece.pixels for piece in batch], width_px)
    for piece, columns, sure in zip(batch, best, sureness, strict=True):
        # The padding behind a short piece is read as nothing.
        scale = piece.pixels.shape[1] / piece.width_px
        yield decoded(columns, sure, recogniser.characters, width_px / len(columns) * scale)


def _joined(pieces: list[tuple[int, list[Letter]]]) -> list[Letter]:
    """Returns the letters of a strip in one row: a cut is a space, as it lies in a gap between words."""
    found: list[Letter] = []
    for left, letters in sorted(pieces, key=lambda piece: piece[0]):
        if found and letters:
            found.append(Letter(" ", float(left), 1.0))
        found += [letter._replace(x=letter.x + left) for letter in letters]
    return found
