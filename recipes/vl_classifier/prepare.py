"""`python -m recipes.vl_classifier.prepare OUT FOLDER ...`: pages of all folders as the network sees them.

Each page is written once as it is and, for training and validation, some more times degraded, each time
anew: `canvases.npy` uint8 `[n, 512 * 384]`, of lying pages in rows of 512; `cells.npy` uint8 `[n, 16 *
12]`, of 255 how much of a cell holds HIGH content; `rows.jsonl`, what each row is.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import cv2
import msgspec
import numpy as np
from numpy.typing import NDArray
from rich.progress import track

from recipes.vl_classifier.canvas import LONG_SIDE, SHORT_SIDE, Gray, letterbox
from recipes.vl_classifier.degrade import degrade_mapped, mapped_box
from recipes.vl_classifier.records import Page, read_pages
from recipes.vl_classifier.rule import HIGH_KINDS, Box

CELL = 32
N_PIXELS = LONG_SIDE * SHORT_SIDE
N_CELLS = N_PIXELS // CELL**2


class Row(msgspec.Struct, frozen=True):
    """One row of the arrays."""

    image: str
    source: str
    split: str
    kind: str
    is_high: bool
    is_wide: bool
    is_real: bool
    copy: int
    """0: as it is; else which of its degraded copies."""


def rows_of(folder: Path, page: Page, n_copies: int, seed: int) -> list[tuple[Row, Gray, Gray]]:
    """Returns a page's rows with their canvases and cells."""
    image = cv2.imread(str(folder / page.image), cv2.IMREAD_GRAYSCALE)
    if image is None:
        raise SystemExit(f"{page.image} of {folder.name} is no image")
    generator = np.random.default_rng([seed, abs(hash_of(page.image))])
    found = []
    for copy in range(1 + n_copies * (page.split != "test")):
        seen, matrix = (image, np.eye(3)) if copy == 0 else degrade_mapped(image, generator)
        boxes = [mapped_box(box, matrix, image.shape) for box in page.boxes]
        canvas, place = letterbox(np.ascontiguousarray(seen))
        is_wide = canvas.shape[1] > canvas.shape[0]
        kind, is_real = page.kinds[0] if page.kinds else "", not page.source.startswith("drawn")
        is_high = page.label == "HIGH"
        row = Row(page.image, page.source, page.split, kind, is_high, is_wide, is_real, copy)
        found.append((row, canvas.reshape(-1), cells_of(boxes, place, canvas.shape).reshape(-1)))
    return found


def hash_of(name: str) -> int:
    """Returns a number that is the same in every process, unlike `hash`."""
    return int.from_bytes(name.encode()[-16:].rjust(16), "big") % (1 << 63)


def cells_of(
    boxes: Sequence[Box], place: tuple[float, float, float, float], shape: tuple[int, int]
) -> NDArray[np.uint8]:
    """Returns `[h / 32, w / 32]`: of 255, how much of a cell is under HIGH boxes of the page at `place`."""
    high = np.zeros(shape, np.float32)
    left, top, right, bottom = place
    for kind, x0, y0, x1, y1 in boxes:
        if kind in HIGH_KINDS:
            columns = [round((left + x * (right - left)) * shape[1]) for x in (x0, x1)]
            rows = [round((top + y * (bottom - top)) * shape[0]) for y in (y0, y1)]
            high[slice(*rows), slice(*columns)] = 255
    return cv2.resize(high, (shape[1] // CELL, shape[0] // CELL), interpolation=cv2.INTER_AREA).astype(
        np.uint8
    )


def pages_of(folders: Sequence[Path]) -> Iterator[tuple[Path, Page]]:
    """Yields the pages that have a label."""
    for folder in folders:
        yield from ((folder, page) for page in read_pages(folder) if page.label != "UNSURE")


def _rows(item: tuple[Path, Page], n_copies: int, seed: int) -> list[tuple[Row, Gray, Gray]]:
    return rows_of(*item, n_copies, seed)


def main() -> None:
    """Writes the arrays."""
    parser = argparse.ArgumentParser(prog="python -m recipes.vl_classifier.prepare", description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--copies", type=int, default=1, help="degraded ones of each page")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=2)
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    pages = list(pages_of(given.folders))
    n = sum(1 + given.copies * (page.split != "test") for _, page in pages)
    canvases = np.lib.format.open_memmap(given.out / "canvases.npy", "w+", np.uint8, (n, N_PIXELS))
    cells = np.lib.format.open_memmap(given.out / "cells.npy", "w+", np.uint8, (n, N_CELLS))
    place = 0
    with ProcessPoolExecutor(given.workers) as workers, (given.out / "rows.jsonl").open("wb") as lines:
        work = workers.map(partial(_rows, n_copies=given.copies, seed=given.seed), pages, chunksize=16)
        for found in track(work, "preparing pages", total=len(pages)):
            for row, canvas, high in found:
                canvases[place], cells[place] = canvas, high
                lines.write(msgspec.json.encode(row) + b"\n")
                place += 1
    canvases.flush()
    cells.flush()
    print(f"{place:,} rows of {len(pages):,} pages")


if __name__ == "__main__":
    main()
