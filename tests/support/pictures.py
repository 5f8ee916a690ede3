"""Pictures whose colours are known: the left half one colour, the right half another, a mark on top left."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

from PIL import Image

RED, BLUE, BLACK = (255, 0, 0), (0, 0, 255), (0, 0, 0)
WIDTH, HEIGHT = 96, 64


def halves(left: Any = RED, right: Any = BLUE, mode: str = "RGB") -> Image.Image:
    """Returns WIDTH x HEIGHT: two halves, and a black or zero quarter on top left."""
    picture = Image.new(mode, (WIDTH, HEIGHT), right)
    picture.paste(left, (0, 0, WIDTH // 2, HEIGHT))
    return picture


def packed(picture: Image.Image, format: str, **options: Any) -> bytes:
    file = io.BytesIO()
    picture.save(file, format, **options)
    return file.getvalue()


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_bomb(width: int, height: int) -> bytes:
    """Returns a small PNG that says it has this size, with its first rows of gray."""
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    rows = zlib.compress(bytes((width + 1) * 100))
    chunks = png_chunk(b"IHDR", header), png_chunk(b"IDAT", rows), png_chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def gif(n_frames: int) -> bytes:
    """Returns a GIF of equal frames."""
    one = packed(halves().quantize(4), "GIF")
    table_bytes = 3 << (one[10] & 7) + 1
    image = one[13 + table_bytes : -1]
    return one[: 13 + table_bytes] + image * n_frames + b";"
