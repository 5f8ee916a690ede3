"""Which audio format a file has, by its bytes alone, and whether its end is missing.

libav is never asked to guess: among what it knows are play lists, and formats that name other files.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import NamedTuple

from turbov2.errors import BadMedia, UnsupportedMedia
from turbov2.media.formats import describe

# Demuxers of libav by the format's name here.
DEMUXERS = {
    "WAV": "wav",
    "AIFF": "aiff",
    "FLAC": "flac",
    "MP3": "mp3",
    "AAC": "aac",
    "AMR": "amr",
    "Ogg": "ogg",
    "WebM": "matroska",
    "Matroska": "matroska",
    "MP4": "mov",
}
# Decoders of libav: what the formats above carry in practice.
# fmt: off
DECODERS = frozenset(
    (
        "aac", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb", "amrwb", "eac3",
        "flac", "gsm", "gsm_ms", "libopencore_amrnb", "libopencore_amrwb", "libopus", "mp2", "mp2float",
        "mp3", "mp3float", "opus", "pcm_alaw", "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le",
        "pcm_mulaw", "pcm_s16be", "pcm_s16le", "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le",
        "pcm_s8", "pcm_u8", "vorbis",
    )
)
# fmt: on
_READ = "WAV, MP3, M4A or MP4, Ogg, FLAC, WebM, AAC, AIFF or AMR"
_HEAD_BYTES = 8192
_STARTS = ((b"fLaC", "FLAC"), (b"OggS", "Ogg"), (b"#!AMR", "AMR"))
_BOXES = (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip")  # that old files of QuickTime begin with
# Sound and video that people send and we do not read.
_REFUSED = (
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "Windows Media (WMA, WMV)"),
    (b"caff", "Core Audio (CAF)"),
    (b".snd", "Sun audio (AU)"),
    (b"MThd", "MIDI"),
    (b"MAC ", "Monkey's Audio (APE)"),
    (b"wvpk", "WavPack"),
    (b"MPCK", "Musepack"),
    (b"MP+", "Musepack"),
    (b"DSD ", "DSD"),
    (b".RMF", "RealMedia"),
    (b"FLV\x01", "Flash video"),
    (b"\0\0\1\xba", "MPEG program stream"),
    (b"\x0b\x77", "bare AC-3"),
)
_PLAY_LISTS = (b"#EXTM3U", b"ffconcat", b"[playlist]", b"<asx", b"<?wpl")
# MPEG audio, by version (1, then 2 and 2.5) and layer (II, III): kbit/s, ISO/IEC 11172-3, 2.4.2.3.
_KBITS = {
    (1, 2): (32, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384),
    (1, 3): (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
    (2, 2): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (2, 3): (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
}
_MPEG_RATES_HZ = (44_100, 48_000, 32_000)
_N_FRAMES = 3  # that follow each other: no other file has them by chance


class FileAt:
    """A file by its descriptor, read at a position of its own: others may have the same one open."""

    def __init__(self, descriptor: int) -> None:
        self.n_bytes = os.fstat(descriptor).st_size
        self._descriptor = descriptor
        self._at = 0

    def read_at(self, at: int, n_bytes: int) -> bytes:
        """Returns so many bytes, fewer at the end."""
        return os.pread(self._descriptor, n_bytes, at) if at >= 0 else b""

    def read(self, n_bytes: int) -> bytes:
        """Returns the next bytes, as a file does."""
        found = os.pread(self._descriptor, n_bytes, self._at)
        self._at += len(found)
        return found

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Returns the new position, as a file does."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.n_bytes}[whence]
        self._at = max(0, start + offset)
        return self._at

    def tell(self) -> int:
        """Returns the position, as a file does."""
        return self._at


class Sniffed(NamedTuple):
    """A format, and where the sound begins after tags."""

    name: str
    start: int


def sniff_audio(file: FileAt) -> Sniffed:
    """Returns the file's format, a key of DEMUXERS.

    Raises: BadMedia for what is no sound at all; UnsupportedMedia for sound that is not read here.
    """
    head = file.read_at(0, _HEAD_BYTES)
    if not head:
        raise BadMedia(f"the file is empty (0 bytes); send a {_READ} file")
    start = after_tags(file)
    has_tags = start > 0
    head = file.read_at(start, _HEAD_BYTES) if has_tags else head
    name = _format_of(head)
    if name is not None:
        return Sniffed(name, start)
    if has_tags:
        return Sniffed("MP3", start)  # padding may follow, of any length
    raise _refused(head)


def after_tags(file: FileAt) -> int:
    """Returns where the file goes on after its ID3v2 tags (id3.org, ID3v2.4.0, 3.1); 0 without."""
    at = 0
    while (head := file.read_at(at, 10)).startswith(b"ID3") and len(head) == 10:
        if any(byte > 0x7F for byte in head[6:10]):
            break
        size = head[6] << 21 | head[7] << 14 | head[8] << 7 | head[9]
        at += 10 + size + (10 if head[5] & 0x10 else 0)
    return at


def mpeg_frame_bytes(head: bytes) -> int:
    """Returns the length of the MPEG audio frame (layers II and III) whose header this is; 0 for none."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:
        return 0
    version, layer = {3: 1, 2: 2, 0: 2.5}.get(head[1] >> 3 & 3), 4 - (head[1] >> 1 & 3)
    kbits, rate = head[2] >> 4, head[2] >> 2 & 3
    if version is None or layer not in (2, 3) or not 1 <= kbits <= 14 or rate == 3:
        return 0
    rate_hz = _MPEG_RATES_HZ[rate] / (1 if version == 1 else 2 if version == 2 else 4)
    generation = 1 if version == 1 else 2
    n_samples = 576 if layer == 3 and generation == 2 else 1152
    return int(n_samples / 8 * _KBITS[generation, layer][kbits - 1] * 1000 / rate_hz) + (head[2] >> 1 & 1)


def _adts_frame_bytes(head: bytes) -> int:
    """Returns the length of the AAC frame whose header this is (ISO/IEC 13818-7, 6.2); 0 for none."""
    if len(head) < 6 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0 or head[2] >> 2 & 15 > 12:
        return 0
    return (head[3] & 3) << 11 | head[4] << 3 | head[5] >> 5


def _format_of(head: bytes) -> str | None:
    for start, name in _STARTS:
        if head.startswith(start):
            return name
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "WebM" if b"webm" in head[:64] else "Matroska"
    if head[:4] in (b"RIFF", b"RF64") and head[8:12] == b"WAVE":
        return "WAV"
    if head.startswith(b"FORM") and head[8:12] in (b"AIFF", b"AIFC"):
        return "AIFF"
    if head[4:8] in _BOXES and not head[8:12].startswith((b"avif", b"avis", b"heic", b"mif1")):
        return "MP4"
    if _has_frames(head, 0, _adts_frame_bytes):
        return "AAC"
    # Recorders and cutters leave a part of a frame, or padding, at the beginning.
    at = head.find(b"\xff")
    while at >= 0:
        if _has_frames(head, at, mpeg_frame_bytes):
            return "MP3"
        at = head.find(b"\xff", at + 1)
    return None


def _has_frames(head: bytes, at: int, length_of: Callable[[bytes], int]) -> bool:
    for _ in range(_N_FRAMES):
        n_bytes = length_of(head[at : at + 6])
        if not n_bytes:
            return False
        at += n_bytes
        if at >= len(head):  # the file, or what was read of it, ends before the next
            return len(head) < _HEAD_BYTES
    return True


def _refused(head: bytes) -> BadMedia | UnsupportedMedia:
    for start, name in _REFUSED:
        if head.startswith(start):
            return UnsupportedMedia(f"{name} is not read here; send {_READ}")
    if head.startswith(b"RIFF") and head[8:12] == b"AVI ":
        return UnsupportedMedia(f"video (AVI) is not read here; send {_READ}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    if text.startswith(tuple(start.lower() for start in _PLAY_LISTS)):
        return BadMedia(f"the file is a play list, which names other files; send the sound itself: {_READ}")
    return BadMedia(f"the file is no sound but {describe(head[:1024])}; send {_READ}")
