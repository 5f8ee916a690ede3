"""Batches of prepared pages: moved, scaled, lighter or darker each time, so that none is learnt by heart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import cv2
import msgspec
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from recipes.vl_classifier.canvas import LONG_SIDE, SHORT_SIDE, WHITE
from recipes.vl_classifier.prepare import CELL, Row

REAL_SHARE = 0.6  # of a batch; drawn pages are many, real ones are what counts
WIDE_SHARE = 0.12  # of batches: lying pages need a batch of their own


class Prepared:
    """What `prepare` wrote into one or more folders; the arrays stay on disk."""

    def __init__(self, folders: Sequence[Path]) -> None:
        self.rows: list[Row] = []
        self._canvases: list[NDArray[np.uint8]] = []
        self._cells: list[NDArray[np.uint8]] = []
        decoder = msgspec.json.Decoder(Row)
        for folder in folders:
            self.rows += [decoder.decode(line) for line in (folder / "rows.jsonl").read_bytes().splitlines()]
            self._canvases += list(np.load(folder / "canvases.npy", mmap_mode="r"))
            self._cells += list(np.load(folder / "cells.npy", mmap_mode="r"))

    def places(self, split: str, *, is_wide: bool) -> NDArray[np.intp]:
        """Returns the rows of a split whose pages stand or lie."""
        found = [n for n, row in enumerate(self.rows) if row.split == split and row.is_wide == is_wide]
        return np.array(found, np.intp)

    def page(self, place: int) -> NDArray[np.uint8]:
        """Returns the canvas `[h, w]`."""
        shape = _shape(self.rows[place].is_wide)
        return np.asarray(self._canvases[place]).reshape(shape)

    def high(self, place: int) -> NDArray[np.uint8]:
        """Returns the cells `[h / 32, w / 32]`."""
        height, width = _shape(self.rows[place].is_wide)
        return np.asarray(self._cells[place]).reshape(height // CELL, width // CELL)


def training_batches(prepared: Prepared, size: int, seed: int) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yields for ever ink `[n, 1, h, w]`, labels `[n]` and cells `[n, h / 32, w / 32]`, all in 0..1."""
    generator = np.random.default_rng(seed)
    pools = {is_wide: _pools(prepared, is_wide) for is_wide in (False, True)}

    def make() -> tuple[Tensor, Tensor, Tensor]:
        pool = pools[bool(generator.random() < WIDE_SHARE)]
        places = [_draw(pool, generator) for _ in range(size)]
        pages = [_varied(prepared.page(n), prepared.high(n), generator) for n in places]
        labels = [float(prepared.rows[n].is_high) for n in places]
        return ink_of([page for page, _ in pages]), torch.tensor(labels), _stack([high for _, high in pages])

    with ThreadPoolExecutor(1) as maker:  # one batch ahead, in the same order
        coming = maker.submit(make)
        while True:
            batch, coming = coming.result(), maker.submit(make)
            yield batch


def ink_of(pages: list[NDArray[np.uint8]]) -> Tensor:
    """Returns `[n, 1, h, w]` float32: 0 for white, 1 for black."""
    return 1 - torch.from_numpy(np.stack(pages))[:, None].float() / 255


def _stack(cells: list[NDArray[np.uint8]]) -> Tensor:
    return torch.from_numpy(np.stack(cells)).float() / 255


def _shape(is_wide: bool) -> tuple[int, int]:
    return (SHORT_SIDE, LONG_SIDE) if is_wide else (LONG_SIDE, SHORT_SIDE)


def _pools(prepared: Prepared, is_wide: bool) -> dict[tuple[bool, bool], NDArray[np.intp]]:
    """Returns training rows by (real, HIGH), those that are empty left out."""
    found: dict[tuple[bool, bool], list[int]] = {}
    for place in prepared.places("train", is_wide=is_wide):
        row = prepared.rows[place]
        found.setdefault((row.is_real, row.is_high), []).append(int(place))
    return {key: np.array(places, np.intp) for key, places in found.items()}


def _draw(pool: dict[tuple[bool, bool], NDArray[np.intp]], generator: np.random.Generator) -> int:
    """Returns a row: as many LOW as HIGH, and REAL_SHARE real ones."""
    wanted = (bool(generator.random() < REAL_SHARE), bool(generator.random() < 0.5))
    places = pool[wanted] if wanted in pool else pool[next(iter(pool))]
    return int(places[generator.integers(len(places))])


def _varied(
    page: NDArray[np.uint8], high: NDArray[np.uint8], generator: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Returns the page moved by up to 4 %, 0.88 to 1.06 as large, its tones bent; and its cells likewise."""
    height, width = page.shape
    scale = generator.uniform(0.88, 1.06)
    x, y = generator.uniform(-0.04, 0.04, 2) * (width, height) + (1 - scale) / 2 * np.array((width, height))
    move = np.array([[scale, 0, x], [0, scale, y]])
    page = cv2.warpAffine(page, move, (width, height), flags=cv2.INTER_LINEAR, borderValue=WHITE)
    move_cells = np.array([[scale, 0, x / CELL], [0, scale, y / CELL]])
    high = cv2.warpAffine(high, move_cells, (width // CELL, height // CELL), flags=cv2.INTER_LINEAR)
    if generator.random() < 0.5:
        bend = 255 * (np.arange(256) / 255) ** generator.uniform(0.6, 1.7)
        page = cv2.LUT(page, bend.astype(np.uint8))
    if generator.random() < 0.3:
        page = cv2.GaussianBlur(page, (0, 0), generator.uniform(0.3, 0.9))
    if generator.random() < 0.1:
        page = np.ascontiguousarray(page[:, ::-1])
        high = np.ascontiguousarray(high[:, ::-1])
    return page, high
