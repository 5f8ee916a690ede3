"""What a file is, how many pictures it has, which pages and how large: everything that decodes nothing."""

from __future__ import annotations

import contextlib
import gzip
import io
import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.support.pdfs import pdf
from tests.support.pictures import gif, halves, packed
from turbov2.errors import BadMedia, InvalidRequest, RequestError, UnsupportedMedia
from turbov2.media import MediaLimits, View, page_indices
from turbov2.media.counting import n_gif_frames, n_tiff_pages
from turbov2.media.formats import HEAD_BYTES, IMAGE_PLUGINS, sniff
from turbov2.media.samples import to_eight_bits
from turbov2.media.sandbox import _MACHINES, _filter


@pytest.mark.parametrize("name", IMAGE_PLUGINS)
def test_images_are_known_by_their_first_bytes(name: str):
    assert sniff(packed(halves(), name)[:HEAD_BYTES]) == name


def test_a_pdf_may_begin_late():
    assert sniff(pdf("")[:HEAD_BYTES]) == "PDF"
    assert sniff((b"\r\n" * 100 + pdf(""))[:HEAD_BYTES]) == "PDF"


REFUSED = {
    "SVG": b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
    "SVG ": b"\xef\xbb\xbf<!DOCTYPE svg PUBLIC '-//W3C//DTD SVG 1.1//EN' 'x'>\n<svg>",
    "HTML": b"<!doctype html><html><body>hello",
    "XML": b"<note/>",
    "JPEG 2000": b"\x00\x00\x00\x0cjP  \r\n\x87\n",
    "Photoshop": b"8BPS\0\1",
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0",
    "icon": b"\0\0\1\0\1\0\x10\x10",
    "HEIC": struct.pack(">I4s4sI", 24, b"ftyp", b"heic", 0) + b"mif1heic",
    "MP4": struct.pack(">I4s4sI", 20, b"ftyp", b"isom", 0) + b"mp41",
    "WAV": b"RIFF\x24\0\0\0WAVEfmt ",
    "ZIP": b"PK\x03\x04\x14\0",
    "gzip": gzip.compress(b"<svg/>"),
    "PNM": b"P6\n2 2\n255\n",
    "plain text": "Grüße, this is no picture.\n".encode() * 50,
    "BMP": b"BMW and other cars",
    "unknown": bytes(range(256)),
}


@pytest.mark.parametrize("seen", REFUSED)
def test_other_formats_are_refused_by_what_they_are(seen: str):
    with pytest.raises(UnsupportedMedia, match="is not read here; send PNG, JPEG, WebP") as raised:
        sniff(REFUSED[seen][:HEAD_BYTES])
    assert seen.strip() in raised.value.message or seen == "BMP"


def test_an_empty_file_is_said_to_be_empty():
    with pytest.raises(BadMedia, match="0 bytes"):
        sniff(b"")


@given(st.binary(max_size=64))
def test_any_start_is_a_format_or_refused(head: bytes):
    with contextlib.suppress(RequestError):
        assert sniff(head) in (*IMAGE_PLUGINS, "PDF")


def test_gif_frames_are_counted_up_to_the_limit():
    assert [n_gif_frames(memoryview(gif(n)), 50) for n in (1, 2, 50, 51, 1000)] == [1, 2, 50, 51, 51]
    for cut in range(13, 200):  # wherever a file ends, counting does
        assert n_gif_frames(memoryview(gif(3)[:cut]), 50) <= 3


@pytest.mark.parametrize("is_big", [False, True])
@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_pages_are_counted_up_to_the_limit(order: str, is_big: bool):
    n_pages = 7
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "H", 43 if is_big else 42)
    head += struct.pack(order + "HHQ", 8, 0, 16) if is_big else struct.pack(order + "I", 8)
    file, entry = bytearray(head), bytes(20 if is_big else 12)
    for page in range(n_pages):
        body = struct.pack(order + ("Q" if is_big else "H"), 1) + entry
        following = len(file) + len(body) + (8 if is_big else 4) if page < n_pages - 1 else 0
        file += body + struct.pack(order + ("Q" if is_big else "I"), following)
    assert n_tiff_pages(memoryview(bytes(file)), 50) == n_pages
    assert n_tiff_pages(memoryview(bytes(file)), 5) == 6
    with pytest.raises(struct.error):
        n_tiff_pages(memoryview(bytes(file))[:-20], 50)


def test_a_tiff_that_leads_back_into_itself_ends():
    file = b"II*\0" + struct.pack("<I", 8) + struct.pack("<H", 0) + struct.pack("<I", 8)
    assert n_tiff_pages(memoryview(file), 50) == 1


def test_a_tiff_of_pillow_has_its_pages():
    file = io.BytesIO()
    pages = [Image.new("L", (4, 4), n) for n in range(5)]
    pages[0].save(file, "TIFF", save_all=True, append_images=pages[1:])
    assert n_tiff_pages(memoryview(file.getvalue()), 50) == 5


@pytest.mark.parametrize(
    ("text", "pages"),
    [
        ("", [0, 1, 2, 3, 4, 5, 6, 7]),
        ("1-3,7", [0, 1, 2, 6]),
        (" 7 , 1 - 3 ", [0, 1, 2, 6]),
        ("2", [1]),
        ("7-", [6, 7]),
        ("-2", [0, 1]),
        ("2-4,3-5", [1, 2, 3, 4]),
    ],
)
def test_page_ranges(text: str, pages: list[int]):
    assert page_indices(text, 8) == pages


@pytest.mark.parametrize(
    "text", ["0", "9", "3-2", "1-9", "a", "1;2", ",", "1,,2", "-", "1 3", "1-2-3", "9" * 99]
)
def test_what_is_no_page_range_is_the_callers_mistake(text: str):
    with pytest.raises(InvalidRequest) as raised:
        page_indices(text, 8)
    assert raised.value.param == "pages"


def test_views_fit_into_their_box():
    assert View().scale(10, 10) == 1
    assert View.within(500).scale(1000, 2000) == 0.25
    assert View.within(500).scale(100, 200) == 1
    assert View(max_width_px=50).scale(100, 1000) == 0.5
    assert View.letterbox(384, 512).scale(96, 64) == 4
    assert View.letterbox(384, 512).scale(1000, 1400) == 512 / 1400


@pytest.mark.parametrize(
    ("samples", "pixels"),
    [
        (np.array([0, 257, 128 * 257, 65_535], np.uint16), [0, 1, 128, 255]),
        (np.array([0, 257, 128 * 257, 65_535], ">u2"), [0, 1, 128, 255]),
        (np.array([-5, 0, 128, 255], np.int32), [0, 0, 128, 255]),
        (np.array([0, 257, 65_535], np.int32), [0, 1, 255]),
        (np.array([0, 1 << 30, (1 << 31) - 1], np.int32), [0, 128, 255]),
        (np.array([0, 0.5, 1], np.float32), [0, 128, 255]),
        (np.array([0, 128, 255], np.float32), [0, 128, 255]),
        (np.array([-1, 0, 1], np.float32), [0, 128, 255]),
        (np.array([np.nan, 0, 1, np.inf], np.float32), [0, 0, 255, 255]),
        (np.array([np.nan, np.nan], np.float32), [0, 0]),
        (np.array([7, 7], np.float32), [7, 7]),
    ],
)
def test_samples_are_scaled_and_not_cut_off(samples: np.ndarray, pixels: list[int]):
    assert to_eight_bits(samples.reshape(1, -1)).tolist() == [pixels]


def test_memory_follows_from_the_limits():
    small, large = MediaLimits(max_pixels=1), MediaLimits()
    assert 256 << 20 < small.address_space_bytes < 1 << 30 < large.address_space_bytes < 3 << 30


@pytest.mark.parametrize("machine", _MACHINES)
def test_the_filter_jumps_to_its_own_ends(machine: str):
    audit, forbidden = _MACHINES[machine]
    steps = [struct.unpack("HBBI", step) for step in _steps(_filter(audit, forbidden))]

    def verdict(call: int, on: int) -> int:
        at, word = 0, 0
        while True:
            code, if_true, if_false, value = steps[at]
            at += 1
            match code:
                case 0x20:
                    word = {0: call, 4: on}[value]
                case 0x06:
                    return value
                case 0x15 | 0x35:
                    at += if_true if (word == value if code == 0x15 else word >= value) else if_false

    assert {verdict(call, audit) for call in forbidden} == {0x00050001}
    allowed = set(range(460)) - set(forbidden)
    assert {verdict(call, audit) for call in allowed} == {0x7FFF0000}
    assert verdict(0x40000000, audit) == 0x00050001
    assert verdict(0, audit + 1) == 0x80000000


def _steps(program: bytes) -> list[bytes]:
    return [program[at : at + 8] for at in range(0, len(program), 8)]
