"""`python -m bench.page_order PDFS`: in which order pages are read, against the order of their text layers.

PDFS are files, or folders searched through. Of each PDF some pages with a sound text layer are taken; those
whose file goes up and to the right in the middle of its lines, as from one column to the next, count as
`columns`. Their lines are laid out twice: by where they stand alone, as lines that a model read; and with the
file's order, as a text layer is. Told are the share of pairs of words that come out in another order than in
the file, and how often a word does not follow the one before it. A file's order is not always that of
reading, so neither can become 0. Writes `bench/results/page_order.json`.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import statistics
import sys
import time
from bisect import bisect_left, insort
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import machine
from turbov2.engine.layers import lines_of
from turbov2.errors import TurboError
from turbov2.media import Decoder, Page
from turbov2.pages.structure import blocks_of

SEED = 3
N_LOOKED_AT, N_WITH_COLUMNS, N_OTHERS = 8, 4, 1  # pages of a PDF
LEAST_WORDS = 40
UP_HEIGHTS, RIGHT_SHARE, N_SETTLED = 8, 0.25, 4


def has_columns(page: Page) -> bool:
    """True where the file's lines jump up and to the right, and go on there."""
    starts = np.flatnonzero(np.diff(page.lines, prepend=-1))
    tops, lefts = np.minimum.reduceat(page.boxes[:, 1], starts), page.boxes[starts, 0]
    height = float(np.median(page.boxes[:, 3] - page.boxes[:, 1]))
    is_up = tops[1:] < tops[:-1] - UP_HEIGHTS * height
    is_right = (lefts[1:] > lefts[:-1] + UP_HEIGHTS * height) & (lefts[1:] > RIGHT_SHARE * page.width)
    for at in np.flatnonzero(is_up & is_right) + 1:
        following = lefts[at : at + N_SETTLED]
        is_settled = len(following) == N_SETTLED and bool(np.ptp(following) < 3 * height)
        if at >= N_SETTLED and is_settled:
            return True
    return False


async def pages_of(paths: Sequence[Path]) -> dict[str, list[Page]]:
    """Returns pages by kind."""
    decoder, chance = Decoder(n_children=1), random.Random(SEED)
    found: dict[str, list[Page]] = {"columns": [], "others": []}
    for path in paths:
        kept = {"columns": N_WITH_COLUMNS, "others": N_OTHERS}
        try:
            document = await decoder.open(path.read_bytes())
            for index in chance.sample(range(document.n_pages), min(document.n_pages, N_LOOKED_AT)):
                page = await decoder.page(document, index)
                if not page.soundness.is_sound or len(page.words) < LEAST_WORDS:
                    continue
                kind = "columns" if has_columns(page) else "others"
                if kept[kind]:
                    kept[kind] -= 1
                    found[kind].append(page)
        except TurboError as error:
            print(f"{path.name}: {error.message}", file=sys.stderr)
    await decoder.close()
    return found


def order_of(page: Page, *, in_file_order: bool) -> tuple[list[int], float]:
    """Returns the numbers of the page's words in the order they are read, and the seconds it took."""
    lines = lines_of(page)
    printed = (word for line in lines if line.text.strip() for word in line.words)
    numbers = {id(word): at for at, word in enumerate(printed)}
    began_s = time.perf_counter()
    blocks = blocks_of(lines, in_file_order=in_file_order)
    took_s = time.perf_counter() - began_s
    words = (word for block in blocks for row in block.rows for line in row for word in line.words)
    order = [numbers[id(word)] for word in words]
    if sorted(order) != list(range(len(numbers))):
        raise RuntimeError(f"page {page.index + 1}: words were lost")
    return order, took_s


def inverted(order: Sequence[int]) -> float:
    """Returns the share of pairs whose larger number comes first."""
    seen: list[int] = []
    n_inverted = 0
    for number in order:
        n_inverted += len(seen) - bisect_left(seen, number)
        insort(seen, number)
    return n_inverted / max(1, len(order) * (len(order) - 1) / 2)


def figures(pages: Sequence[Page], *, in_file_order: bool) -> dict[str, Any]:
    """Returns what came of the pages."""
    orders = [order_of(page, in_file_order=in_file_order) for page in pages]
    shares = [inverted(order) for order, _ in orders]
    breaks = [sum(b != a + 1 for a, b in zip(order, order[1:], strict=False)) for order, _ in orders]
    return {
        "pages": len(pages),
        "inverted_pairs": round(statistics.mean(shares), 4),
        "inverted_pairs_median": round(statistics.median(shares), 4),
        "breaks": round(statistics.mean(breaks), 1),
        "breaks_median": statistics.median(breaks),
        "as_in_the_file": round(statistics.mean(count == 0 for count in breaks), 3),
        "ms": round(1e3 * statistics.mean(took_s for _, took_s in orders), 1),
    }


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.page_order")
    parser.add_argument("pdfs", type=Path, nargs="+")
    given: list[Path] = parser.parse_args().pdfs
    paths = [path for each in given for path in (sorted(each.rglob("*.pdf")) if each.is_dir() else [each])]
    found = asyncio.run(pages_of(paths))
    results: dict[str, Any] = {"machine": machine.facts(), "files": len(paths)}
    for kind, pages in found.items():
        ways = {"by place": False, "with the file's order": True}
        results[kind] = {name: figures(pages, in_file_order=flag) for name, flag in ways.items()}
        print(kind, results[kind])
    machine.RESULTS.joinpath("page_order.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"
    )


if __name__ == "__main__":
    main()
