"""Pages on disk: one image file each, and one line of `pages.jsonl` beside them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from recipes.vl_classifier.rule import Box


class Page(msgspec.Struct, frozen=True, kw_only=True):
    """A page image and what is known of it."""

    image: str
    """File name, relative to the folder of `pages.jsonl`."""
    source: str
    """What must not stand on both sides of a split: a source package, or a generator's name."""
    page: int
    """Number in its source, from 0."""
    label: str
    """LOW, HIGH or UNSURE."""
    kinds: tuple[str, ...]
    """What is on it, by the names of `rule`; the first is the most prominent."""
    boxes: tuple[Box, ...] = ()
    """Where its HIGH content is: (kind, left, top, right, bottom) in shares of the page."""
    share: float = 0.0
    """Share of the page under HIGH boxes."""
    split: str = "train"
    """train, validation or test."""
    note: str = ""
    """Why the label differs from what the objects say, if a person changed it."""


def write_pages(folder: Path, pages: Iterable[Page]) -> None:
    """Write `pages.jsonl` into a folder, in the order given."""
    encoder = msgspec.json.Encoder()
    lines = b"".join(encoder.encode(page) + b"\n" for page in pages)
    (folder / "pages.jsonl").write_bytes(lines)


def read_pages(folder: Path) -> Iterator[Page]:
    """The pages of a folder, in order."""
    decoder = msgspec.json.Decoder(Page)
    with (folder / "pages.jsonl").open("rb") as lines:
        yield from (decoder.decode(line) for line in lines)
