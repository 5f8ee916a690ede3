"""Whether the end of an audio file is missing, as its own structure tells.

libav takes what is there and says nothing, so a call that was half uploaded would become half a transcript.
Where a format does not say how long the file is (bare AAC and AMR, streams that were recorded as they came),
nothing is missing.
"""

from __future__ import annotations

from typing import Literal

from turbov2.media.audio_formats import FileAt, Sniffed, mpeg_frame_bytes

_MAX_BOXES = 1_000_000
_UNKNOWN_RIFF_BYTES = 0x7FFF0000  # from here on: written by recorders that did not know the length
_OGG_PAGE_BYTES = 27 + 255 + 255 * 255  # the longest, RFC 3533
_ID3V1_BYTES = 128
_SEGMENT = b"\x18\x53\x80\x67"  # of Matroska, RFC 9559


def is_cut(file: FileAt, sniffed: Sniffed) -> bool:
    """Returns whether bytes are missing at the file's end."""
    match sniffed.name:
        case "WAV":
            return _is_iff_cut(file, "little", b"data", sniffed.start)
        case "AIFF":
            return _is_iff_cut(file, "big", b"SSND", sniffed.start)
        case "MP3":
            return _is_mp3_cut(file, sniffed.start)
        case "MP4":
            return _is_mp4_cut(file)
        case "Ogg":
            return _is_ogg_cut(file)
        case "WebM" | "Matroska":
            return _is_matroska_cut(file)
    return False


def _is_iff_cut(file: FileAt, order: Literal["little", "big"], sound: bytes, start: int) -> bool:
    """Of chunks: name, length, content, to an even length (Multimedia Programming Interface 1.0, 2)."""
    at = start + 12
    for _ in range(_MAX_BOXES):
        head = file.read_at(at, 8)
        if len(head) < 8:
            return False  # without sound; libav tells
        name, n_bytes = head[:4], int.from_bytes(head[4:], order)
        if name == sound:
            return n_bytes < _UNKNOWN_RIFF_BYTES and at + 8 + n_bytes > file.n_bytes
        at += 8 + n_bytes + n_bytes % 2
    return False


def _is_mp3_cut(file: FileAt, start: int) -> bool:
    """By the length that most encoders write into a first frame without sound ("Xing" or "Info")."""
    head = file.read_at(start, 2048)
    if not (n_frame_bytes := mpeg_frame_bytes(head)):
        return False
    at = max(head.find(b"Xing", 0, 64), head.find(b"Info", 0, 64))
    if at < 0 or n_frame_bytes > len(head):
        return False
    flags = int.from_bytes(head[at + 4 : at + 8], "big")
    if not flags & 2:
        return False
    at += 12 if flags & 1 else 8
    slack = 2 * n_frame_bytes + _ID3V1_BYTES  # encoders count differently, and old tags are taken off
    return start + int.from_bytes(head[at : at + 4], "big") > file.n_bytes + slack


def _is_mp4_cut(file: FileAt) -> bool:
    """By the boxes it is made of (ISO/IEC 14496-12, 4.2)."""
    at = 0
    for _ in range(_MAX_BOXES):
        head = file.read_at(at, 16)
        if len(head) < 8:
            return len(head) > 0 and at < file.n_bytes and head != b"\0" * len(head)
        n_bytes = int.from_bytes(head[:4], "big")
        if n_bytes == 1:
            n_bytes = int.from_bytes(head[8:16], "big")
        if n_bytes == 0:  # to the file's end
            return False
        if n_bytes < 8:
            return False  # not boxes; libav tells
        at += n_bytes
        if at > file.n_bytes:
            return True
    return False


def _is_ogg_cut(file: FileAt) -> bool:
    """By the length of the last page (RFC 3533, 6)."""
    start = max(0, file.n_bytes - _OGG_PAGE_BYTES)
    tail = file.read_at(start, _OGG_PAGE_BYTES)
    at = tail.rfind(b"OggS\0")
    if at < 0:
        return False
    n_segments = tail[at + 26] if len(tail) > at + 26 else 0
    lengths = tail[at + 27 : at + 27 + n_segments]
    if len(tail) <= at + 26 or len(lengths) < n_segments:
        return True
    return at + 27 + n_segments + sum(lengths) > len(tail)


def _is_matroska_cut(file: FileAt) -> bool:
    """By the length of its segment, where one is given (RFC 8794, 4 and 6)."""
    n_header_bytes, at = _ebml_number(file, 4)
    at += n_header_bytes or 0
    if file.read_at(at, 4) != _SEGMENT:
        return False
    n_bytes, at = _ebml_number(file, at + 4)
    return n_bytes is not None and at + n_bytes > file.n_bytes


def _ebml_number(file: FileAt, at: int) -> tuple[int | None, int]:
    """Returns the length that stands there, None for one not known, and where it ends."""
    head = file.read_at(at, 8)
    if not head or not head[0]:
        return None, at + 1
    n_bytes = 9 - head[0].bit_length()
    number = int.from_bytes(head[:n_bytes], "big") & ((1 << 7 * n_bytes) - 1)
    is_known = number != (1 << 7 * n_bytes) - 1
    return (number if is_known else None), at + n_bytes
