"""Render and label pages of real documents: `python -m recipes.vl_classifier.real PDFS OUT`.

PDFS has a folder for each source, as `fetch` leaves it. A page gets its label only where its objects and the
layout network agree, or a person has looked; all else is UNSURE.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
import pypdfium2 as pdfium
from PIL import Image
from rich.progress import track

from recipes.vl_classifier.corrections import corrected, read_corrections
from recipes.vl_classifier.layout import Teacher
from recipes.vl_classifier.objects import PageObjects, is_inside, read_objects
from recipes.vl_classifier.records import Page, read_pages, write_pages
from recipes.vl_classifier.regions import Judgement, judge
from recipes.vl_classifier.rows import is_contents, text_rows
from recipes.vl_classifier.rule import Box, high_share, label_of

DPI, MOST_PX, JPEG_QUALITY = 110, 1400, 90
PAGES_PER_DOCUMENT, PAGES_PER_SOURCE = 12, 40
LOOKED_AT_PER_DOCUMENT, LEAST_LOW_PER_DOCUMENT = 30, 3
TEST_SHARE, VALIDATION_SHARE = 0.22, 0.08
_LEAST_SIDES_PT = 140, 250  # a page smaller is a picture made to be put into another document
_HASH_SIDE, _NEAR_BITS = 16, 22


def split_of(source: str) -> str:
    """Which split a source belongs to: always the same, whatever other sources there are."""
    place = _place_in_split(source)
    if place < TEST_SHARE:
        return "test"
    return "validation" if place < TEST_SHARE + VALIDATION_SHARE else "train"


def _place_in_split(source: str) -> float:
    digest = hashlib.sha256(f"vl-classifier {source}".encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def render(page: pdfium.PdfPage) -> Image.Image:
    """The page as an RGB picture."""
    scale = min(DPI / 72, MOST_PX / max(page.get_size()))
    return page.render(scale=scale).to_pil().convert("RGB")


def chosen_pages(document: pdfium.PdfDocument, n_pages: int) -> list[tuple[int, PageObjects, Judgement]]:
    """Pages spread over a document, about half of them HIGH by their objects where it has so many."""
    step = max(1.0, len(document) / LOOKED_AT_PER_DOCUMENT)
    numbers = dict.fromkeys(int(index * step) for index in range(min(len(document), LOOKED_AT_PER_DOCUMENT)))
    looked_at = []
    for number in numbers:
        page = document[number]
        sides = sorted(page.get_size())
        if sides[0] >= _LEAST_SIDES_PT[0] and sides[1] >= _LEAST_SIDES_PT[1]:
            objects = read_objects(page)
            looked_at.append((number, objects, judge(objects)))
        page.close()
    high = [item for item in looked_at if item[2].label != "LOW"]
    low = [item for item in looked_at if item[2].label == "LOW"]
    n_high = min(len(high), 2 * n_pages // 3)
    n_low = max(min(n_high, n_pages - n_high), LEAST_LOW_PER_DOCUMENT)
    return sorted(_spread(high, n_high) + _spread(low, n_low), key=lambda item: item[0])


def _spread(items: list, n_items: int) -> list:
    if len(items) <= n_items:
        return items
    return [items[int((index + 0.5) * len(items) / n_items)] for index in range(n_items)]


def low_kind(objects: PageObjects, teacher: Sequence[Box]) -> str:
    """What a page without HIGH content mostly is."""
    n_words = len(objects.words)
    if n_words < 40:
        return "blank" if n_words < 3 else "short"
    rows = text_rows(objects.words)
    if is_contents(rows):
        return "contents"
    if sum(word.is_mono for word in objects.words) > 0.4 * n_words:
        return "code"
    if sum(word.is_math for word in objects.words) > 0.1 * n_words or any(
        box[0] == "formula" for box in teacher
    ):
        return "formula"
    return "columns" if sum(len(row) == 2 for row in rows) > 0.6 * len(rows) else "paragraphs"


def kinds_of(
    label: str, boxes: Sequence[Box], objects: PageObjects, teacher: Sequence[Box]
) -> tuple[str, ...]:
    """Names of what is on a page, the largest first."""
    if label == "LOW":
        return (low_kind(objects, teacher),)
    areas: Counter[str] = Counter()
    for kind, left, top, right, bottom in boxes:
        areas[kind] += (right - left) * (bottom - top)  # type: ignore[assignment]
    return tuple(kind for kind, _ in areas.most_common()) or (low_kind(objects, teacher),)


def label(objects: PageObjects, judgement: Judgement, teacher: Sequence[Box]) -> dict:
    """The fields of a page that say what is on it."""
    seen = believable(teacher, objects)
    second = label_of(seen)
    images = [box for box in judgement.boxes if box[0] == "figure"]
    is_agreed = (
        judgement.label == second or label_of(images) == "HIGH"
    )  # an image is there, whoever misses it
    is_sure = not judgement.doubts or judgement.label == second == "HIGH"
    agreed = judgement.label if is_agreed and is_sure else "UNSURE"
    boxes = {"HIGH": judgement.boxes, "LOW": (), "UNSURE": (*judgement.boxes, *seen)}[agreed]
    names = [",".join(sorted({box[0] for box in some})) for some in (judgement.boxes, seen)]
    note = f"objects {judgement.label} {names[0]}; network {second} {names[1]}; {','.join(judgement.doubts)}"
    return {"label": agreed, "boxes": boxes, "share": round(high_share(boxes), 4), "note": note.rstrip("; "),
            "kinds": kinds_of(agreed, boxes, objects, teacher)}  # fmt: skip


def believable(teacher: Sequence[Box], objects: PageObjects) -> tuple[Box, ...]:
    """What the network saw, less formulas, contents, code, and pictures of nothing but letters."""
    if is_contents(text_rows(objects.words)):
        return ()
    kept = []
    for kind, left, top, right, bottom in teacher:
        place = (
            left * objects.width_pt,
            top * objects.height_pt,
            right * objects.width_pt,
            bottom * objects.height_pt,
        )
        words = [word for word in objects.words if is_inside(word.place, place)]
        marks = [*objects.images, *objects.rules, *objects.frames, *(mark for mark, _ in objects.drawings)]
        is_code = sum(word.is_mono for word in words) > 0.6 * len(words)
        is_formula = sum(word.is_math for word in words) > 0.25 * len(words)
        is_drawn = any(is_inside(mark, place) for mark in marks)
        if kind != "formula" and not is_code and not is_formula and (is_drawn or kind != "figure"):
            kept.append((kind, left, top, right, bottom))
    return tuple(kept)


def fingerprint(picture: Image.Image) -> np.ndarray:
    """Which neighbours are brighter, on a coarse grid: near for pages that look the same."""
    grey = np.asarray(
        picture.convert("L").resize((_HASH_SIDE + 1, _HASH_SIDE), Image.Resampling.BOX), dtype=np.int16
    )
    return (np.diff(grey, axis=1) > 2).ravel()


def source_pages(folder: Path, out: Path, teacher: Teacher) -> Iterator[Page]:
    """Render and label pages of all documents of one source."""
    files = _spread(sorted(folder.glob("*.pdf")), PAGES_PER_SOURCE)
    n_pages = max(2, min(PAGES_PER_DOCUMENT, -(-PAGES_PER_SOURCE // len(files)) + 1)) if files else 0
    prints: list[np.ndarray] = []
    for file in files:
        try:
            document = pdfium.PdfDocument(file)
            chosen = chosen_pages(document, n_pages)
        except pdfium.PdfiumError:
            continue
        for number, objects, judgement in chosen:
            picture = render(document[number])
            mark = fingerprint(picture)
            is_new = all(int((mark != other).sum()) > _NEAR_BITS for other in prints)
            if len(prints) < PAGES_PER_SOURCE and is_new:
                prints.append(mark)
                name = f"{folder.name}--{file.name[:8]}-{number:04d}.jpg"
                picture.save(out / name, quality=JPEG_QUALITY)
                fields = label(objects, judgement, teacher.boxes(picture))
                yield Page(image=name, source=folder.name, page=number, split=split_of(folder.name), **fields)
        document.close()


def main() -> None:
    """Render and label pages of all sources; those already in OUT are kept as they are."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pdfs", type=Path)
    parser.add_argument("out", type=Path)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    teacher, corrections = Teacher(), read_corrections()
    pages = list(read_pages(options.out)) if (options.out / "pages.jsonl").exists() else []
    done = {page.source for page in pages}
    folders = [folder for folder in options.pdfs.iterdir() if folder.name not in done]
    folders.sort(key=lambda folder: (_place_in_split(folder.name) - TEST_SHARE) % 1)  # mixed, test last
    for folder in track(folders, description="Sources"):
        pages += corrected(source_pages(folder, options.out, teacher), corrections)
        write_pages(options.out, pages)


if __name__ == "__main__":
    main()
