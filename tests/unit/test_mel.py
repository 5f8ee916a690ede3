"""The spectrum of a slice is that of the whole, and the whole is faster-whisper's."""

import numpy as np
import pytest

from turbov2.speech import mel

N_SAMPLES = (0, 1, 159, 160, 161, 399, 400, 16_000, 480_123)


def _noise(n_samples: int, seed: int = 0) -> np.ndarray:
    """Returns noise whose loudness changes every 0.1 s, now and then beyond what int16 holds."""
    random = np.random.default_rng(seed)
    loudness = np.exp(random.normal(size=n_samples // 1600 + 1)).repeat(1600)[:n_samples]
    return (random.normal(size=n_samples) * loudness * 3000).clip(-32768, 32767).astype(np.int16)


@pytest.mark.parametrize("n_mels", mel.MEL_SIZES)
@pytest.mark.parametrize("n_samples", N_SAMPLES)
def test_any_slice_is_what_faster_whisper_makes_of_the_whole_file(n_samples: int, n_mels: int):
    features = pytest.importorskip("faster_whisper.feature_extractor", reason="the extra `audio` is not here")
    samples = _noise(n_samples)
    whole = features.FeatureExtractor(feature_size=n_mels)(samples.astype(np.float32) / 32768)
    n_frames = mel.count_frames(n_samples) + 1  # with the one that no window reads
    assert whole.shape == (n_mels, n_frames)
    peak = mel.peak_of(samples, n_mels)
    for start in (0, 1, 2, 997, n_frames - 1):
        n_slice = min(mel.WINDOW_FRAMES, n_frames - start)
        if n_slice > 0:
            first, stop = mel.samples_for(start, n_slice)
            powers = mel.log_power(samples[first:stop], start, n_slice, n_mels)
            np.testing.assert_allclose(
                mel.scaled(powers, peak), whole[:, start : start + n_slice], rtol=0, atol=1e-6
            )


def test_samples_may_be_floats_and_more_than_needed():
    samples = _noise(16_000)
    first, stop = mel.samples_for(20, 30)
    exact = mel.log_power(samples[first:stop], 20, 30, 80)
    assert exact.shape == (80, 30)
    as_floats = samples[first:].astype(np.float32) / 32768
    np.testing.assert_array_equal(mel.log_power(as_floats, 20, 30, 80), exact)


@pytest.mark.parametrize("n_samples", [*N_SAMPLES, 700_001])
def test_the_peak_of_pieces_is_the_peak_of_all_frames(n_samples: int):
    samples, random, meter = _noise(n_samples, seed=1), np.random.default_rng(2), mel.PeakMeter()
    taken = 0
    while taken < n_samples:
        n_next = int(random.integers(1, 50_000))
        meter.add(samples[taken : taken + n_next])
        taken += n_next
    meter.finish()
    for n_mels in mel.MEL_SIZES:
        of_all = mel.log_power(samples, 0, mel.count_frames(n_samples) + 1, n_mels).max()
        assert meter.peaks[n_mels] == pytest.approx(of_all, abs=1e-6)


def test_the_peak_of_nothing_and_of_silence_is_the_floor():
    assert mel.peak_of(np.zeros(0, np.int16), 80) == pytest.approx(-10)
    assert mel.peak_of(np.zeros(50_000, np.int16), 128) == pytest.approx(-10)
