"""How many pictures a file holds, counted without decoding any, and only as far as a limit needs."""

from __future__ import annotations

import struct

_GIF_EXTENSION, _GIF_IMAGE = 0x21, 0x2C
_GIF_HEADER_BYTES, _GIF_IMAGE_BYTES = 13, 10


def n_gif_frames(file: memoryview, most: int) -> int:
    """Returns the frames of a GIF, `most` + 1 when there are more. A frame that is cut short counts."""
    at = _GIF_HEADER_BYTES + _colour_table_bytes(file[10])
    n = 0
    while n <= most and at < len(file):
        if file[at] == _GIF_IMAGE and at + _GIF_IMAGE_BYTES <= len(file):
            n += 1
            at += _GIF_IMAGE_BYTES + _colour_table_bytes(file[at + 9]) + 1  # 1: least code size
        elif file[at] == _GIF_EXTENSION:
            at += 2
        else:  # the end, or nothing that belongs into a GIF
            break
        at = _after_blocks(file, at)
    return n


def _colour_table_bytes(flags: int) -> int:
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _after_blocks(file: memoryview, at: int) -> int:
    while at < len(file) and file[at]:
        at += file[at] + 1
    return at + 1


def n_tiff_pages(file: memoryview, most: int) -> int:
    """Returns the pages of a TIFF or BigTIFF, `most` + 1 when there are more.

    Raises: struct.error where the file ends too early.
    """
    order = "<" if file[0] == ord("I") else ">"
    is_big = 43 in (file[2], file[3])
    count, offset, entry_bytes = (order + "Q", order + "Q", 20) if is_big else (order + "H", order + "I", 12)
    (at,) = struct.unpack_from(offset, file, 8 if is_big else 4)
    seen: set[int] = set()
    while at and at not in seen and len(seen) <= most:
        seen.add(at)
        (n_entries,) = struct.unpack_from(count, file, at)
        (at,) = struct.unpack_from(offset, file, at + struct.calcsize(count) + n_entries * entry_bytes)
    return len(seen)
