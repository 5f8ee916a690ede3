"""Sound as samples: equal to faster-whisper's, within limits, whatever the file is."""

from __future__ import annotations

import io
import random
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.support.pictures import halves
from tests.support.pictures import packed as packed_picture
from tests.support.sounds import KINDS, of_kind, packed, raw_wav, voice
from turbov2.errors import BadMedia, DeadlineExceeded, MediaTooLarge, TurboError, UnsupportedMedia
from turbov2.media import MediaLimits, audio_formats, sandbox
from turbov2.media import messages as say

pytest.importorskip("av", reason="needs the extra audio")

from turbov2.media import audio_answers  # noqa: E402
from turbov2.media.audio import AudioFileReader, Broken  # noqa: E402


def decoded(content: bytes, **limits: Any) -> NDArray[np.int16]:
    """Returns all samples of the file. Raises: as the reader."""
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        reader = AudioFileReader(file.fileno(), MediaLimits(**limits))
        try:
            return np.concatenate([np.zeros(0, np.int16), *reader.blocks()])
        finally:
            reader.close()


def broken_after_s(content: bytes) -> tuple[str, float]:
    """Returns what is said of the file, and how many seconds came before it broke off."""
    n = 0
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        reader = AudioFileReader(file.fileno(), MediaLimits())
        try:
            for block in reader.blocks():
                n += len(block)
        except Broken as error:
            return str(error), n / 16_000
        finally:
            reader.close()
    raise AssertionError("the file is whole")


def by_faster_whisper(content: bytes) -> NDArray[np.int16]:
    whole = pytest.importorskip("faster_whisper.audio", reason="needs faster-whisper").decode_audio(
        io.BytesIO(content)
    )
    return np.round(whole * 32768).astype(np.int16)


@pytest.mark.parametrize("kind", KINDS)
def test_samples_are_those_of_faster_whisper_bit_for_bit(kind: str):
    content = of_kind(kind, 13.7)
    expected = by_faster_whisper(content)
    assert abs(len(expected) / 16_000 - 13.7) < 0.1
    assert np.abs(expected).max() > 1000
    np.testing.assert_array_equal(decoded(content), expected)


@pytest.mark.parametrize("n_channels", [3, 6, 16])
def test_more_than_two_channels_are_mixed_as_by_faster_whisper(n_channels: int):
    content = packed(voice(1.5, 32_000, n_channels), "wav", "pcm_s16le", 32_000)
    np.testing.assert_array_equal(decoded(content), by_faster_whisper(content))


def test_moving_pictures_are_passed_by_and_never_decoded():
    import av

    with_video = packed(voice(3, 44_100, 2), "mp4", "aac", 44_100, with_video=True)
    expected = by_faster_whisper(with_video)
    av.logging.set_level(av.logging.ERROR)
    try:
        with av.logging.Capture() as logged:
            np.testing.assert_array_equal(decoded(with_video), expected)
    finally:
        av.logging.set_level(None)
    assert {words.split(" '")[0] for _, name, words in logged if name == "mpeg4"} == {
        "Codec (mpeg4) not on whitelist"
    }


def test_a_cover_is_passed_by():
    sound = voice(2, 44_100, 2)
    cover = packed_picture(halves(), "JPEG")
    with_cover = packed(sound, "mp3", "libmp3lame", 44_100, cover=cover)
    assert cover in with_cover
    np.testing.assert_array_equal(decoded(with_cover), by_faster_whisper(with_cover))


def test_a_file_without_sound_says_what_it_has():
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
        for _ in range(5):
            frame = av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    with pytest.raises(BadMedia, match="the MP4 has no sound, only video"):
        decoded(target.getvalue())


def test_sound_in_another_codec_is_refused_by_its_name():
    with pytest.raises(UnsupportedMedia, match="the Matroska holds sound in the codec tta"):
        decoded(packed(voice(1, 16_000), "matroska", "tta", 16_000))


@pytest.mark.parametrize(
    "kind", ["wav 16 kHz", "mp3", "flac", "ogg opus", "ogg vorbis", "webm", "mkv", "aiff"]
)
def test_a_cut_file_breaks_off_where_it_is_cut(kind: str):
    content = of_kind(kind, 10)
    words, seconds = broken_after_s(content[: len(content) // 2])
    assert f"is cut short: it breaks off after {seconds:.1f} s; send the whole file" in words
    assert 4 < seconds < 6


@pytest.mark.parametrize("kind", ["m4a", "mp4 sound"])
def test_a_cut_file_whose_table_was_at_its_end_cannot_be_read(kind: str):
    content = of_kind(kind, 10)
    with pytest.raises(BadMedia, match="the MP4 is cut short: it breaks off before the sound"):
        decoded(content[: int(len(content) * 0.9)])


@pytest.mark.parametrize("flags", ["faststart", "frag_keyframe+empty_moov"])
def test_a_cut_file_whose_table_is_at_its_beginning_breaks_off(flags: str, tmp_path: Path):
    options = {"of_container": {"movflags": flags, "frag_duration": "1000000"}, "path": tmp_path / "file"}
    content = packed(voice(10, 44_100), "mp4", "aac", 44_100, **options)
    assert len(decoded(content)) == pytest.approx(160_000, rel=0.01)
    words, seconds = broken_after_s(content[: len(content) // 2])
    assert "the MP4 is cut short" in words
    assert 3 < seconds < 6


def damaged(content: bytes, start: int = 3000) -> bytes:
    """Returns the file with 60 bytes of noise every 3,000."""
    rng, noisy = random.Random(1), bytearray(content)
    for at in range(start, len(noisy) - 60, 3000):
        noisy[at : at + 60] = rng.randbytes(60)
    return bytes(noisy)


@pytest.mark.parametrize("kind", ["mp3", "aac"])
def test_packets_that_cannot_be_decoded_are_left_out(kind: str):
    content = of_kind(kind, 10)
    assert 7 * 16_000 < len(decoded(damaged(content))) < 11 * 16_000


@pytest.mark.parametrize("kind", ["m4a", "ogg opus", "flac"])
def test_a_file_of_which_much_is_missing_is_broken(kind: str):
    words, seconds = broken_after_s(damaged(of_kind(kind, 10)))
    assert "is broken: it breaks off after" in words or "is cut short" in words
    assert seconds < 7


def test_sound_that_changes_its_shape_goes_on():
    first, second = of_kind("mp3", 3), of_kind("mp3 8 kHz", 3)
    assert abs(len(decoded(first + second[45:])) / 16_000 - 6.1) < 0.2
    chained = of_kind("ogg opus", 3)
    assert len(decoded(chained + chained)) == 6 * 16_000


@pytest.mark.parametrize("kind", ["mp3", "m4a", "ogg opus", "flac", "webm", "wav 16 kHz", "amr", "aac"])
def test_any_damage_is_an_error_of_ours_or_none(kind: str):
    content = of_kind(kind, 2)
    rng = random.Random(7)
    for _ in range(25):
        noisy = bytearray(content)
        for _ in range(rng.randrange(1, 30)):
            noisy[rng.randrange(len(noisy))] = rng.randrange(256)
        try:
            decoded(bytes(noisy[: rng.randrange(1, len(noisy) + 1)]))
        except (Broken, TurboError) as error:
            said = str(error)
            assert not any(word in said for word in ("av.", "Errno", "0x", "/", "Invalid"))


@pytest.mark.parametrize(
    ("content", "limits", "words"),
    [
        (raw_wav(bytes(64_000), 16_000), {"max_audio_s": 1.5}, r"the WAV is longer than 1.5 s, the limit"),
        (raw_wav(bytes(200), 1_000), {}, r"1000 samples a second, expected 4000 to 384000"),
        (raw_wav(bytes(200), 400_000), {}, r"400000 samples a second, expected 4000 to 384000"),
        (raw_wav(bytes(34_00), 16_000, 17), {}, r"17 channels, expected 1 to 16"),
    ],
)
def test_limits_hold(content: bytes, limits: dict[str, Any], words: str):
    with pytest.raises(MediaTooLarge, match=words):
        decoded(content, **limits)


def test_a_length_that_no_header_tells_is_counted():
    endless = raw_wav(bytes(64_000), 16_000, claimed_bytes=0xFFFFFFFF)
    assert len(decoded(endless)) == 32_000
    with pytest.raises(MediaTooLarge, match="longer than 1 s"):
        decoded(of_kind("aac", 3), max_audio_s=1.0)


def test_a_file_that_claims_ten_hours_is_refused_before_it_is_decoded():
    content = bytearray(packed(voice(1, 16_000), "flac", "flac", 16_000))
    content[22:26] = (36_000 * 16_000).to_bytes(4, "big")  # the lower part of STREAMINFO's number of samples
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        with pytest.raises(MediaTooLarge, match="the FLAC is longer than 14400 s, the limit"):
            AudioFileReader(file.fileno(), MediaLimits())


def test_no_more_streams_than_the_limit():
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="matroska") as output:
        streams = [output.add_stream("pcm_s16le", rate=16_000) for _ in range(9)]
        for stream in streams:
            stream.layout = "mono"
        frame = av.AudioFrame.from_ndarray(voice(1, 16_000), format="s16", layout="mono")
        for stream in streams:
            frame.sample_rate, frame.pts = 16_000, 0
            output.mux(stream.encode(frame))
    assert len(decoded(target.getvalue())) == 16_000
    with pytest.raises(MediaTooLarge, match="more than 4 streams"):
        decoded(target.getvalue(), max_streams=4)


PLAY_LISTS = {
    "concat": "ffconcat version 1.0\nfile '{}'\n",
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{}\n#EXT-X-ENDLIST\n",
}


@pytest.mark.parametrize("demuxer", PLAY_LISTS)
def test_no_file_makes_us_open_another(tmp_path: Path, demuxer: str, monkeypatch: pytest.MonkeyPatch):
    import av

    other = tmp_path / "other.aac"
    other.write_bytes(of_kind("aac", 1))
    play_list = PLAY_LISTS[demuxer].format(other).encode()
    with pytest.raises(BadMedia, match="play list"):
        decoded(play_list)
    # A library that is let do it, does it: this file would be opened.
    with av.open(io.BytesIO(play_list), format=demuxer, options={"safe": "0"}) as container:
        assert sum(frame.samples for frame in container.decode(audio=0)) > 30_000
    # Not so here, even if the formats were told apart wrongly, and the demuxer were allowed.
    monkeypatch.setattr(audio_formats, "_format_of", lambda head: "MP3")
    monkeypatch.setitem(audio_formats.DEMUXERS, "MP3", f"{demuxer},aac")
    monkeypatch.setattr(av, "open", partial(opened_as, av.open, demuxer))
    with pytest.raises(BadMedia):
        decoded(play_list)


def opened_as(av_open: Any, demuxer: str, file: Any, **options: Any) -> Any:
    unsafe = {"format": demuxer, "options": options["options"] | {"safe": "0"}}
    return av_open(file, **options | unsafe)


@pytest.fixture
def free_cpu(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    allowed: list[float] = []
    monkeypatch.setattr(sandbox, "allow_cpu", allowed.append)  # it would be this process's
    return allowed


def answers_of(content: bytes, limits: MediaLimits | None = None) -> Iterator[Any]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        file.flush()
        yield from audio_answers.audio_answers(file.fileno(), limits or MediaLimits())


def test_answers_bring_samples(free_cpu: list[float]):
    start, *rest, end = answers_of(of_kind("mp3", 40))
    assert isinstance(start.message, say.AudioStart)
    assert (start.message.facts.container, start.message.facts.codec) == ("MP3", "mp3")
    assert (start.message.facts.sample_rate_hz, start.message.facts.n_channels) == (44_100, 2)
    assert start.message.claimed_s == pytest.approx(40, abs=0.1)
    assert len(rest) >= 3
    samples = np.concatenate([frame.buffers[0] for frame in rest]).view(np.int16)
    assert len(samples) == 40 * 16_000
    assert isinstance(end.message, say.AudioEnd)
    assert end.message.broken == ""
    # Time to compute is given by what was decoded.
    assert 30 < free_cpu[0] < free_cpu[2] < 30 + 4


def test_a_file_that_computes_for_long_and_gets_nowhere_is_given_up(
    free_cpu: list[float], monkeypatch: pytest.MonkeyPatch
):
    now_s = [0.0]
    monkeypatch.setattr("time.process_time", lambda: now_s[0])
    answers = answers_of(of_kind("wav 16 kHz", 40))
    next(answers)
    next(answers)  # 31 s of sound
    now_s[0] = 33.0
    next(answers)
    now_s[0] = 34.1
    with pytest.raises(DeadlineExceeded, match="more than 34 s"):
        next(answers)
