"""Audio files, made by PyAV from tones that rise and fall as speech does."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

# container, codec, sample rates that the codec takes; each with a name as a user would call the file
KINDS: dict[str, tuple[str, str, int, int]] = {
    "wav 8 kHz": ("wav", "pcm_s16le", 8_000, 1),
    "wav 16 kHz": ("wav", "pcm_s16le", 16_000, 1),
    "wav 44.1 kHz stereo": ("wav", "pcm_s16le", 44_100, 2),
    "wav 24 bits": ("wav", "pcm_s24le", 48_000, 2),
    "wav float": ("wav", "pcm_f32le", 22_050, 1),
    "wav a-law": ("wav", "pcm_alaw", 8_000, 1),
    "wav adpcm": ("wav", "adpcm_ms", 22_050, 1),
    "aiff": ("aiff", "pcm_s16be", 44_100, 2),
    "mp3": ("mp3", "libmp3lame", 44_100, 2),
    "mp3 8 kHz": ("mp3", "libmp3lame", 8_000, 1),
    "m4a": ("ipod", "aac", 44_100, 2),
    "m4a alac": ("ipod", "alac", 44_100, 2),
    "mp4 sound": ("mp4", "aac", 48_000, 1),
    "aac": ("adts", "aac", 32_000, 1),
    "ogg opus": ("ogg", "libopus", 48_000, 1),
    "ogg vorbis": ("ogg", "vorbis", 44_100, 2),
    "flac": ("flac", "flac", 44_100, 2),
    "webm": ("webm", "libopus", 48_000, 2),
    "mkv": ("matroska", "ac3", 48_000, 2),
    "amr": ("amr", "libopencore_amrnb", 8_000, 1),
}
LAYOUTS = {1: "mono", 2: "stereo", 3: "2.1", 6: "5.1", 8: "7.1", 16: "hexadecagonal"}


def voice(seconds: float, rate_hz: int, n_channels: int = 1, seed: int = 0) -> NDArray[np.int16]:
    """Returns int16 `[n_channels, n]`: harmonics of a gliding pitch in syllables, with a little noise."""
    rng = np.random.default_rng(seed)
    t = np.arange(int(seconds * rate_hz)) / rate_hz
    phase = 2 * np.pi * np.cumsum(140 + 40 * np.sin(2 * np.pi * 0.7 * t)) / rate_hz
    tone = sum(np.sin(k * phase) / k for k in range(1, 12) if k * 180 < rate_hz / 2)
    loudness = np.clip(np.sin(2 * np.pi * 2.3 * t), 0, 1) * (0.6 + 0.4 * np.sin(2 * np.pi * 0.11 * t))
    sound = 6000 * tone * loudness + rng.normal(0, 40, len(t))
    channels = [np.roll(sound, 7 * n) * (1 - 0.2 * n) for n in range(n_channels)]
    return np.clip(channels, -32768, 32767).astype(np.int16)


def packed(samples: NDArray[np.int16], container: str, codec: str, rate_hz: int, **options: Any) -> bytes:
    """Returns the file. samples: int16 `[n_channels, n]`. with_video: moving pictures beside it."""
    import av

    with_video, cover = options.pop("with_video", False), options.pop("cover", None)
    path = options.pop("path", None)  # for what must be read again while it is written
    target = io.BytesIO()
    with av.open(
        str(path) if path else target, "w", format=container, options=options.pop("of_container", {})
    ) as output:
        pictures = (
            output.add_stream("mpeg4", rate=10, width=64, height=48, pix_fmt="yuv420p")
            if with_video
            else None
        )
        stream: Any = output.add_stream(codec, rate=rate_hz, options=options)
        stream.layout = LAYOUTS[len(samples)]
        if cover is not None:
            _add_cover(output, cover)
        if pictures is not None:
            for n in range(int(10 * samples.shape[1] / rate_hz)):
                image = av.VideoFrame.from_ndarray(np.full((48, 64, 3), n % 256, np.uint8), format="rgb24")
                output.mux(pictures.encode(image))
            output.mux(pictures.encode(None))
        resampler = av.AudioResampler(format=stream.format, layout=stream.layout, rate=rate_hz)
        fifo = av.AudioFifo()
        for frame in _frames(samples, rate_hz):
            for converted in resampler.resample(frame):
                fifo.write(converted)
            while (ready := fifo.read(stream.frame_size or 4096)) is not None:
                output.mux(stream.encode(ready))
        if (rest := fifo.read(0, partial=True)) is not None:
            output.mux(stream.encode(rest))
        output.mux(stream.encode(None))
    return target.getvalue() if path is None else path.read_bytes()


def _frames(samples: NDArray[np.int16], rate_hz: int) -> Iterator[Any]:
    import av

    for start in range(0, samples.shape[1], 65_536):
        piece = np.ascontiguousarray(samples[:, start : start + 65_536].T).reshape(1, -1)
        layout = LAYOUTS[len(samples)]
        frame = av.AudioFrame.from_ndarray(piece, format="s16", layout=layout)
        frame.sample_rate, frame.pts = rate_hz, start
        yield frame


def _add_cover(output: Any, jpeg: bytes) -> None:
    import av

    stream = output.add_stream("mjpeg", width=16, height=16, pix_fmt="yuvj420p")
    stream.disposition = av.stream.Disposition.attached_pic
    packet = av.Packet(jpeg)
    packet.stream = stream
    output.mux(packet)


def of_kind(kind: str, seconds: float = 3.0) -> bytes:
    """Returns a file of one of KINDS."""
    container, codec, rate_hz, n_channels = KINDS[kind]
    options = {"strict": "experimental"} if codec == "vorbis" else {}
    return packed(voice(seconds, rate_hz, n_channels), container, codec, rate_hz, **options)


def silent_opus(seconds: float) -> bytes:
    """Returns an Ogg file of silence: 60 ms in a byte, which says to go on as before (RFC 6716, 2.1.9)."""
    import av

    target = io.BytesIO()
    with av.open(target, "w", format="ogg") as output:
        stream: Any = output.add_stream("libopus", rate=48_000, options={"frame_duration": "60"})
        stream.layout = "mono"
        stream.codec_context.open()
        for index in range(int(seconds / 0.06)):
            packet = av.Packet(b"\x18")
            packet.stream, packet.time_base = stream, Fraction(1, 48_000)
            packet.pts = packet.dts = 2880 * index
            packet.duration = 2880
            output.mux(packet)
    return target.getvalue()


def raw_wav(samples: bytes, rate_hz: int, n_channels: int = 1, claimed_bytes: int | None = None) -> bytes:
    """Returns a WAV of 16-bit samples, whose header may claim another length."""
    n_bytes = len(samples) if claimed_bytes is None else claimed_bytes
    shape = struct.pack("<HHIIHH", 1, n_channels, rate_hz, 2 * n_channels * rate_hz, 2 * n_channels, 16)
    head = (
        b"RIFF"
        + struct.pack("<I", min(36 + n_bytes, 0xFFFFFFFF))
        + b"WAVEfmt "
        + struct.pack("<I", 16)
        + shape
    )
    return head + b"data" + struct.pack("<I", n_bytes) + samples
