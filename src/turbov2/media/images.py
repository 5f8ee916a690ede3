"""Images as pixels, by Pillow. Loaded only in the decoding child."""

from __future__ import annotations

import contextlib
import importlib
import io
import traceback
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image, ImageChops, ImageFile

from turbov2.errors import BadMedia, MediaTooLarge, TurboError, UnsupportedMedia
from turbov2.media import counting, limits, results
from turbov2.media.formats import IMAGE_PLUGINS
from turbov2.media.samples import to_eight_bits

_ORIENTATION = 0x0112  # EXIF 2.32, 4.6.4
# What makes a picture upright whose EXIF orientation is the key.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
_WHITE = "white"
_MODES: dict[results.Mode, str] = {"gray": "L", "rgb": "RGB"}


class ImageFileReader:
    """One opened image file. Its pages are the frames of a TIFF; every other format has one page."""

    def __init__(self, file: memoryview, name: str, most: limits.MediaLimits) -> None:
        self.format = name
        self._file = file
        self._limits = most
        plugin: Any = importlib.import_module(f"PIL.{IMAGE_PLUGINS[name]}")
        if name == "AVIF":
            plugin.DEFAULT_MAX_THREADS = 1  # a child has one core, and every thread takes address space
        with reading(name, most):
            self.n_frames = self._count(file)
            self._picture = self._open()
            self.n_frames = self.n_frames or getattr(self._picture, "n_frames", 1)
        self._is_used = False
        self._check()
        self.n_pages = self.n_frames if name == "TIFF" else 1
        self.is_encrypted = False

    def close(self) -> None:
        """Afterwards its memory is free."""
        self._picture.close()

    def page_sizes(self) -> results.Floats:
        """Returns float32 `[n_pages, 2]` upright widths and heights in pixels."""
        sizes = []
        for index in range(self.n_pages):
            self._turn_to(index)
            sizes.append(self._upright_size())
        return np.array(sizes, np.float32).reshape(-1, 2)

    def image(self, index: int, view: results.View) -> results.Image:
        """Returns the page's pixels. Raises: BadMedia, MediaTooLarge, UnsupportedMedia."""
        self._turn_to(index)
        self._check()
        width, height = self._upright_size()
        is_rotated = _orientation(self._picture) > 1
        self._is_used = True
        with reading(self.format, self._limits), contextlib.closing(self._picture):
            pixels = self._pixels(view, width, height)
        return results.Image(pixels, self.format, width, height, self.n_frames, is_rotated)

    def page(self, index: int) -> results.Page:
        """Returns the page's size: an image has no text layer and no objects but itself."""
        self._turn_to(index)
        width, height = self._upright_size()
        return results.Page(
            index,
            width,
            height,
            0,
            [],
            np.zeros((0, 4), np.float32),
            np.zeros(0, np.int32),
            results.Soundness("none"),
            results.PageObjects(n_images=1, image_share=1.0),
        )

    def _open(self) -> ImageFile.ImageFile:
        # WebP's decoder takes memory for the whole canvas when it is made; it looks at this before.
        Image.MAX_IMAGE_PIXELS = (self._limits.max_pixels + 1) // 2 if self.format == "WEBP" else None
        return Image.open(io.BytesIO(self._file), formats=[self.format])

    def _count(self, file: memoryview) -> int:
        """Returns the frames of formats whose frames Pillow would have to read one by one; else 0."""
        match self.format:
            case "GIF":
                return counting.n_gif_frames(file, self._limits.max_frames)
            case "TIFF":
                return counting.n_tiff_pages(file, self._limits.max_pages)
        return 0

    def _check(self) -> None:
        most = self._limits
        if self.format == "TIFF" and self.n_frames > most.max_pages:
            raise too_many_pages(f"more than {most.max_pages}", most)
        if self.format != "TIFF" and self.n_frames > most.max_frames:
            n = f"more than {most.max_frames}" if self.format == "GIF" else str(self.n_frames)
            message = (
                f"the {self.format} has {n} frames, the limit is {most.max_frames}; send one frame of it"
            )
            raise MediaTooLarge(message)
        width, height = self._picture.size
        if width * height > most.max_pixels:
            size = f"{width} x {height} ({width * height} pixels)"
            message = f"the {self.format} is {size}, the limit is {most.max_pixels} pixels; send it smaller"
            raise MediaTooLarge(message)

    def _turn_to(self, index: int) -> None:
        if self._is_used:  # a decoder goes through a file once, and its pixels were let go
            self._picture, self._is_used = self._open(), False
        if self.format == "TIFF":
            with reading(self.format, self._limits):
                self._picture.seek(index)

    def _stored_orientation(self) -> int:
        """Returns how the pixels lie that Pillow will give; it turns those of a TIFF itself."""
        return 1 if self.format == "TIFF" else _orientation(self._picture)

    def _upright_size(self) -> tuple[int, int]:
        width, height = self._picture.size
        return (height, width) if self._stored_orientation() >= 5 else (width, height)

    def _pixels(self, view: results.View, width: int, height: int) -> results.Pixels:
        view = view.turned(width, height)
        turn = _TURNS.get(self._stored_orientation())
        scale = view.scale(width, height)
        upright = (max(1, round(width * scale)), max(1, round(height * scale)))
        lying = upright[::-1] if self._stored_orientation() >= 5 else upright
        if scale < 1:  # a JPEG's decoder then leaves out what would be scaled away
            self._picture.draft(_MODES[view.mode], lying)
        picture = in_mode(self._picture, _MODES[view.mode])
        if picture.size != lying:
            picture = picture.resize(lying, Image.Resampling.BILINEAR, reducing_gap=2.0)
        if turn is not None:
            picture = picture.transpose(turn)
        if view.is_letterboxed:
            picture = letterboxed(picture, view.max_width_px, view.max_height_px)
        return np.ascontiguousarray(picture)


def in_mode(picture: Image.Image, mode: str) -> Image.Image:
    """Returns the picture as "L" or "RGB", its samples scaled to 8 bits, what is transparent on white."""
    picture.load()
    if picture.mode == "LAB":
        raise UnsupportedMedia("the colour space CIELAB is not read here; send the image as RGB or gray")
    # Adobe's CMYK is inverted, and Pillow takes all of a JPEG's for Adobe's.
    if picture.mode == "CMYK" and picture.format == "JPEG" and "adobe" not in picture.info:
        picture = ImageChops.invert(picture)
    if picture.mode.startswith(("I", "F")):
        picture = Image.fromarray(to_eight_bits(np.asarray(picture)))
    if picture.has_transparency_data:
        picture = picture.convert("RGBA")
        canvas = Image.new("RGB", picture.size, _WHITE)
        canvas.paste(picture, mask=picture.getchannel("A"))
        picture = canvas
    return picture if picture.mode == mode else picture.convert(mode)


def letterboxed(picture: Image.Image, width: int, height: int) -> Image.Image:
    """Returns the picture in the middle of a white one of this size."""
    if picture.size == (width, height):
        return picture
    canvas = Image.new(picture.mode, (width, height), _WHITE)
    canvas.paste(picture, ((width - picture.width) // 2, (height - picture.height) // 2))
    return canvas


@contextlib.contextmanager
def reading(name: str, most: limits.MediaLimits) -> Iterator[None]:
    """What a library raises in this block becomes an error of ours; its own text goes to the log."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except (TurboError, MemoryError):
        raise
    except Image.DecompressionBombError as error:
        message = f"the {name} has more pixels than the limit of {most.max_pixels}; send it smaller"
        raise MediaTooLarge(message) from error
    except Exception as error:
        traceback.print_exc(limit=3)
        message = f"the {name} is broken or cut short: it cannot be read to its end; send the whole file"
        raise BadMedia(message) from error


def too_many_pages(n: str, most: limits.MediaLimits) -> MediaTooLarge:
    """Returns the error of a document with `n` pages."""
    return MediaTooLarge(f"the document has {n} pages, the limit is {most.max_pages}; send it in parts")


def _orientation(picture: Any) -> int:
    """Returns the EXIF orientation, 1 (upright) where there is none or it makes no sense."""
    try:
        value = picture.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block is no reason to refuse a picture
        return 1
    return value if isinstance(value, int) and value in _TURNS else 1
