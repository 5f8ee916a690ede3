"""What a sound file is called by its bytes, and whether its end is there."""

from __future__ import annotations

import os
import struct
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.sounds import KINDS, of_kind, raw_wav
from turbov2.errors import BadMedia, UnsupportedMedia
from turbov2.media.audio_ends import is_cut
from turbov2.media.audio_formats import DEMUXERS, FileAt, Sniffed, mpeg_frame_bytes, sniff_audio

NAMES = {
    "wav": "WAV", "aiff": "AIFF", "mp3": "MP3", "m4a": "MP4", "mp4": "MP4", "aac": "AAC", "ogg": "Ogg",
    "flac": "FLAC", "webm": "WebM", "mkv": "Matroska", "amr": "AMR",
}  # fmt: skip
ENDLESS = ("aac", "amr")  # nothing in them says how long they are


def sniffed(content: bytes) -> Sniffed:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        return sniff_audio(FileAt(file.fileno()))


def cut(content: bytes) -> bool:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        at = FileAt(file.fileno())
        return is_cut(at, sniff_audio(at))


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_is_known_and_whole_until_it_is_cut(kind: str):
    pytest.importorskip("av", reason="needs the extra audio")
    content = of_kind(kind)
    short = kind.split()[0]
    assert sniffed(content).name == NAMES[short]
    assert not cut(content)
    for padding in (3, 500):
        assert not cut(content + bytes(padding))
    for share in (0.5, 0.7):
        # FLAC is judged by its samples.
        assert cut(content[: int(len(content) * share)]) == (short not in (*ENDLESS, "flac"))


def mpeg_frames(n: int, head: bytes = b"\xff\xfb\x90\x00") -> bytes:
    return (head + bytes(mpeg_frame_bytes(head) - 4)) * n


def tagged(content: bytes, n_bytes: int = 300) -> bytes:
    size = bytes((n_bytes >> 21 & 127, n_bytes >> 14 & 127, n_bytes >> 7 & 127, n_bytes & 127))
    return b"ID3\x04\0\0" + size + b"x" * n_bytes + content


@pytest.mark.parametrize(
    ("content", "name", "start"),
    [
        (mpeg_frames(4), "MP3", 0),
        (mpeg_frames(2), "MP3", 0),
        (bytes(700) + mpeg_frames(4), "MP3", 0),
        (mpeg_frames(2)[100:] + mpeg_frames(4), "MP3", 0),
        (tagged(mpeg_frames(4)), "MP3", 310),
        (tagged(tagged(mpeg_frames(4))), "MP3", 620),
        (tagged(bytes(20_000) + mpeg_frames(4)), "MP3", 310),
        (tagged(b"fLaC" + bytes(50)), "FLAC", 310),
        (b"\xff\xf1\x50\x80\x02\x1f\xfc\0" * 9, "AAC", 0),
        (b"RF64\xff\xff\xff\xffWAVEds64", "WAV", 0),
        (b"\0\0\0\x08wide\0\0\0\0mdat", "MP4", 0),
        (b"\0\0\0\x18ftypqt  ", "MP4", 0),
    ],
)
def test_beginnings_as_they_are_met(content: bytes, name: str, start: int):
    assert sniffed(content) == (name, start)


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", BadMedia, r"empty \(0 bytes\)"),
        (b"Hello, this is no sound.\n" * 50, BadMedia, "no sound but plain text"),
        ("Grüße".encode("utf-16") * 100, BadMedia, "no sound but"),
        (b"\x89PNG\r\n\x1a\n" + bytes(50), BadMedia, "no sound but PNG"),
        (b"\xff\xd8\xff\xe0" + bytes(50), BadMedia, "no sound but JPEG"),
        (b"%PDF-1.7\n", BadMedia, "no sound but PDF"),
        (b"<html><body>404</body></html>", BadMedia, "no sound but HTML"),
        (b"PK\x03\x04" + bytes(50), BadMedia, "no sound but ZIP"),
        (os.urandom(64).replace(b"\xff", b"\0") * 200, BadMedia, "no sound but"),
        (b"#EXTM3U\nfile:///etc/passwd\n", BadMedia, "a play list"),
        (b"\n ffconcat version 1.0\nfile '/etc/passwd'\n", BadMedia, "a play list"),
        (b"\xef\xbb\xbf[playlist]\nFile1=/etc/passwd\n", BadMedia, "a play list"),
        (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11" + bytes(50), UnsupportedMedia, "Windows Media"),
        (b"RIFF\0\0\0\0AVI LIST", UnsupportedMedia, "AVI"),
        (b"caff\0\1\0\0", UnsupportedMedia, "Core Audio"),
        (b"\0\0\1\xba" + bytes(50), UnsupportedMedia, "MPEG program stream"),
        (b"\0\0\0\x18ftypavif" + bytes(50), BadMedia, "no sound but"),
    ],
)
def test_what_is_not_read_is_refused_by_what_it_is(content: bytes, error: type[Exception], words: str):
    with pytest.raises(error, match=words) as raised:
        sniffed(content)
    assert "WAV, MP3, M4A or MP4, Ogg, FLAC, WebM, AAC, AIFF or AMR" in str(raised.value)
    assert "passwd" not in str(raised.value)


@given(
    st.binary(max_size=300), st.sampled_from([b"", b"RIFF", b"OggS\0", b"ID3", b"\xff\xfb", b"\0\0\0\1moov"])
)
def test_any_bytes_are_a_format_or_refused_and_their_end_is_looked_for(content: bytes, head: bytes):
    try:
        found = sniffed(head + content)
    except (BadMedia, UnsupportedMedia):
        return
    assert found.name in DEMUXERS
    assert cut(head + content) in (True, False)


@pytest.mark.parametrize("claimed", [0xFFFFFFFF, 0x7FFFFFFF, 0x7FFFF000, 0, 100])
def test_recorders_that_did_not_know_the_length_wrote_whole_files(claimed: int):
    assert not cut(raw_wav(bytes(1000), 16_000, claimed_bytes=claimed))
    assert cut(raw_wav(bytes(1000), 16_000, claimed_bytes=1001))


def test_boxes_without_end_or_sense_end_the_search():
    head = b"\0\0\0\x10ftypM4A \0\0\0\0"
    assert not cut(head + b"\0\0\0\0mdat" + bytes(100))  # to the end of the file
    assert not cut(head + b"\0\0\0\x04mdat")
    assert cut(head + b"\0\0\0\1mdat" + struct.pack(">Q", 1 << 62))
    assert not cut(head + b"\0\0\0\1mdat" + struct.pack(">Q", 16))


def test_a_file_is_read_at_a_position_of_ones_own(tmp_path: Path):
    path = tmp_path / "file"
    path.write_bytes(b"0123456789")
    with path.open("rb") as file:
        first, second = FileAt(file.fileno()), FileAt(file.fileno())
        assert (first.read(4), second.read(2), first.read(100), first.read(1)) == (
            b"0123",
            b"01",
            b"456789",
            b"",
        )
        assert (first.seek(-2, os.SEEK_END), first.tell(), first.read(9)) == (8, 8, b"89")
        assert (second.seek(3, os.SEEK_CUR), second.read(1)) == (5, b"5")
        assert first.seek(-99) == 0
        assert file.tell() == 0
