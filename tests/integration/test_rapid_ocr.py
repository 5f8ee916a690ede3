"""Reading drawn pages with the real networks."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Iterator

import numpy as np
import pytest

pytest.importorskip("rapidocr", reason="reads pages: needs the extra ocr")
pytest.importorskip("onnxruntime", reason="reads pages: needs the extra ocr")

from PIL import Image, ImageFilter

from tests.support.printed import HEADING, LEFT_COLUMN, RIGHT_COLUMN, two_columns, write
from turbov2.backends.rapid_ocr.backend import RapidOcrBackend
from turbov2.catalog import Catalog
from turbov2.catalog.weights.package import locate_installed
from turbov2.errors import LoadFailed, NotCapable
from turbov2.pages.structure import blocks_of
from turbov2.types import ClassifyTask, LoadSpec, ReadPage, ReadTask

LINES = [HEADING, *LEFT_COLUMN, *RIGHT_COLUMN]


@pytest.fixture(scope="module")
def backend() -> Iterator[RapidOcrBackend]:
    spec = Catalog.load(None, {}).resolve("rapidocr")
    if importlib.metadata.version("rapidocr") != spec.weights.version:  # type: ignore[union-attr]
        pytest.skip("another version of rapidocr is installed than the catalogue names")
    installed = locate_installed(spec.weights)  # type: ignore[arg-type]
    assert installed is not None
    loaded = RapidOcrBackend(LoadSpec("rapidocr", "ocr", installed.files, installed.revision))
    yield loaded
    loaded.close()


def read(backend: RapidOcrBackend, page: Image.Image) -> ReadPage:
    """Returns what was read, its lines in reading order."""
    seen = backend.look(np.asarray(page), ReadTask())
    assert isinstance(seen, ReadPage)
    rows = [row for block in blocks_of(seen.lines) for row in block.rows]
    return ReadPage(tuple(line for row in rows for line in row), seen.turned_degrees)


@pytest.mark.parametrize("degrees", [0, 90, 180, 270])
def test_a_page_is_read_however_it_lies(backend: RapidOcrBackend, degrees: int) -> None:
    upright = two_columns()
    page = upright.rotate(degrees, expand=True)  # counter-clockwise, so reading turns it back clockwise
    found = read(backend, page)
    assert found.turned_degrees == degrees
    assert [line.text for line in found.lines] == LINES
    assert all(line.confidence > 0.9 for line in found.lines)
    # The heading's words stand where they were drawn, on the page as it was given.
    word = found.lines[0].words[1]
    assert word.text == "Short"
    box = page.crop((int(word.left), int(word.top), int(word.right) + 1, int(word.bottom) + 1))
    ink = 255 - np.asarray(box.rotate(-degrees, expand=True).convert("L"))
    assert ink.max() > 200
    columns = np.flatnonzero(ink.max(axis=0) > 128)
    assert columns[0] <= 4
    assert columns[-1] >= ink.shape[1] - 5
    assert upright.size == (1000, 460)


def test_words_join_to_their_line_and_lie_within_its_quad(backend: RapidOcrBackend) -> None:
    for line in read(backend, two_columns()).lines:
        assert " ".join(word.text for word in line.words) == line.text
        assert all(one.right <= other.left for one, other in zip(line.words, line.words[1:], strict=False))
        xs, ys = line.quad[::2], line.quad[1::2]
        for word in line.words:
            assert min(xs) - 1 <= word.left < word.right <= max(xs) + 1
            assert min(ys) - 1 <= word.top < word.bottom <= max(ys) + 1


def test_boxes_end_where_print_does(backend: RapidOcrBackend) -> None:
    page = two_columns()
    ink = 255 - np.asarray(page.convert("L"))
    for line in read(backend, page).lines:
        left, top, right, bottom = (round(line.quad[at]) for at in (0, 1, 2, 5))
        assert 0.7 * 28 < bottom - top < 1.3 * 40
        reach = np.flatnonzero(ink[top:bottom].max(axis=0)[max(0, left - 12) : right + 12] > 128)
        assert reach[0] == pytest.approx(12, abs=6)
        assert reach[-1] == pytest.approx(right - left + 12, abs=6)


def test_a_line_up_the_margin_does_not_turn_the_page(backend: RapidOcrBackend) -> None:
    page = Image.new("RGB", (1100, 460), "white")
    page.paste(two_columns(), (100, 0))
    stamp = Image.new("RGB", (400, 50), "white")
    write(stamp, ("Received in May 1923",), 20, 5, 30)
    page.paste(stamp.rotate(90, expand=True), (20, 30))
    found = read(backend, page)
    assert found.turned_degrees == 0
    assert {line.text for line in found.lines} == {*LINES, "Received in May 1923"}


def test_a_long_line_is_read_whole(backend: RapidOcrBackend) -> None:
    text = " ".join(
        f"{word} and" for word in ("paper", "glue", "string", "ink", "wood", "lead", "brass", "oil") * 2
    )
    page = Image.new("RGB", (1700, 120), "white")
    write(page, (text,), 30, 40, 22)
    (line,) = read(backend, page).lines
    assert line.text == text


@pytest.mark.parametrize("degrees", [0, 180])
def test_a_blurred_page_is_turned_only_if_need_be(backend: RapidOcrBackend, degrees: int) -> None:
    page = two_columns().filter(ImageFilter.GaussianBlur(2.5)).rotate(degrees)
    found = read(backend, page)
    assert found.turned_degrees == degrees
    assert [line.text for line in found.lines] == LINES


def test_light_letters_on_dark(backend: RapidOcrBackend) -> None:
    inverted = Image.eval(two_columns(), lambda shade: 255 - shade)
    assert [line.text for line in read(backend, inverted).lines] == LINES


@pytest.mark.parametrize("size", [(1, 1), (3, 700), (700, 3), (40, 40), (5000, 20), (900, 900)])
def test_pages_without_text(backend: RapidOcrBackend, size: tuple[int, int]) -> None:
    assert read(backend, Image.new("RGB", size, "white")) == ReadPage(())


def test_what_it_cannot_do(backend: RapidOcrBackend) -> None:
    with pytest.raises(NotCapable):
        backend.look(np.zeros((9, 9, 3), np.uint8), ClassifyTask())
    with pytest.raises(LoadFailed, match=r"det\.onnx"):
        RapidOcrBackend(LoadSpec("rapidocr", "ocr", {}, ""))
