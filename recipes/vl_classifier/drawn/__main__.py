"""`python -m recipes.vl_classifier.drawn OUT --count N --seed S --fonts FONTS [--pictures PICTURES]`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import cv2
from rich.progress import track

from recipes.vl_classifier.drawn.draw import draw_page
from recipes.vl_classifier.drawn.layout import Assets
from recipes.vl_classifier.records import Page, write_pages


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--count", type=int, default=12_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--fonts", type=Path, required=True, help="folder that `drawn.fonts` filled")
    parser.add_argument("--pictures", type=Path, help="folder that `drawn.library` filled")
    parser.add_argument("--split", choices=("train", "validation", "test"), default="train")
    return parser.parse_args()


def _drawn(arguments: argparse.Namespace) -> Iterator[Page]:
    assets = Assets(arguments.fonts, arguments.pictures)
    for number in track(range(arguments.count), "drawing"):
        drawn = draw_page(arguments.seed, number, assets)
        image = f"drawn-{arguments.seed}-{number:05d}.jpg"
        cv2.imwrite(str(arguments.out / image), drawn.pixels, [cv2.IMWRITE_JPEG_QUALITY, 90])
        yield Page(
            image=image, source=f"drawn-{arguments.seed}", page=number, label=drawn.label, kinds=drawn.kinds,
            boxes=drawn.boxes, share=drawn.share, split=arguments.split,
        )  # fmt: skip


def main() -> None:
    """Draw the pages and their records."""
    arguments = _arguments()
    arguments.out.mkdir(parents=True, exist_ok=True)
    write_pages(arguments.out, _drawn(arguments))


if __name__ == "__main__":
    main()
