"""Which format a file has, by its first bytes alone: names and content types are often wrong."""

from __future__ import annotations

import re

from turbov2.errors import BadMedia, UnsupportedMedia

HEAD_BYTES = 1024  # PDF readers look so far for the version line
IMAGE_PLUGINS = {
    "PNG": "PngImagePlugin",
    "JPEG": "JpegImagePlugin",
    "WEBP": "WebPImagePlugin",
    "GIF": "GifImagePlugin",
    "TIFF": "TiffImagePlugin",
    "BMP": "BmpImagePlugin",
    "AVIF": "AvifImagePlugin",
}
_READ = "PNG, JPEG, WebP, GIF, TIFF, BMP, AVIF or PDF"
_STARTS = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_BMP_HEADER_BYTES = (12, 16, 40, 52, 56, 64, 108, 124)  # "BM" alone also starts words
# Formats people send and we do not read: what they are called, and what to do besides the usual.
_REFUSED = (
    (b"\x00\x00\x00\x0cjP  ", "JPEG 2000"),
    (b"\xff\x4f\xff\x51", "JPEG 2000"),
    (b"\x00\x00\x00\x0cJXL ", "JPEG XL"),
    (b"\xff\x0a", "JPEG XL"),
    (b"8BPS", "Photoshop (PSD)"),
    (b"%!PS", "PostScript (EPS)"),
    (b"\xc5\xd0\xd3\xc6", "PostScript (EPS)"),
    (b"\0\0\1\0", "Windows icon (ICO)"),
    (b"\0\0\2\0", "Windows cursor (CUR)"),
    (b"\xd7\xcd\xc6\x9a", "Windows metafile (WMF)"),
    (b"\x01\0\0\0\x58\0\0\0", "Windows metafile (EMF)"),
    (b"v/1\x01", "OpenEXR"),
    (b"DDS ", "DirectDraw (DDS)"),
    (b"AT&TFORM", "DjVu"),
    (b"PK\x03\x04", "ZIP archive or Office document"),
    (b"\xd0\xcf\x11\xe0", "old Office document"),
    (b"{\\rtf", "RTF"),
    (b"Rar!", "RAR archive"),
    (b"7z\xbc\xaf", "7-Zip archive"),
    (b"\x1f\x8b", "gzip"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ", "xz"),
    (b"ID3", "audio (MP3)"),
    (b"OggS", "audio (Ogg)"),
    (b"fLaC", "audio (FLAC)"),
    (b"\x1aE\xdf\xa3", "video (Matroska)"),
)
_HEIC_BRANDS = frozenset((b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"))
_MARKUP = re.compile(rb"\s*(<\?xml.*?\?>|<!--.*?-->|<!DOCTYPE[^>]*>|\s)*<(\w+)", re.DOTALL | re.IGNORECASE)


def sniff(head: bytes) -> str:
    """Returns the format of the file that starts with `head`: "PDF" or a key of IMAGE_PLUGINS.

    head: the first HEAD_BYTES, or the whole of a shorter file.
    Raises: BadMedia for an empty file; UnsupportedMedia naming what was seen.
    """
    if not head:
        raise BadMedia(f"the file is empty (0 bytes); send a {_READ} file")
    found = _format_of(head)
    if found is None:
        message = f"{_name_of(head)} is not read here; send {_READ}"
        if message.startswith("HEIC"):
            message += " (phones can save photos as JPEG)"
        raise UnsupportedMedia(message)
    return found


def describe(head: bytes) -> str:
    """Returns what a file is called that starts with `head`, whether it is read here or not."""
    return _format_of(head) or _name_of(head)


def _format_of(head: bytes) -> str | None:
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head.startswith(b"RIFF") and head[8:12] == b"WEBP":
        return "WEBP"
    if head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADER_BYTES:
        return "BMP"
    if head[4:8] == b"ftyp" and _brands(head) & {b"avif", b"avis"}:
        return "AVIF"
    return "PDF" if b"%PDF-" in head else None


def _name_of(head: bytes) -> str:
    for start, name in _REFUSED:
        if head.startswith(start):
            return name
    if head[4:8] == b"ftyp":
        return "HEIC" if _brands(head) & _HEIC_BRANDS else "video (MP4 or QuickTime)"
    if head.startswith(b"RIFF"):
        return "audio (WAV)" if head[8:12] == b"WAVE" else "video (AVI)"
    if re.match(rb"P[1-7]\s", head):
        return "portable pixmap (PNM)"
    if match := _MARKUP.match(head.removeprefix(b"\xef\xbb\xbf")):
        return {b"svg": "SVG", b"html": "HTML"}.get(match[2].lower(), "XML")
    return "plain text" if _is_text(head) else "a file of an unknown format"


def _brands(head: bytes) -> set[bytes]:
    """Returns the major and compatible brands of an ISO base media file (ISO/IEC 14496-12, 4.3)."""
    box = head[: int.from_bytes(head[:4], "big")]
    return {box[8:12]} | {box[at : at + 4] for at in range(16, len(box) - 3, 4)}


def _is_text(head: bytes) -> bool:
    try:
        text = head.decode()
    except UnicodeDecodeError as error:
        if error.start < len(head) - 3:  # else a character was cut by the end of `head`
            return False
        text = head[: error.start].decode()
    return all(character.isprintable() or character in "\t\r\n\f" for character in text)
