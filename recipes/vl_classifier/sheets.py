"""Contact sheets to check labels by eye: `python -m recipes.vl_classifier.sheets PAGES OUT --split test`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from rich.progress import track

from recipes.vl_classifier.records import Page, read_pages
from recipes.vl_classifier.rule import HIGH_KINDS

COLUMNS, ROWS = 5, 4
WIDTH_PX, HEIGHT_PX, CAPTION_PX = 260, 360, 26
_COLOURS = {"HIGH": "#c00000", "LOW": "#006000", "UNSURE": "#c06000"}


def thumbnail(page: Page, number: int, folder: Path) -> Image.Image:
    """One page with its number, label and kinds; HIGH boxes are outlined."""
    tile = Image.new("RGB", (WIDTH_PX, HEIGHT_PX + CAPTION_PX), "#808080")
    with Image.open(folder / page.image) as picture:
        picture.draft("RGB", (WIDTH_PX, HEIGHT_PX))
        picture.thumbnail((WIDTH_PX - 4, HEIGHT_PX))
        small = picture.convert("RGB")
    draw = ImageDraw.Draw(small)
    for kind, left, top, right, bottom in page.boxes:
        if kind in HIGH_KINDS:
            edges = (
                left * small.width,
                top * small.height,
                right * small.width - 1,
                bottom * small.height - 1,
            )
            draw.rectangle(edges, outline="#ff0000")
    tile.paste(small, (2, CAPTION_PX))
    caption = f"{number} {page.label} {','.join(dict.fromkeys(page.kinds))}"
    draw = ImageDraw.Draw(tile)
    draw.rectangle((0, 0, WIDTH_PX, CAPTION_PX - 2), fill=_COLOURS[page.label])
    draw.text((4, 1), caption[:42], fill="white", font_size=12)
    draw.text((4, 13), page.note[-48:], fill="white", font_size=10)
    return tile


def write_sheets(pages: Sequence[Page], folder: Path, out: Path) -> None:
    """Write all pages as numbered sheets, and `index.tsv` that tells which number is which image."""
    out.mkdir(parents=True, exist_ok=True)
    per_sheet = COLUMNS * ROWS
    for first in track(range(0, len(pages), per_sheet), description="Sheets"):
        sheet = Image.new("RGB", (COLUMNS * WIDTH_PX, ROWS * (HEIGHT_PX + CAPTION_PX)), "white")
        for place, page in enumerate(pages[first : first + per_sheet]):
            row, column = divmod(place, COLUMNS)
            tile = thumbnail(page, first + place, folder)
            sheet.paste(tile, (column * WIDTH_PX, row * (HEIGHT_PX + CAPTION_PX)))
        sheet.save(out / f"{first // per_sheet:03d}.png")
    lines = (f"{number}\t{page.image}\t{page.label}\t{page.note}\n" for number, page in enumerate(pages))
    (out / "index.tsv").write_text("".join(lines))


def main() -> None:
    """Write sheets of the chosen pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--split", choices=("train", "validation", "test"))
    parser.add_argument("--label", choices=tuple(_COLOURS))
    options = parser.parse_args()
    chosen = [page for page in read_pages(options.pages)
              if options.split in (None, page.split) and options.label in (None, page.label)]  # fmt: skip
    write_sheets(chosen, options.pages, options.out)


if __name__ == "__main__":
    main()
