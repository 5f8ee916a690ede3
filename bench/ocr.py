"""`python -m bench.ocr PDFS`: how well and how fast `rapidocr` reads, on pages whose text is known.

PDFS are files, or folders searched through. A page is taken of each born-digital PDF: English, a sound text
layer, no pictures, hardly any drawing; the middle one of those. It is rendered and read as a picture, and
what comes out is compared with its text layer. The order of lines is the reader's. Pages whose text is
letters, digits and common marks count as prose; those with formulas or code as technical. Writes
`bench/results/ocr.json`.

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
from turbov2.errors import TurboError
from turbov2.media import Decoder, Document, Page, View
from turbov2.settings import load_settings
from turbov2.types import Context, ReadRequest

MODEL = "rapidocr"
DPI = 150.0
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
    picture: Any  # PIL's


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
    picture = await _picture(decoder, document, page.index)
    return Sample(path.stem, page.index, kind_of(page.text), page.text, picture)


async def _picture(decoder: Decoder, document: Document, index: int) -> Image.Image:
    image = await decoder.render(document, index, View(dpi=DPI))
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


async def errors(engine: LocalEngine, found: Sequence[Sample], degrade: Degrade | None) -> dict[str, Any]:
    """Returns the error rates over all letters of the samples, and each page's."""
    wrong = wrong_letters = n = n_letters = 0
    rates: dict[str, float] = {}
    for sample in found:
        picture = sample.picture if degrade is None else degrade(sample.picture)
        result = await engine.read(ReadRequest(MODEL, png(picture)), Context("bench"))
        read, text = normalised("\n".join(line.text for line in result.lines)), normalised(sample.text)
        missed = distance(read, text)
        rates[f"{sample.name}, page {sample.page + 1}"] = round(missed / len(text), 5)
        wrong, n = wrong + missed, n + len(text)
        read, text = read.replace(" ", ""), text.replace(" ", "")
        wrong_letters, n_letters = wrong_letters + distance(read, text), n_letters + len(text)
    return {
        "pages": len(rates),
        "letters": n,
        "error_rate": round(wrong / n, 5),
        "error_rate_without_spaces": round(wrong_letters / n_letters, 5),
        "median_page": round(statistics.median(rates.values()), 5),
        "by_page": rates,
    }


async def speeds(engine: LocalEngine, found: Sequence[Sample]) -> dict[str, Any]:
    """Returns pages per second of both ways, measured in turns, and the median of their ratio by page."""
    from rapidocr import RapidOCR

    library = RapidOCR(params={"Global.log_level": "critical", "Global.return_word_box": True})
    ours_s: list[float] = []
    library_s: list[float] = []
    files = [png(sample.picture) for sample in found]
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
    results: dict[str, Any] = {"machine": machine.facts(), "dpi": DPI, "clean": {}, "degraded": {}}
    async with serving() as engine:
        for kind in KINDS:
            results["clean"][kind] = await errors(engine, found[kind], None)
            print(kind, results["clean"][kind], file=sys.stderr)
        results["speed"] = await speeds(engine, prose[:N_TIMED])
        print(results["speed"], file=sys.stderr)
        for name, degrade in DEGRADATIONS.items():
            results["degraded"][name] = await errors(engine, prose[:N_DEGRADED], degrade)
            print(name, results["degraded"][name]["error_rate"], file=sys.stderr)
        results["reader_bytes"] = max(each.host_bytes for each in engine.residents())
    return results


def main() -> None:
    """Measures, and writes the results."""
    parser = argparse.ArgumentParser(prog="python -m bench.ocr")
    parser.add_argument("pdfs", type=Path, nargs="+")
    given: list[Path] = parser.parse_args().pdfs
    paths = [path for each in given for path in (sorted(each.rglob("*.pdf")) if each.is_dir() else [each])]
    results = asyncio.run(measure(paths))
    machine.RESULTS.joinpath("ocr.json").write_bytes(
        msgspec.json.format(msgspec.json.encode(results), indent=1) + b"\n"
    )


if __name__ == "__main__":
    main()
