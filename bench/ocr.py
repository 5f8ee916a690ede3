"""`python -m bench.ocr PDFS`: how well and how fast `rapidocr` reads, on pages whose text is known.

PDFS are files, or folders searched through. A page is taken of each born-digital PDF: English, a sound text
layer in which every glyph stands for a character, no pictures, hardly any drawing; the middle one of those.
It is rendered at 120 and at 150 dpi and read as a picture, and what comes out is compared with its text
layer: as the file has it, and laid out as this server gives it (`_as_laid_out`), since files have headers,
footers and notes in an order of their own. Pages whose text is letters, digits and common marks count as
prose; those with formulas or code as technical. Writes `bench/results/ocr.json`.

Character error rate: Levenshtein distance over the length of the text layer, both normalised: NFKC, which
undoes ligatures; one form of quotes, dashes and bullets; a hyphen at a line's end joined to what follows;
runs of white space as one space. Where words are parted is often a matter of taste in a text layer too, so
the rate without spaces is told beside it.

Speed: this server's engine, from a PNG's bytes to lines with words, against the library's own loop over the
same bytes with words as well, page by page in turns, each on as many threads as it chooses.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import random
import re
import statistics
import sys
import tempfile
import time
import unicodedata
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from PIL import Image, ImageFilter

from bench import machine
from turbov2.catalog import Catalog
from turbov2.engine import LocalEngine
from turbov2.engine.layers import lines_of
from turbov2.errors import TurboError
from turbov2.media import Decoder, Document, Page, View
from turbov2.pages.structure import blocks_of
from turbov2.pages.writing import plain_text
from turbov2.settings import load_settings
from turbov2.types import Context, ReadRequest

MODEL = "rapidocr"
DPI = 150.0
DPIS = (120.0, DPI)
SEED = 3
N_PAGES, N_DEGRADED, N_TIMED = 8, 2, 3  # of each kind; the latter two of prose
KINDS = ("prose", "technical")
LEAST_CHARS, MOST_CHARS = 1_200, 6_000
MOST_PATH_SHARE = 0.03
COMMON = frozenset(
    (
        "the",
        "of",
        "and",
        "to",
        "a",
        "in",
        "is",
        "for",
        "that",
        "be",
        "with",
        "as",
        "are",
        "this",
        "by",
        "or",
        "an",
        "on",
    )
)
LEAST_COMMON = 0.2  # share of words, in English prose
MOST_MARKS = 0.012  # share of other characters than letters, digits and these
PLAIN = frozenset(" .,;:'()-?!&/%\"\n")
_SAME = {"‘’`´ʼ": "'", "“”„": '"', "–—−‐‑": "-", "·∙●▪◦": "•"}  # noqa: RUF001
_FOLDED = {ord(char): form for chars, form in _SAME.items() for char in chars}

Degrade = Callable[[Image.Image], Image.Image]


def jpeg(page: Image.Image) -> Image.Image:
    """Returns the page as JPEG of quality 30 leaves it."""
    file = io.BytesIO()
    page.save(file, "JPEG", quality=30)
    return Image.open(file).convert("RGB")


def low_dpi(page: Image.Image) -> Image.Image:
    """Returns the page as a scan with 60 dpi."""
    factor = 60 / DPI
    size = round(page.width * factor), round(page.height * factor)
    return page.resize(size, Image.Resampling.BOX)


DEGRADATIONS: dict[str, Degrade] = {
    "JPEG quality 30": jpeg,
    "blur, sigma 1.5 px": lambda page: page.filter(ImageFilter.GaussianBlur(1.5)),
    "skew 2 degrees": lambda page: page.rotate(2, Image.Resampling.BICUBIC, expand=True, fillcolor="white"),
    "upside down": lambda page: page.rotate(180),
    "on its side": lambda page: page.rotate(90, expand=True),
    "60 dpi": low_dpi,
}


class Sample(msgspec.Struct, frozen=True):
    """A page whose text is known."""

    name: str
    page: int
    kind: str
    text: str
    laid_out: str
    pictures: dict[float, Any]  # PIL's, by dpi


class Missed(msgspec.Struct, frozen=True):
    """A page's letters with and without spaces, and how many of them, or of its text laid out, are wrong."""

    name: str
    n: int
    n_letters: int
    wrong: int
    wrong_as_laid_out: int
    wrong_letters: int


def normalised(text: str) -> str:
    """Returns the text as it is compared."""
    folded = unicodedata.normalize("NFKC", text).translate(_FOLDED)
    return re.sub(r"(?<=\w)- ", "-", re.sub(r"\s+", " ", folded)).strip()


def distance(one: str, other: str) -> int:
    """Returns the Levenshtein distance: row by row, each a minimum of three and a running one."""
    letters = np.frombuffer(other.encode("utf-32-le"), np.uint32)
    steps = np.arange(len(letters) + 1)
    row = steps.copy()
    for at, letter in enumerate(one, 1):
        best = np.minimum(row[1:] + 1, row[:-1] + (letters != ord(letter)))
        row = np.minimum.accumulate(np.concatenate(([at], best)) - steps) + steps
    return int(row[-1])


def is_suitable(page: Page) -> bool:
    """True for a page of English prose with nothing beside it."""
    found = page.objects
    if (
        not page.soundness.is_sound
        or page.soundness.n_unmapped
        or found.n_images
        or found.n_shadings
        or found.path_share > MOST_PATH_SHARE
    ):
        return False
    if not LEAST_CHARS <= page.soundness.n_chars <= MOST_CHARS:
        return False
    words = [word.lower().strip(".,;:()") for word in page.words]
    return sum(word in COMMON for word in words) >= LEAST_COMMON * len(words)


def kind_of(text: str) -> str:
    """Returns "prose" or "technical"."""
    plain = normalised(text)
    n_marks = sum(not (char in PLAIN or (char.isalnum() and char.isascii())) for char in plain)
    return "prose" if n_marks <= MOST_MARKS * len(plain) else "technical"


async def sample_of(decoder: Decoder, path: Path, wanted: Sequence[str]) -> Sample | None:
    """Returns the middle one of the first suitable pages of a wanted kind, None if there is none."""
    document = await decoder.open(path.read_bytes())
    suitable = []
    for index in range(min(document.n_pages, 40)):
        page = await decoder.page(document, index)
        if is_suitable(page) and kind_of(page.text) in wanted:
            suitable.append(page)
    if not suitable:
        return None
    page = suitable[len(suitable) // 2]
    pictures = {dpi: await _picture(decoder, document, page.index, dpi) for dpi in DPIS}
    laid_out = plain_text(blocks_of(lines_of(page), in_file_order=True))
    return Sample(path.stem, page.index, kind_of(page.text), page.text, laid_out, pictures)


async def _picture(decoder: Decoder, document: Document, index: int, dpi: float) -> Image.Image:
    image = await decoder.render(document, index, View(dpi=dpi))
    return Image.fromarray(image.pixels)


async def samples(paths: Sequence[Path]) -> dict[str, list[Sample]]:
    """Returns by kind one page a PDF, until there are enough of each."""
    decoder = Decoder(n_children=1)
    found: dict[str, list[Sample]] = {kind: [] for kind in KINDS}
    try:
        for path in paths:
            wanted = [kind for kind in KINDS if len(found[kind]) < N_PAGES]
            try:
                sample = await sample_of(decoder, path, wanted) if wanted else None
            except TurboError as error:
                print(f"{path.name}: {error.message}", file=sys.stderr)
                continue
            if sample is not None:
                found[sample.kind].append(sample)
    finally:
        await decoder.close()
    return found


@asynccontextmanager
async def serving() -> AsyncIterator[LocalEngine]:
    """An engine of this process's own."""
    with tempfile.TemporaryDirectory() as home:
        settings = load_settings({"TURBOV2_HOME": home, "TURBOV2_PRELOAD": "none"})
        engine = LocalEngine(Catalog.load(None, {}), settings)
        await engine.start()
        try:
            yield engine
        finally:
            await engine.stop()


def png(picture: Image.Image) -> bytes:
    """Returns the picture as a file."""
    file = io.BytesIO()
    picture.save(file, "PNG", compress_level=1)
    return file.getvalue()


def without_spaces(text: str) -> str:
    """Returns the text without spaces."""
    return text.replace(" ", "")


async def missed(engine: LocalEngine, sample: Sample, dpi: float, degrade: Degrade | None = None) -> Missed:
    """Returns how what is read of a page differs from what is known of it."""
    picture = sample.pictures[dpi]
    file = png(picture if degrade is None else degrade(picture))
    result = await engine.read(ReadRequest(MODEL, file), Context("bench"))
    read, text = normalised(plain_text(result.blocks)), normalised(sample.text)
    letters = text.replace(" ", "")
    return Missed(
        f"{sample.name}, page {sample.page + 1}",
        len(text),
        len(letters),
        distance(read, text),
        distance(read, normalised(sample.laid_out)),
        distance(read.replace(" ", ""), letters),
    )


def rates(pages: Sequence[Missed]) -> dict[str, Any]:
    """Returns the error rates over all letters of the pages, and each page's: as it is, and as laid out."""
    n = sum(page.n for page in pages)
    by_page = {
        page.name: [round(missed / page.n, 5) for missed in (page.wrong, page.wrong_as_laid_out)]
        for page in pages
    }
    return {
        "pages": len(pages),
        "letters": n,
        "error_rate": round(sum(page.wrong for page in pages) / n, 5),
        "error_rate_as_laid_out": round(sum(page.wrong_as_laid_out for page in pages) / n, 5),
        "error_rate_without_spaces": round(
            sum(page.wrong_letters for page in pages) / sum(page.n_letters for page in pages), 5
        ),
        "median_page": round(statistics.median(rate for rate, _ in by_page.values()), 5),
        "by_page": by_page,
    }


async def speeds(engine: LocalEngine, found: Sequence[Sample]) -> dict[str, Any]:
    """Returns pages per second of both ways, measured in turns, and the median of their ratio by page."""
    from rapidocr import RapidOCR

    library = RapidOCR(params={"Global.log_level": "critical", "Global.return_word_box": True})
    ours_s: list[float] = []
    library_s: list[float] = []
    files = [png(sample.pictures[DPI]) for sample in found]
    for file in [files[0], *files]:  # the first warms both
        began_s = time.perf_counter()
        await engine.read(ReadRequest(MODEL, file), Context("bench"))
        ours_s.append(time.perf_counter() - began_s)
        began_s = time.perf_counter()
        await asyncio.to_thread(library, file)
        library_s.append(time.perf_counter() - began_s)
    ratios = [theirs / ours for ours, theirs in zip(ours_s[1:], library_s[1:], strict=True)]
    return {
        "pages": len(ratios),
        "pages_per_s": round(len(ratios) / sum(ours_s[1:]), 4),
        "library_pages_per_s": round(len(ratios) / sum(library_s[1:]), 4),
        "median_ratio": round(statistics.median(ratios), 3),
        "worst_ratio": round(min(ratios), 3),
    }


async def measure(paths: Sequence[Path]) -> dict[str, Any]:
    """Returns all figures."""
    found = await samples(paths)
    prose = found["prose"]
    results: dict[str, Any] = {"machine": machine.facts(), "degraded_dpi": DPI, "clean": {}, "degraded": {}}
    async with serving() as engine:
        for dpi in DPIS:
            by_kind = {kind: [await missed(engine, each, dpi) for each in found[kind]] for kind in KINDS}
            by_kind["all"] = [page for pages in by_kind.values() for page in pages]
            results["clean"][f"{dpi:g} dpi"] = {kind: rates(pages) for kind, pages in by_kind.items()}
            print(dpi, results["clean"][f"{dpi:g} dpi"], file=sys.stderr)
        results["speed"] = await speeds(engine, prose[:N_TIMED])
        print(results["speed"], file=sys.stderr)
        for name, degrade in DEGRADATIONS.items():
            pages = [await missed(engine, each, DPI, degrade) for each in prose[:N_DEGRADED]]
            results["degraded"][name] = rates(pages)
            print(name, results["degraded"][name]["error_rate"], file=sys.stderr)
        results["reader_bytes"] = max(each.host_bytes for each in engine.residents())
    return results


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.ocr")
    parser.add_argument("pdfs", type=Path, nargs="+")
    given: list[Path] = parser.parse_args().pdfs
    paths = [path for each in given for path in (sorted(each.rglob("*.pdf")) if each.is_dir() else [each])]
    random.Random(SEED).shuffle(paths)  # neighbours are often parts of one manual
    results = asyncio.run(measure(paths))
    machine.RESULTS.joinpath("ocr.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"
    )


if __name__ == "__main__":
    main()
