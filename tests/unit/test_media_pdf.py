"""Words where they stand, text layers judged, pages drawn upright, and what is no whole PDF refused."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.pdfs import pdf, stream
from turbov2.errors import BadMedia, MediaTooLarge
from turbov2.media import MediaLimits, Page, View, words
from turbov2.media.pdf import PdfReader

LIMITS = MediaLimits()
PROSE = "The quick brown fox jumps over the lazy dog and then it sleeps until the evening comes"
LINES = "".join(f"BT /F 10 Tf 50 {700 - 14 * n} Td ({PROSE}) Tj ET\n" for n in range(6))


def opened(file: bytes, password: str | None = None, limits: MediaLimits = LIMITS) -> PdfReader:
    return PdfReader(memoryview(bytearray(file)), password, limits)


def page_of(file: bytes) -> Page:
    return opened(file).page(0)


def test_words_have_boxes_and_lines():
    page = page_of(pdf("BT /F 20 Tf 100 700 Td (Hello wide) Tj 0 -30 Td (world) Tj ET"))
    assert page.words == ["Hello", "wide", "world"]
    assert page.text == "Hello wide\nworld"
    assert page.lines.tolist() == [0, 0, 1]
    left, top, right, bottom = page.boxes[0].tolist()
    assert 99 < left < 103
    assert 792 - 700 - 16 < top < bottom < 793 - 700
    assert page.boxes[1, 0] > right
    assert page.boxes[2, 1] - top == pytest.approx(30, abs=1)
    assert page.soundness.is_sound
    assert page.soundness.n_chars == 14
    assert (page.width, page.height) == (612, 792)


@pytest.mark.parametrize("rotation", [0, 90, 180, 270])
def test_boxes_lie_where_the_ink_is(rotation: int):
    """Whatever the rotation and the crop box, the words' boxes hold all of the page's ink."""
    crop = "/CropBox [40 60 500 760]"
    file = pdf("BT /F 40 Tf 100 600 Td (Ink) Tj ET", page_entries=f"/Rotate {rotation} {crop}")
    reader = opened(file)
    page, image = reader.page(0), reader.image(0, View(mode="gray", dpi=72))
    assert page.rotation_degrees == rotation
    assert image.is_rotated == (rotation != 0)
    assert (page.width, page.height) == ((700, 460) if rotation in (90, 270) else (460, 700))
    assert reader.page_sizes().tolist() == [[page.width, page.height]]
    assert image.pixels.shape == (page.height, page.width)
    rows, columns = np.nonzero(image.pixels < 128)
    left, top, right, bottom = page.boxes[0].tolist()
    assert np.abs(np.subtract((left, top), (columns.min(), rows.min()))).max() < 2
    assert np.abs(np.subtract((right, bottom), (columns.max() + 1, rows.max() + 1))).max() < 2


def test_a_page_is_drawn_in_its_colours():
    content = "1 0 0 rg 0 0 306 792 re f 0 0 1 rg 306 0 306 792 re f"
    image = opened(pdf(content)).image(0, View(dpi=72))
    assert image.pixels.shape == (792, 612, 3)
    assert image.pixels[400, 100].tolist() == [255, 0, 0]
    assert image.pixels[400, 500].tolist() == [0, 0, 255]
    gray = opened(pdf(content)).image(0, View(mode="gray", dpi=144))
    assert gray.pixels.shape == (1584, 1224)
    assert (image.format, image.n_frames) == ("PDF", 1)


def test_letterboxes_and_bounds():
    reader = opened(pdf(LINES))
    boxed = reader.image(0, View.letterbox(384, 512))
    assert boxed.pixels.shape == (512, 384)
    assert reader.image(0, View.within(500)).pixels.shape == (500, 387, 3)
    assert reader.image(0, View(max_width_px=300, mode="gray")).pixels.shape[1] == 300


def test_a_huge_page_is_drawn_within_the_pixel_limit():
    reader = opened(
        pdf("0 0 14400 14400 re f", size=(14_400, 14_400)), limits=MediaLimits(max_pixels=250_000)
    )
    image = reader.image(0, View(mode="gray", dpi=300))
    assert 240_000 < image.pixels.size <= 250_000
    assert image.pixels.shape[0] == image.pixels.shape[1]
    assert image.pixels.max() == 0
    assert image.source_width_px == 60_000


def font_of(*characters: int) -> tuple[bytes, bytes]:
    """Returns a font, and its map, in which A, B, C ... mean these code points."""
    units = [chr(code).encode("utf-16-be").hex() for code in characters]
    pairs = " ".join(f"<{0x41 + n:02X}> <{unit}>" for n, unit in enumerate(units))
    cmap = (
        f"begincmap 1 begincodespacerange <00> <FF> endcodespacerange {len(characters)} beginbfchar {pairs} "
    )
    font = b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica /ToUnicode 11 0 R >>"
    return font, stream((cmap + "endbfchar endcmap").encode())


def own_font(content: str, *characters: int) -> bytes:
    """Returns a page written in that font alone."""
    return pdf(content, objects=font_of(*characters)).replace(b"/F 3 0 R", b"/F 10 0 R")


def rows(*texts: str) -> str:
    """Returns a content stream with a line for each text."""
    return "".join(f"BT /F 9 Tf 50 {700 - 14 * n} Td ({text}) Tj ET\n" for n, text in enumerate(texts))


def test_ligatures_come_apart_and_hyphens_stay():
    page = page_of(own_font("BT /F 10 Tf 50 700 Td (ABC) Tj ET", 0xFB01, 0x6E, 0x2D))
    assert page.words == ["fin-"]


def test_a_word_broken_at_the_end_of_a_line_is_two():
    """PDFium joins its parts; the second stands in the next line."""
    page = page_of(pdf("BT /F 10 Tf 14 TL 50 700 Td (some more calcula-) Tj T* (tions here) Tj ET"))
    assert page.words == ["some", "more", "calcula-", "tions", "here"]
    assert page.lines.tolist() == [0, 0, 0, 1, 1]
    assert page.boxes[3, 1] > page.boxes[2, 3]


@pytest.mark.parametrize(
    ("characters", "word"),
    [
        ((0x1C, 0x6E, 0x64), "find"),
        ((0x65, 0x1B, 0x65), "effe"),
        ((0x6F, 0x0B, 0x65), "offe"),
        ((0x0E, 0x61, 0x0F), "\ufffda\ufffd"),  # brackets, in another font
        ((0x1D465, 0x3D, 0x1D466), "𝑥=𝑦"),
        ((0xF761, 0xF731, 0x62), "a1b"),
    ],
)
def test_what_has_a_plain_equivalent_is_that(characters: tuple[int, ...], word: str):
    page = page_of(own_font("BT /F 10 Tf 50 700 Td (ABC) Tj ET", *characters))
    assert page.words == [word]
    assert page.soundness.verdict == ("unmapped" if "\ufffd" in word else "sound")


@pytest.mark.parametrize(
    ("verdict", "file"),
    [
        ("sound", pdf(LINES)),
        ("none", pdf("")),
        ("none", pdf("1 0 0 rg 0 0 306 792 re f")),
        ("unmapped", own_font("BT /F 10 Tf 50 700 Td (ABABAB AAA) Tj ET", 0xE000, 0xE001)),
        ("unmapped", own_font("BT /F 10 Tf 50 700 Td (ABABAB AAA) Tj ET", 0xFFFD, 0x0005)),
        ("hidden", pdf("3 Tr " + LINES)),
        ("sound", pdf(LINES + "3 Tr BT /F 10 Tf 50 100 Td (a few hidden words) Tj ET")),
        ("scattered", pdf(rows(*[f"{n} {' '.join(PROSE)}" for n in range(9)]))),
        ("garbled", pdf(LINES.translate(str.maketrans("aeiouy", "zxkqzx")))),
        ("garbled", pdf(rows(*[f"{n} #$%&'*+,/:;<=>?@" for n in range(20)]))),
        ("sound", pdf(rows(*[f"Chapter {n} {'.' * 80} {n}" for n in range(30)]))),
    ],
)
def test_text_layers_are_judged(verdict: str, file: bytes):
    assert page_of(file).soundness.verdict == verdict


def picture(entries: str = "/Width 2 /Height 2") -> tuple[bytes, ...]:
    body = bytes([0, 85, 170, 255])
    return (
        stream(body, f"/Type /XObject /Subtype /Image {entries} /ColorSpace /DeviceGray /BitsPerComponent 8"),
    )


def test_a_scan_with_a_stamp_is_no_text():
    content = "q 612 0 0 792 0 0 cm /I Do Q BT /F 9 Tf 50 20 Td (Downloaded on Monday) Tj ET"
    page = page_of(pdf(content, resources="/XObject << /I 10 0 R >>", objects=picture()))
    assert page.soundness.verdict == "scan"
    assert page.objects.image_share == 1
    under_text = content.replace("BT", LINES + "BT")
    page = page_of(pdf(under_text, resources="/XObject << /I 10 0 R >>", objects=picture()))
    assert page.soundness.verdict == "sound"
    assert page.soundness.text_share > 0.02


def test_objects_are_counted_and_measured():
    content = (
        "q 306 0 0 396 0 0 cm /I Do Q q 306 0 0 396 0 0 cm /I Do Q 0 0 612 792 re f 306 396 306 198 re f "
    )
    page = page_of(pdf(content + LINES, resources="/XObject << /I 10 0 R >>", objects=picture()))
    found = page.objects
    assert (found.n_images, found.n_paths, found.n_texts) == (2, 2, 6)
    assert found.image_share == pytest.approx(0.25, abs=0.01)
    assert found.path_share == pytest.approx(0.125, abs=0.01)
    assert found.is_complete


def test_forms_are_unfolded_where_they_lie():
    form = stream(
        b"q 100 0 0 100 0 0 cm /I Do Q",
        "/Type /XObject /Subtype /Form /BBox [0 0 100 100] /Matrix [2 0 0 2 0 0]"
        " /Resources << /XObject << /I 11 0 R >> >>",
    )
    content = "q 1.53 0 0 1.98 306 396 cm /X Do Q"
    page = page_of(pdf(content, resources="/XObject << /X 10 0 R >>", objects=(form, *picture())))
    assert page.objects.n_images == 1
    assert page.objects.image_share == pytest.approx(0.25, abs=0.01)


def test_text_off_the_page_is_left_out():
    page = page_of(pdf("BT /F 10 Tf 50 700 Td (seen) Tj 0 5000 Td (unseen) Tj ET"))
    assert page.words == ["seen"]
    assert page.soundness.n_outside == 6


def test_a_locked_pdf_needs_its_password():
    file = pdf(LINES, password="open sesame")
    with pytest.raises(BadMedia, match="encrypted; send its password") as raised:
        opened(file)
    assert raised.value.param == "password"
    with pytest.raises(BadMedia, match="the password does not open the PDF"):
        opened(file, "wrong")
    reader = opened(file, "open sesame")
    assert reader.is_encrypted
    assert reader.page(0).soundness.is_sound
    assert not opened(pdf(LINES)).is_encrypted


def test_a_pdf_without_pages_is_refused():
    with pytest.raises(BadMedia, match="no pages|broken"):
        opened(pdf())


def test_too_many_pages_are_refused():
    with pytest.raises(MediaTooLarge, match="4 pages, the limit is 3; send it in parts"):
        opened(pdf(*[""] * 4), limits=MediaLimits(max_pages=3))
    assert opened(pdf(*[""] * 3), limits=MediaLimits(max_pages=3)).n_pages == 3


@pytest.mark.parametrize("share", [0.05, 0.5, 0.9])
def test_a_pdf_that_was_cut_is_refused(share: float):
    file = pdf(*[LINES] * 20)
    with pytest.raises(BadMedia, match="cut short"):
        opened(file[: int(len(file) * share)])


def test_a_linearized_pdf_that_was_cut_is_refused():
    """Such a file has an end in its middle, so that its first page shows while the rest is on its way."""
    whole = pdf(LINES, LINES)
    marked = whole.replace(
        b"%PDF-1.5\n", b"%%PDF-1.5\n9 0 obj\n<< /Linearized 1 /L %d >>\nendobj\n" % (len(whole) * 2)
    )
    with pytest.raises(BadMedia, match="cut short"):
        opened(marked)


@pytest.mark.parametrize("body", [b"", b"\0" * 500, bytes(range(256)) * 10])
def test_a_broken_pdf_is_refused(body: bytes):
    with pytest.raises(BadMedia, match="broken"):
        opened(b"%PDF-1.7\n" + body + b"\nstartxref\n0\n%%EOF\n")


def test_flipped_bytes_are_pages_or_errors_of_ours():
    good, rng = pdf(LINES, LINES), np.random.default_rng(3)
    for _ in range(60):
        bad = bytearray(good)
        for at in rng.integers(9, len(bad) - 40, 5):
            bad[at] = rng.integers(256)
        try:
            reader = opened(bytes(bad))
            for index in range(reader.n_pages):
                reader.page(index)
                reader.image(index, View.within(100))
        except (BadMedia, MediaTooLarge):
            continue


class TestAccents:
    """What TeX's old fonts print as two characters, an accent over a letter."""

    @staticmethod
    def read(text: str, lefts: list[float]) -> str:
        codes = np.array([ord(letter) for letter in text])
        boxes = np.array([[left, 0, left + 5, 8] for left in lefts], np.float64)
        kept = words._accented(codes, boxes)
        return "".join(map(chr, codes[kept]))

    def test_over_a_letter_they_join_it(self) -> None:
        assert self.read("Num´e", [0, 6, 12, 18, 18.5]) == "Numé"
        assert self.read("c¸a", [0, 0.5, 6]) == "ça"
        assert self.read("¨ı", [0, 0.5]) == "ï"

    def test_beside_a_letter_they_stay(self) -> None:
        assert self.read("`e`", [0, 6, 12]) == "`e`"

    def test_over_what_takes_none_they_stay(self) -> None:
        assert self.read("´7", [0, 0.5]) == "´7"
