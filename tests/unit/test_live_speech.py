"""Turns, rates, words that are certain and what is kept: the pure parts of live speech."""

from __future__ import annotations

import itertools
import math
import tracemalloc

import numpy as np
import pytest
from scipy.signal import resample_poly

from turbov2.engine.transcripts.pace import Pace
from turbov2.engine.transcripts.rolling import RollingSound
from turbov2.errors import InvalidRequest, QueueFull
from turbov2.speech.resampling import Resampler
from turbov2.speech.turns import MAX_UTTERANCE_SAMPLES, Started, Stopped, TurnFinder, quietest_cut
from turbov2.speech.voices import VOICE_SAMPLES
from turbov2.types import TurnOptions
from turbov2.wire._live import LivePlaces, PcmReader
from turbov2.wire.openai.realtime_events import Agreed

SECOND = 16_000
WINDOW_S = VOICE_SAMPLES / SECOND


def turns_of(*stretches: tuple[float, float], options: TurnOptions | None = None) -> list[Started | Stopped]:
    """Returns the turns in stretches of (probability, seconds)."""
    probabilities = [p for p, seconds in stretches for _ in range(round(seconds / WINDOW_S))]
    finder = TurnFinder(options or TurnOptions())
    return [turn for each in probabilities for turn in finder.feed([each])]


def seconds(turn: Started | Stopped) -> float:
    return turn[0] / SECOND


class TestTurns:
    def test_a_turn_has_its_padding_and_its_silence(self) -> None:
        started, stopped = turns_of((0.1, 2), (0.9, 1), (0.1, 2))
        assert isinstance(started, Started)
        assert seconds(started) == pytest.approx(2 - 0.3, abs=WINDOW_S)
        assert isinstance(stopped, Stopped)
        assert seconds(stopped) == pytest.approx(3.5, abs=2 * WINDOW_S)

    def test_the_beginning_is_told_after_a_tenth_of_a_second(self) -> None:
        finder = TurnFinder(TurnOptions())
        assert finder.feed([0.9, 0.9]) == []
        assert finder.feed([0.9]) == [Started(0)]
        assert finder.feed([0.9] * 1000) == []

    @pytest.mark.parametrize("silence_ms", [100, 500, 2000])
    def test_a_pause_ends_it_once_it_is_long_enough(self, silence_ms: int) -> None:
        options = TurnOptions(silence_duration_ms=silence_ms)
        shorter, longer = silence_ms / 1000 - 2 * WINDOW_S, silence_ms / 1000 + 2 * WINDOW_S
        assert len(turns_of((0.9, 1), (0.1, shorter), (0.9, 1), options=options)) == 1
        assert len(turns_of((0.9, 1), (0.1, longer), (0.9, 1), options=options)) == 3

    def test_between_the_two_thresholds_nothing_ends_or_begins(self) -> None:
        assert turns_of((0.4, 10)) == []
        assert len(turns_of((0.9, 1), (0.4, 10))) == 1

    def test_a_click_is_no_turn(self) -> None:
        assert turns_of((0.1, 1), (0.9, 2 * WINDOW_S), (0.1, 2)) == []
        assert turns_of(*[(0.9, WINDOW_S), (0.4, 1)] * 20) == []

    def test_turns_never_overlap(self) -> None:
        options = TurnOptions(prefix_padding_ms=5000, silence_duration_ms=100)
        rng = np.random.default_rng(0)
        found = turns_of(*((float(p), 0.2) for p in rng.random(500)), options=options)
        assert len(found) > 20
        at = [turn[0] for turn in found]
        assert at == sorted(at)
        for one, other in itertools.pairwise(found):
            assert type(one) is not type(other)

    def test_what_it_may_still_need_is_bounded(self) -> None:
        finder, rng = TurnFinder(TurnOptions()), np.random.default_rng(1)
        for probability in np.clip(rng.normal(0.42, 0.05, 20_000), 0, 0.55):
            before = finder.earliest_start
            is_turn = bool(finder.feed([float(probability)]))
            assert finder.earliest_start >= before
            if is_turn:
                finder.end()
        assert finder._n_heard - finder.earliest_start < 2 * SECOND

    def test_after_an_end_from_outside_the_next_turn_begins_behind_it(self) -> None:
        finder = TurnFinder(TurnOptions())
        finder.feed([0.9] * 50)
        finder.end()
        (started,) = finder.feed([0.9] * 3)
        assert started == Started(50 * VOICE_SAMPLES)

    def test_a_cut_is_where_it_is_quiet(self) -> None:
        sound = np.full(MAX_UTTERANCE_SAMPLES, 5000, np.int16)
        sound[10 * SECOND : 11 * SECOND] = 0  # too early
        sound[23 * SECOND : 23 * SECOND + 2000] = 100
        assert 23 * SECOND < quietest_cut(sound) < 23 * SECOND + 2000
        assert 20 * SECOND <= quietest_cut(np.zeros(MAX_UTTERANCE_SAMPLES, np.int16)) <= MAX_UTTERANCE_SAMPLES


class TestRates:
    @pytest.mark.parametrize("rate_hz", [8_000, 24_000, 44_100, 48_000])
    def test_pieces_give_what_scipy_gives_for_the_whole(self, rate_hz: int) -> None:
        rng = np.random.default_rng(rate_hz)
        whole = (rng.normal(size=rate_hz) * 3000).astype(np.int16)
        resampler, found, at = Resampler(rate_hz, SECOND), [], 0
        while at < len(whole):
            step = int(rng.integers(0, 1500))
            found.append(resampler.feed(whole[at : at + step]))
            at += step
        found.append(resampler.finish())
        divisor = math.gcd(rate_hz, SECOND)
        expected = resample_poly(whole.astype(np.float64), SECOND // divisor, rate_hz // divisor)
        assert np.abs(np.concatenate(found) - expected).max() < 0.51

    def test_it_keeps_little(self) -> None:
        resampler = Resampler(48_000, SECOND)
        for _ in range(100):
            resampler.feed(np.zeros(48_000, np.int16))
        assert len(resampler._rest) < 200

    def test_long_pieces_take_little_memory(self) -> None:
        samples = np.random.default_rng(0).integers(-3000, 3000, 500_000).astype(np.int16)
        whole, parts = Resampler(8_000, SECOND), Resampler(8_000, SECOND)
        expected = np.concatenate([parts.feed(each) for each in np.array_split(samples, 500)])
        tracemalloc.start()
        found = whole.feed(samples)
        _, peak_bytes = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert np.array_equal(found, expected)
        assert peak_bytes < 16 << 20

    def test_loud_sound_does_not_wrap_around(self) -> None:
        square = np.repeat(np.array([32767, -32768] * 50, np.int16), 60)
        found = Resampler(24_000, SECOND).feed(square).astype(int)
        assert found[200:220].min() >= -32768
        assert (np.sign(found[2::40][5:]) != 0).all()

    def test_bytes(self) -> None:
        reader = PcmReader(SECOND)
        assert reader.read(b"\1\0\2").samples.tolist() == [1]
        assert reader.read(b"\0\xff\xff").samples.tolist() == [2, -1]
        assert reader.finish().samples.tolist() == []
        reader.read(b"\0")
        with pytest.raises(InvalidRequest, match="odd"):
            reader.finish()


class TestWordsThatAreCertain:
    def test_two_readings_must_agree(self) -> None:
        agreed = Agreed()
        assert agreed.revise("It was the") == ""
        assert agreed.revise("It was the best of") == "It was"
        assert agreed.revise("It was the best of times") == " the best"
        assert agreed.finish("It was the best of times.") == " of times."

    def test_what_was_told_is_not_taken_back(self) -> None:
        agreed = Agreed()
        agreed.revise("I scream now and")
        assert agreed.revise("I scream now or") == "I scream now"
        assert agreed.revise("Ice cream now or never") == ""
        assert agreed.finish("Ice cream now or never.") == ""

    def test_scripts_without_spaces(self) -> None:
        agreed = Agreed()
        agreed.revise("今日は天")
        assert agreed.revise("今日は天気") == "今日は天"
        assert agreed.finish("今日は天気です") == "気です"

    @pytest.mark.parametrize("seed", range(20))
    def test_the_deltas_are_the_beginning_of_the_text(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        words = rng.choice(["a", "bb", "ccc", "天"], 30)
        agreed, told = Agreed(), ""
        for n in range(1, 30):
            told += agreed.revise(" ".join(words[:n]))
            assert " ".join(words).startswith(told)
        assert told + agreed.finish(" ".join(words)) == " ".join(words)


class TestBounds:
    def test_a_reading_waits_for_new_sound_and_rests_as_long_as_it_took(self) -> None:
        now_s = 0.0
        pace = Pace(lambda: now_s)
        assert not pace.is_due(SECOND // 2 - 1)
        assert pace.is_due(SECOND // 2)
        now_s = 3.0
        pace.read(began_s=1.0)
        now_s = 4.9
        assert not pace.is_due(SECOND)
        now_s = 5.0
        assert pace.is_due(SECOND)

    def test_only_what_is_needed_is_kept(self) -> None:
        sound = RollingSound()
        for n in range(100):
            sound.add(np.arange(n * 100, (n + 1) * 100, dtype=np.int16))
            sound.release(sound.end - 250)
        assert (len(sound), sound.end) == (250, 10_000)
        assert sound.window(9_800, 9_803).tolist() == [9800, 9801, 9802]
        sound.release(20_000)
        assert (len(sound), sound.end) == (0, 10_000)

    def test_places_are_given_back(self) -> None:
        places = LivePlaces(1, 1.0)
        with places.taken(), pytest.raises(QueueFull, match="TURBOV2_LIVE_SESSIONS"), places.taken():
            pass
        with places.taken():
            pass
