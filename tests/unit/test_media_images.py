"""Every format and mode becomes the colours that were put in, upright and on white."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.support.pictures import BLACK, BLUE, HEIGHT, RED, WIDTH, gif, halves, packed, png_bomb, png_chunk
from turbov2.errors import BadMedia, MediaTooLarge, UnsupportedMedia
from turbov2.media import Image as Decoded
from turbov2.media import MediaLimits, View
from turbov2.media.formats import HEAD_BYTES, sniff
from turbov2.media.images import ImageFileReader

LIMITS = MediaLimits()
WHITE = (255, 255, 255)
LEFT, RIGHT = (HEIGHT // 2, WIDTH // 4), (HEIGHT // 2, 3 * WIDTH // 4)


def decoded(file: bytes, view: View | None = None, limits: MediaLimits = LIMITS, index: int = 0) -> Decoded:
    reader = ImageFileReader(memoryview(file), sniff(file[:HEAD_BYTES]), limits)
    return reader.image(index, view or View())


def colours(image: Decoded) -> tuple[Any, Any]:
    """Returns the colours in the middle of the left and the right half."""
    return tuple(tuple(np.atleast_1d(image.pixels[at]).tolist()) for at in (LEFT, RIGHT))  # type: ignore[return-value]


def assert_close(got: Any, wanted: Any, within: int) -> None:
    assert np.abs(np.subtract(got, wanted)).max() <= within, (got, wanted)


@pytest.mark.parametrize(
    ("name", "options", "within"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "jpeg"}, 4),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 90}, 12),
        ("JPEG", {"quality": 95}, 4),
        ("JPEG", {"quality": 95, "progressive": True}, 4),
        ("AVIF", {"quality": 95}, 8),
        ("GIF", {}, 0),
    ],
)
def test_each_format_keeps_its_colours(name: str, options: dict[str, Any], within: int):
    image = decoded(packed(halves(), name, **options))
    assert image.pixels.shape == (HEIGHT, WIDTH, 3)
    assert image.pixels.dtype == np.uint8
    assert_close(colours(image), (RED, BLUE), within)
    assert (image.format, image.source_width_px, image.source_height_px) == (name, WIDTH, HEIGHT)
    assert (image.n_frames, image.is_rotated) == (1, False)


@pytest.mark.parametrize(
    ("mode", "left", "right", "name", "wanted"),
    [
        ("1", 0, 1, "PNG", (BLACK, WHITE)),
        ("1", 0, 1, "BMP", (BLACK, WHITE)),
        ("1", 0, 1, "TIFF", (BLACK, WHITE)),
        ("L", 10, 200, "PNG", ((10,) * 3, (200,) * 3)),
        ("LA", (10, 255), (10, 0), "PNG", ((10,) * 3, WHITE)),
        ("RGBA", (*RED, 255), (*RED, 0), "PNG", (RED, WHITE)),
        ("RGBA", (*RED, 255), (*BLUE, 0), "WEBP", (RED, WHITE)),
        ("RGBA", (*RED, 255), (*RED, 0), "TIFF", (RED, WHITE)),
        ("RGBA", (0, 0, 0, 128), (*BLUE, 255), "PNG", ((127,) * 3, BLUE)),
        ("I;16", 0, 65_535, "PNG", (BLACK, WHITE)),
        ("I;16", 257, 128 * 257, "PNG", ((1,) * 3, (128,) * 3)),
        ("I;16", 257, 128 * 257, "TIFF", ((1,) * 3, (128,) * 3)),
        ("F", 0.0, 1.0, "TIFF", (BLACK, WHITE)),
        ("I", 257, 65_535, "TIFF", ((1,) * 3, WHITE)),
        ("CMYK", (0, 255, 255, 0), (255, 255, 0, 0), "TIFF", (RED, BLUE)),
        ("CMYK", (0, 255, 255, 0), (255, 255, 0, 0), "JPEG", (RED, BLUE)),
    ],
)
def test_each_mode_becomes_colours(mode: str, left: Any, right: Any, name: str, wanted: Any):
    options = {"lossless": True} if name == "WEBP" else {}
    image = decoded(packed(halves(left, right, mode), name, **options))
    assert_close(colours(image), wanted, 4 if name == "JPEG" else 1)
    gray = decoded(packed(halves(left, right, mode), name, **options), View(mode="gray"))
    assert gray.pixels.shape == (HEIGHT, WIDTH)
    luma = [(299 * red + 587 * green + 114 * blue + 500) // 1000 for red, green, blue in wanted]
    assert_close([gray.pixels[LEFT], gray.pixels[RIGHT]], luma, 4 if name == "JPEG" else 1)


def test_sixteen_bit_colours_are_scaled():
    rows = b"".join(b"\0" + struct.pack(">HHH", 65_535, 128 * 257, 257) * 2 for _ in range(2))
    chunks = (
        png_chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 2, 16, 2, 0, 0, 0)),
        png_chunk(b"IDAT", zlib.compress(rows)),
        png_chunk(b"IEND", b""),
    )
    image = decoded(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    assert image.pixels[0, 0].tolist() == [255, 128, 1]


def test_palettes_with_and_without_transparency():
    picture = halves().quantize(4)
    assert colours(decoded(packed(picture, "PNG"))) == (RED, BLUE)
    blue = picture.getpixel((WIDTH - 1, 0))
    assert colours(decoded(packed(picture, "PNG", transparency=blue))) == (RED, WHITE)
    assert colours(decoded(packed(picture, "GIF", transparency=blue))) == (RED, WHITE)


def test_a_transparent_colour_is_white():
    assert colours(decoded(packed(halves(), "PNG", transparency=BLUE))) == (RED, WHITE)
    assert colours(decoded(packed(halves(9, 99, "L"), "PNG", transparency=99)))[1] == WHITE


def test_cmyk_is_inverted_only_where_adobe_wrote_it():
    file = packed(halves((0, 255, 255, 0), (255, 255, 0, 0), "CMYK"), "JPEG", quality=95)
    at = file.index(b"\xff\xee")  # Adobe's marker
    plain = file[:at] + file[at + 2 + int.from_bytes(file[at + 2 : at + 4], "big") :]
    assert b"Adobe" in file
    assert b"Adobe" not in plain
    assert_close(colours(decoded(file)), (RED, BLUE), 4)
    # Taken as it stands: no ink where Adobe's has full ink, so both halves are turned round.
    assert_close(colours(decoded(plain)), (BLACK, BLACK), 4)


def test_cielab_is_refused():
    with pytest.raises(UnsupportedMedia, match="CIELAB"):
        decoded(packed(Image.new("LAB", (8, 8)), "TIFF"))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
@pytest.mark.parametrize("view", [View(), View.within(32), View.letterbox(40, 40, "rgb")], ids=str)
def test_exif_orientation_is_applied(orientation: int, name: str, view: View):
    upright = Image.new("RGB", (96, 64), WHITE)
    upright.paste(RED, (0, 0, 48, 32))  # top left
    undo = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}  # how a camera held otherwise stores it
    stored = upright.transpose(Image.Transpose(undo[orientation])) if orientation > 1 else upright
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decoded(packed(stored, name, exif=exif, quality=95), view)
    assert image.is_rotated == (orientation > 1)
    assert (image.source_width_px, image.source_height_px) == (96, 64)
    pixels = image.pixels
    if view.is_letterboxed:
        assert pixels.shape == (40, 40, 3)
        assert pixels[:5].min() > 200
        pixels = pixels[7:33]
    assert abs(pixels.shape[0] / pixels.shape[1] - 64 / 96) < 0.05
    red = (pixels[..., 0] > 200) & (pixels[..., 1] < 60)
    rows, columns = np.nonzero(red)
    assert rows.mean() < len(pixels) * 0.35
    assert columns.mean() < pixels.shape[1] * 0.35
    assert 0.15 < red.mean() < 0.3


def test_a_broken_exif_block_spoils_nothing():
    file = packed(halves(), "JPEG", exif=b"Exif\0\0MM\0*\xff\xff\xff\xff" + b"\xff" * 40, quality=95)
    image = decoded(file)
    assert not image.is_rotated
    assert_close(colours(image), (RED, BLUE), 4)


def test_large_jpegs_are_decoded_small():
    file = packed(halves().resize((960, 640), Image.Resampling.NEAREST), "JPEG", quality=95)
    image = decoded(file, View.within(96))
    assert image.pixels.shape == (64, 96, 3)
    assert (image.source_width_px, image.source_height_px) == (960, 640)
    assert_close(colours(image), (RED, BLUE), 4)


def test_a_letterbox_has_exactly_its_size_and_white_margins():
    image = decoded(packed(halves(0, 0, "L"), "PNG"), View.letterbox(384, 512))
    assert image.pixels.shape == (512, 384)
    assert set(np.unique(image.pixels[:128])) == {255}
    assert set(np.unique(image.pixels[384:])) == {255}
    assert image.pixels[128:384].max() == 0


def test_one_reader_decodes_as_often_as_asked():
    for name in ("JPEG", "WEBP", "TIFF", "AVIF", "GIF"):
        reader = ImageFileReader(memoryview(packed(halves(), name)), name, LIMITS)
        small, full = reader.image(0, View.within(12, "gray")), reader.image(0, View())
        assert (small.pixels.shape, full.pixels.shape) == ((8, 12), (HEIGHT, WIDTH, 3))
        assert (reader.page(0).width, reader.page(0).height) == (WIDTH, HEIGHT)
        assert reader.page_sizes().tolist() == [[WIDTH, HEIGHT]]


def test_pages_of_a_tiff():
    pages = [Image.new("L", (10 + n, 20), n * 40) for n in range(5)]
    file = packed(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    reader = ImageFileReader(memoryview(file), "TIFF", LIMITS)
    assert reader.page_sizes().tolist() == [[10 + n, 20] for n in range(5)]
    for n in (3, 0, 4, 4):
        image = reader.image(n, View(mode="gray"))
        assert (image.pixels.shape, image.pixels[0, 0], image.n_frames) == ((20, 10 + n), n * 40, 5)
    page = reader.page(2)
    assert (page.width, page.height, page.soundness.verdict) == (12, 20, "none")


def test_the_first_frame_of_what_moves():
    frames = [halves(), halves(BLUE, RED)]
    for name in ("GIF", "WEBP", "PNG", "AVIF"):
        file = packed(frames[0], name, save_all=True, append_images=frames[1:])
        image = decoded(file)
        assert image.n_frames == 2
        assert_close(colours(image), (RED, BLUE), 12)


@pytest.mark.parametrize("name", ["GIF", "WEBP", "PNG"])
def test_too_many_frames_are_refused(name: str):
    few = MediaLimits(max_frames=2)
    three = [halves(RED, (0, n, 0)) for n in (0, 90, 200)]
    file = packed(three[0], name, save_all=True, append_images=three[1:])
    with pytest.raises(MediaTooLarge, match="the limit is 2; send one frame"):
        decoded(file, limits=few)
    assert decoded(gif(2), limits=few).n_frames == 2


def test_too_many_pages_are_refused():
    pages = [Image.new("L", (4, 4), n) for n in range(4)]
    file = packed(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    with pytest.raises(MediaTooLarge, match="more than 3 pages, the limit is 3; send it in parts"):
        decoded(file, limits=MediaLimits(max_pages=3))


@pytest.mark.parametrize("name", ["PNG", "JPEG", "WEBP", "GIF", "TIFF", "BMP", "AVIF"])
def test_too_many_pixels_are_refused_by_the_header(name: str):
    with pytest.raises(MediaTooLarge, match="pixels"):
        decoded(packed(halves(), name), limits=MediaLimits(max_pixels=WIDTH * HEIGHT - 1))
    assert decoded(packed(halves(), name), limits=MediaLimits(max_pixels=WIDTH * HEIGHT)).format == name


def test_a_bomb_is_named_with_its_size():
    with pytest.raises(MediaTooLarge, match=r"50000 x 50000 \(2500000000 pixels\), the limit is 80000000"):
        decoded(png_bomb(50_000, 50_000))


CUT = [
    ("PNG", {}),
    ("JPEG", {"quality": 95}),
    ("JPEG", {"quality": 95, "progressive": True}),
    ("WEBP", {"quality": 90}),
    ("WEBP", {"lossless": True}),
    ("GIF", {}),
    ("BMP", {}),
    ("TIFF", {}),
    ("TIFF", {"compression": "tiff_lzw"}),
    ("TIFF", {"compression": "group4"}),
    ("AVIF", {}),
]


@pytest.mark.parametrize(("name", "options"), CUT)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_was_cut_is_never_a_picture(name: str, options: dict[str, Any], share: float):
    noise = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    picture = Image.fromarray(noise)
    if options.get("compression") == "group4":
        picture = picture.convert("1")
    elif name == "GIF":
        picture = picture.quantize(64)
    file = packed(picture, name, **options)
    with pytest.raises(BadMedia, match=f"the {name} is broken or cut short") as raised:
        decoded(file[: int(len(file) * share)])
    assert "0x" not in raised.value.message


def test_noise_behind_a_good_start_is_bad_media():
    noise = np.random.default_rng(1).bytes(4000)
    for name in ("PNG", "JPEG", "WEBP", "GIF", "TIFF", "AVIF"):
        file = packed(halves(), name)
        with pytest.raises((BadMedia, MediaTooLarge)):
            decoded(file[:32] + noise)


def test_files_with_flipped_bytes_are_pictures_or_errors_of_ours():
    rng = np.random.default_rng(2)
    for name, options in CUT[:-1]:
        picture = halves().convert("1") if options.get("compression") == "group4" else halves()
        good = packed(picture, name, **options)
        for _ in range(60):
            bad = bytearray(good)
            for at in rng.integers(HEAD_BYTES // 64, len(bad), 3):
                bad[at] = rng.integers(256)
            try:
                decoded(bytes(bad))
            except (BadMedia, MediaTooLarge, UnsupportedMedia):
                continue


def test_a_cut_fax_page_is_no_page():
    """The decoder of fax data fills up what is missing; the strip's length gives it away."""
    fax = packed(
        Image.fromarray(np.random.default_rng(0).integers(0, 2, (64, 64)) > 0), "TIFF", compression="group4"
    )
    with Image.open(io.BytesIO(fax)) as opened:
        offset, length = opened.tag_v2[273][0], opened.tag_v2[279][0]  # type: ignore[attr-defined]
    strip = fax[offset : offset + length]
    entries = [
        (256, 3, 1, 64), (257, 3, 1, 64), (258, 3, 1, 1), (259, 3, 1, 4), (262, 3, 1, 1),
        (273, 4, 1, 8 + 2 + 9 * 12 + 4), (277, 3, 1, 1), (278, 3, 1, 64), (279, 4, 1, length),
    ]  # fmt: skip
    head = b"II*\0" + struct.pack("<IH", 8, len(entries))
    head += b"".join(struct.pack("<HHII", *entry) for entry in entries) + bytes(4)
    assert decoded(head + strip).pixels.shape == (64, 64, 3)
    for share in (0.0, 0.5, 0.9):
        with pytest.raises(BadMedia):
            decoded(head + strip[: int(length * share)])
