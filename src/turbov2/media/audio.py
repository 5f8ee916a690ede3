"""Sound as samples, by PyAV. Loaded only in the decoding child.

What is read is equal, bit for bit, to what `decode_audio` of faster-whisper 1.2 makes of the same file: the
same resampler, fed with groups of the same size. Where that one stops at the first packet that cannot be
decoded, this one leaves the packet out.
"""

from __future__ import annotations

import contextlib
import traceback
from collections.abc import Iterator
from typing import Any

import av
import numpy as np
from av.audio.fifo import AudioFifo
from av.audio.resampler import AudioResampler
from av.stream import Discard
from numpy.typing import NDArray

from turbov2.errors import BadMedia, MediaTooLarge, TurboError, UnsupportedMedia
from turbov2.media.audio_ends import is_cut
from turbov2.media.audio_formats import DECODERS, DEMUXERS, FileAt, sniff_audio
from turbov2.media.limits import MediaLimits
from turbov2.media.results import AudioFacts
from turbov2.speech.mel import SAMPLE_RATE_HZ

Samples = NDArray[np.int16]

_GROUP_SAMPLES = 500_000  # of the file's own, resampled at once
_BUFFER_BYTES = 1 << 16
_OPTIONS = {
    # Nothing but the file itself, in the format it was seen to have, by decoders that are wanted.
    "protocol_whitelist": "none",
    "codec_whitelist": ",".join(sorted(DECODERS)),
    "enable_drefs": "0",
    "use_absolute_path": "0",
}
# What may be missing at the end, by the file's own clock: encoders round.
_SLACK, _SLACK_S = 0.01, 1.0
# Their headers tell no length: what libav says of it is a guess from the first seconds.
_GUESSED = ("MP3", "AAC", "AMR")


class AudioFileReader:
    """One opened audio file, whose first stream of sound is read once, from the beginning.

    facts: what it is. is_cut: its end is missing. claimed_s: how long it says that it is, None where it says
    nothing.
    """

    def __init__(self, descriptor: int, limits: MediaLimits) -> None:
        self._limits = limits
        file = FileAt(descriptor)
        sniffed = sniff_audio(file)
        self._name = sniffed.name
        self.is_cut = is_cut(file, sniffed)
        self.n_samples = 0
        self._n_source_samples = 0
        self._reached_s = 0.0  # on the file's own clock
        self._has_failed = False
        self._n_good_packets = self._n_bad_packets = 0
        with self._opening():
            self._container: Any = av.open(
                file,
                format=DEMUXERS[self._name],
                metadata_errors="ignore",
                buffer_size=_BUFFER_BYTES,
                options=_OPTIONS
                | {"format_whitelist": DEMUXERS[self._name], "max_streams": str(limits.max_streams + 1)},
            )
        try:
            self._stream = self._choose()
            self.facts = self._facts()
            self.claimed_s = self._claimed_s()
            self._check_claim()
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Afterwards its memory is free."""
        self._container.close()

    def blocks(self) -> Iterator[Samples]:
        """Yields int16 `[n]` samples, mono at 16 kHz.

        Raises: MediaTooLarge past the limits; UnsupportedMedia; Broken where the file breaks off.
        """
        for group, resampler in self._groups():
            with self._resampling():
                frames = resampler.resample(group)
            for frame in frames:
                samples = frame.to_ndarray()[0]
                self.n_samples += len(samples)
                self._check_length(self.n_samples / SAMPLE_RATE_HZ)
                yield samples
        self._check_end()

    def _choose(self) -> Any:
        if not self._container.streams.audio:
            others = ", ".join(sorted({stream.type for stream in self._container.streams})) or "nothing"
            raise BadMedia(f"the {self._name} has no sound, only {others}; send a file with sound")
        most = self._limits.max_streams
        if len(self._container.streams) > most:
            words = f"more than {most} streams, the limit"
            raise MediaTooLarge(f"the {self._name} has {words}; send it with one of sound alone")
        chosen = self._container.streams.audio[0]
        for stream in self._container.streams:
            if stream is not chosen:
                stream.discard = Discard.all
        codec = chosen.codec_context
        if codec is None or codec.name not in DECODERS:
            name = "an unknown codec" if codec is None else f"the codec {codec.codec.canonical_name}"
            raise UnsupportedMedia(
                f"the {self._name} holds sound in {name}, which is not read here; "
                "send it as MP3, AAC, Opus, Vorbis, FLAC or WAV"
            )
        self._check_shape(codec.sample_rate, codec.channels)
        return chosen

    def _facts(self) -> AudioFacts:
        codec = self._stream.codec_context
        return AudioFacts(self._name, codec.codec.canonical_name, codec.sample_rate, codec.channels)

    def _claimed_s(self) -> float | None:
        stream = self._stream
        if stream.duration is not None and stream.time_base is not None:
            return float(stream.duration * stream.time_base)
        if self._container.duration is not None:
            return float(self._container.duration / av.time_base)
        return None

    def _surely_s(self) -> float:
        """Returns how long the sound is if the file tells it for sure, else 0."""
        is_told = self._stream.duration is not None or len(self._container.streams) == 1
        return (self.claimed_s or 0.0) if is_told and self._name not in _GUESSED else 0.0

    def _check_claim(self) -> None:
        self._check_length(self._surely_s())

    def _check_length(self, seconds: float) -> None:
        most_s = self._limits.max_audio_s
        if seconds > most_s:
            fix = "send it in parts, or raise TURBOV2_AUDIO_MAX_DURATION"
            raise MediaTooLarge(f"the {self._name} is longer than {most_s:g} s, the limit; {fix}")

    def _check_shape(self, rate_hz: int, n_channels: int) -> None:
        most = self._limits
        if rate_hz < 1 or n_channels < 1:
            raise BadMedia(f"the {self._name} is broken: it cannot be read; send the whole file")
        if n_channels > most.max_channels:
            words = f"{n_channels} channels, expected 1 to {most.max_channels}"
            raise MediaTooLarge(f"the {self._name} has {words}; send it as mono or stereo")
        if not most.min_sample_rate_hz <= rate_hz <= most.max_sample_rate_hz:
            bounds = f"{most.min_sample_rate_hz} to {most.max_sample_rate_hz}"
            words = f"{rate_hz} samples a second, expected {bounds}"
            raise MediaTooLarge(f"the {self._name} has {words}; send it at 16000")

    def _groups(self) -> Iterator[tuple[Any, AudioResampler]]:
        """Yields frames of many samples with what resamples them; last of all a None, which empties it."""
        fifo, resampler, kind = AudioFifo(), _resampler(), None
        for frame in self._frames():
            found = (frame.format.name, frame.layout.name, frame.sample_rate)
            if kind not in (None, found):  # streams may change; what came before goes out first
                yield from _rest(fifo, resampler)
                fifo, resampler = AudioFifo(), _resampler()
            kind = found
            frame.pts = None
            fifo.write(frame)
            if fifo.samples >= _GROUP_SAMPLES:
                yield fifo.read(), resampler
        yield from _rest(fifo, resampler)

    def _frames(self) -> Iterator[Any]:
        for packet in self._packets():
            try:
                frames = packet.decode()
            except MemoryError:
                raise
            except av.FFmpegError:
                self._n_bad_packets += 1
                continue
            self._n_good_packets += bool(frames)
            for frame in frames:
                self._check_shape(frame.sample_rate, frame.layout.nb_channels)
                self._n_source_samples += frame.samples
                yield frame

    def _packets(self) -> Iterator[Any]:
        start, base = self._stream.start_time or 0, self._stream.time_base
        try:
            for packet in self._container.demux(self._stream):
                if packet.pts is not None and base is not None:
                    self._reached_s = float((packet.pts + (packet.duration or 0) - start) * base)
                yield packet
        except MemoryError:
            raise
        except av.FFmpegError:
            traceback.print_exc(limit=1)
            self._has_failed = True

    def _check_end(self) -> None:
        """Raises: Broken, BadMedia, when not all came that was to come."""
        if not self.n_samples:
            raise BadMedia(f"the {self._name} holds no sound that can be decoded; send the whole file")
        if self._name == "FLAC":  # its clock runs on where packets are missing
            self._reached_s = self._n_source_samples / self.facts.sample_rate_hz
            self.is_cut = (
                self._reached_s < self._surely_s() and self._n_bad_packets <= 1
            )  # the one cut through
        if self.is_cut:
            raise Broken(f"the {self._name} is cut short", self.n_samples)
        is_missing_much = self._reached_s < self._surely_s() * (1 - _SLACK) - _SLACK_S
        if self._has_failed or is_missing_much or self._n_bad_packets > self._n_good_packets:
            raise Broken(f"the {self._name} is broken", self.n_samples)

    @contextlib.contextmanager
    def _opening(self) -> Iterator[None]:
        """What the library raises in this block becomes an error of ours; its own text goes to the log."""
        try:
            yield
        except (TurboError, MemoryError):
            raise
        except Exception as error:
            traceback.print_exc(limit=1)
            how = "cut short: it breaks off before the sound" if self.is_cut else "broken: it cannot be read"
            raise BadMedia(f"the {self._name} is {how}; send the whole file") from error

    @contextlib.contextmanager
    def _resampling(self) -> Iterator[None]:
        try:
            yield
        except MemoryError:
            raise
        except (av.FFmpegError, ValueError) as error:
            traceback.print_exc(limit=1)
            words = f"the {self._name}'s {self.facts.n_channels} channels cannot be mixed to one"
            raise UnsupportedMedia(f"{words}; send it as mono or stereo") from error


class Broken(Exception):
    """The file breaks off; the samples before that are good."""

    def __init__(self, what: str, n_samples: int) -> None:
        super().__init__(
            f"{what}: it breaks off after {n_samples / SAMPLE_RATE_HZ:.1f} s; send the whole file"
        )


def _resampler() -> AudioResampler:
    return AudioResampler(format="s16", layout="mono", rate=SAMPLE_RATE_HZ)


def _rest(fifo: AudioFifo, resampler: AudioResampler) -> Iterator[tuple[Any, AudioResampler]]:
    if fifo.samples:
        yield fifo.read(), resampler
    yield None, resampler
