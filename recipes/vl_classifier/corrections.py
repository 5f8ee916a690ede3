"""Labels that a person set after looking at a page; they go before what objects and network say.

`corrections.tsv` has one page a line: image, label, kind, note. Apply a changed table to pages rendered
before with `python -m recipes.vl_classifier.corrections PAGES`.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import msgspec

from recipes.vl_classifier.records import Page, read_pages, write_pages

TABLE = Path(__file__).with_name("corrections.tsv")


class Correction(NamedTuple):
    """What a person saw."""

    label: str
    kind: str
    note: str


def read_corrections(table: Path = TABLE) -> dict[str, Correction]:
    """Corrections by image name; none if there is no table."""
    if not table.exists():
        return {}
    with table.open(newline="") as lines:
        return {image: Correction(*rest) for image, *rest in csv.reader(lines, delimiter="\t")}


def corrected(pages: Iterable[Page], corrections: dict[str, Correction]) -> Iterator[Page]:
    """The same pages, those in the table with its label and kind."""
    for page in pages:
        correction = corrections.get(page.image)
        yield page if correction is None else _corrected(page, correction)


def _corrected(page: Page, correction: Correction) -> Page:
    label, kind, note = correction
    if page.note.startswith("seen"):
        return page
    kept = page if label != "LOW" else msgspec.structs.replace(page, boxes=(), share=0.0)
    kinds = (kind, *(other for other in page.kinds if other != kind)) if label == page.label else (kind,)
    return msgspec.structs.replace(kept, label=label, kinds=kinds, note=f"seen: {note or kind}; {page.note}")


def main() -> None:
    """Apply the table to a folder of pages."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pages", type=Path)
    folder = parser.parse_args().pages
    write_pages(folder, list(corrected(read_pages(folder), read_corrections())))


if __name__ == "__main__":
    main()
