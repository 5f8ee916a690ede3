"""The log-mel spectrum that Whisper reads, of any part of a stream, equal to that of the whole.

A frame is 10 ms long and sees 25 ms: 200 samples on either side of its middle. Before the stream's first
sample it is mirrored, after its last one there is silence. Powers are log10, as they come; `scaled` makes of
them what the model reads, for which the greatest power of the whole stream must be known: what is more than 8
below it is raised to that (Radford et al. 2022, and openai/whisper, audio.py).
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Samples = NDArray[np.int16] | NDArray[np.float32]
    Floats = NDArray[np.float32]

SAMPLE_RATE_HZ = 16_000
FRAME_SAMPLES = 160
FRAMES_PER_S = SAMPLE_RATE_HZ // FRAME_SAMPLES
WINDOW_FRAMES = 3_000  # what the model reads at once: 30 s
MEL_SIZES = (80, 128)  # of all Whisper models; 128 from large-v3 on

_FFT_SAMPLES = 400
_REACH_SAMPLES = _FFT_SAMPLES // 2
_FLOOR = np.float32(1e-10)  # a power of 0 has no logarithm
_DEPTH = 8.0  # in log10 power: what is quieter than the peak by more is taken for that quiet

# Slaney's mel scale: linear below 1 kHz, 15 mel there, and 27 mel for each factor of 6.4 above.
_LINEAR_HZ_PER_MEL = 200 / 3
_LOG_FROM_HZ = 1_000.0
_LOG_STEP = np.log(6.4) / 27
_TOP_MEL = _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL + np.log(SAMPLE_RATE_HZ / 2 / _LOG_FROM_HZ) / _LOG_STEP

_BLOCK_SAMPLES = 40  # divides both the frames' distance and their reach: what energies are summed by
_FRAME_BLOCKS = FRAME_SAMPLES // _BLOCK_SAMPLES


def count_frames(n_samples: int) -> int:
    """Returns how many whole frames a stream of so many samples has for the model to read."""
    return n_samples // FRAME_SAMPLES


def samples_for(start_frame: int, n_frames: int) -> tuple[int, int]:
    """Returns the first sample that these frames see, and the one after the last.

    The last may lie beyond the stream's end; what is missing there counts as silence.
    """
    stop = (start_frame + n_frames - 1) * FRAME_SAMPLES + _REACH_SAMPLES
    return max(0, start_frame * FRAME_SAMPLES - _REACH_SAMPLES), max(_REACH_SAMPLES + 1, stop)


def log_power(samples: Samples, start_frame: int, n_frames: int, n_mels: int) -> Floats:
    """Returns log10 mel powers `[n_mels, n_frames]`, at least -10, of the frames from `start_frame` on.

    samples: of the stream, from `samples_for(start_frame, n_frames)[0]` on; int16, or float32 within -1
    and 1. More than are needed may be given, and fewer where the stream ends.
    """
    first, stop = samples_for(start_frame, n_frames)
    seen = _as_float(samples[: stop - first])
    seen = np.pad(seen, (0, stop - first - len(seen)))
    n_before = first - (start_frame * FRAME_SAMPLES - _REACH_SAMPLES)
    seen = _mirrored(seen, n_before)
    return _log_power(_frames(seen, n_frames), n_mels)


def scaled(powers: Floats, peak: float) -> Floats:
    """Returns what the model reads, of the same shape, for a stream whose greatest power is `peak`."""
    return (np.maximum(powers, np.float32(peak) - np.float32(_DEPTH)) + np.float32(4)) / np.float32(4)


def peak_of(samples: Samples, n_mels: int) -> float:
    """Returns the greatest log10 mel power of a whole stream, as `scaled` takes it."""
    meter = PeakMeter()
    meter.add(samples)
    meter.finish()
    return meter.peaks[n_mels]


class PeakMeter:
    """Finds the greatest log10 mel power of a stream that comes in pieces.

    Frames whose energy says that they cannot hold it are not transformed: nearly all of them.
    peaks: by the number of mel bands, those of MEL_SIZES; so far, and of the whole stream after `finish`.
    """

    def __init__(self) -> None:
        self.peaks = dict.fromkeys(MEL_SIZES, float("-inf"))
        self._rest: Floats = np.zeros(0, np.float32)  # from the first sample that the next frame sees
        self._n_samples = 0
        self._n_frames = 0

    def add(self, samples: Samples) -> None:
        """Takes the stream's next samples: int16, or float32 within -1 and 1. Memory is that of a piece."""
        self._n_samples += len(samples)
        self._rest = np.concatenate((self._rest, _as_float(samples)))
        if not self._n_frames:
            if len(self._rest) < _FFT_SAMPLES:
                return  # nothing is transformed before its mirror is whole
            self._rest = _mirrored(self._rest, _REACH_SAMPLES)
        self._take(max(0, (len(self._rest) - _FFT_SAMPLES) // FRAME_SAMPLES + 1))

    def finish(self) -> None:
        """Takes the last frames, which see silence after the stream's end."""
        n_frames = count_frames(self._n_samples) + 1 - self._n_frames
        self._rest = np.pad(self._rest, (0, _FFT_SAMPLES + FRAME_SAMPLES))
        if not self._n_frames:
            self._rest = _mirrored(self._rest, _REACH_SAMPLES)
        self._take(n_frames)

    def _take(self, n_frames: int) -> None:
        """Looks at so many frames of what is there, and lets go of what only they see."""
        if n_frames <= 0:
            return
        most = np.log10(np.maximum(_energies(self._rest, n_frames), _FLOOR))
        frames = _frames(self._rest, n_frames)
        self._look_at(frames[[int(most.argmax())]])
        could = np.zeros(n_frames, bool)
        for n_mels in MEL_SIZES:
            could |= most + np.log10(_filters(n_mels).max()) > self.peaks[n_mels]
        if could.any():
            self._look_at(frames[could])
        self._rest = self._rest[n_frames * FRAME_SAMPLES :].copy()
        self._n_frames += n_frames

    def _look_at(self, frames: Floats) -> None:
        for n_mels in MEL_SIZES:
            self.peaks[n_mels] = max(self.peaks[n_mels], float(_log_power(frames, n_mels).max()))


def _as_float(samples: Samples) -> Floats:
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    return samples.astype(np.float32, copy=False)


def _mirrored(beginning: Floats, n_samples: int) -> Floats:
    """Returns the stream's beginning with `n_samples` before it; sample 0 is the mirror."""
    return np.concatenate((beginning[n_samples:0:-1], beginning))


def _frames(seen: Floats, n_frames: int) -> Floats:
    """Returns a view `[n_frames, 400]` of samples that begin where the first frame does."""
    return np.lib.stride_tricks.sliding_window_view(seen, _FFT_SAMPLES)[::FRAME_SAMPLES][:n_frames]


def _log_power(frames: Floats, n_mels: int) -> Floats:
    # Single precision throughout, as NumPy 2 and the models' own feature extraction have it.
    spectrum = np.fft.rfft(frames * _window(), axis=-1).T.astype(np.complex64)
    powers: Floats = np.log10(np.maximum(_filters(n_mels) @ (np.abs(spectrum) ** 2), _FLOOR))
    return powers


def _energies(seen: Floats, n_frames: int) -> Floats:
    """Returns for each frame what its spectrum's powers add up to at most, by Parseval's theorem."""
    n_blocks = (n_frames - 1) * _FRAME_BLOCKS + _FFT_SAMPLES // _BLOCK_SAMPLES
    blocks = seen[: n_blocks * _BLOCK_SAMPLES].reshape(-1, _BLOCK_SAMPLES)
    sums = np.einsum("ij,ij->i", blocks, blocks)
    weights = (_window().reshape(-1, _BLOCK_SAMPLES) ** 2).max(axis=1)
    of_frames = np.lib.stride_tricks.sliding_window_view(sums, len(weights))[::_FRAME_BLOCKS]
    n_fft = np.float32(_FFT_SAMPLES * 1.001)  # a little more, for sums of single precision
    bound: Floats = (of_frames @ weights) * n_fft
    return bound


@functools.cache
def _window() -> Floats:
    return np.hanning(_FFT_SAMPLES + 1)[:-1].astype(np.float32)


@functools.cache
def _filters(n_mels: int) -> Floats:
    """Returns overlapping triangles over the spectrum's bins, `[n_mels, 201]`, all of the same area."""
    edges = _hertz(np.linspace(0.0, _TOP_MEL, n_mels + 2))
    bins = np.fft.rfftfreq(_FFT_SAMPLES, 1 / SAMPLE_RATE_HZ)
    widths = np.diff(edges)[:, None]
    rising = (bins - edges[:-2, None]) / widths[:-1]
    falling = (edges[2:, None] - bins) / widths[1:]
    triangles = np.maximum(0, np.minimum(rising, falling))
    return (triangles * (2 / (edges[2:] - edges[:-2]))[:, None]).astype(np.float32)


def _hertz(mels: NDArray[np.float64]) -> NDArray[np.float64]:
    is_log = mels >= _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL
    above = _LOG_FROM_HZ * np.exp(_LOG_STEP * (mels - _LOG_FROM_HZ / _LINEAR_HZ_PER_MEL))
    return np.where(is_log, above, mels * _LINEAR_HZ_PER_MEL)
