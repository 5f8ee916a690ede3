"""How large batches may be: learnt at load, corrected while running."""

from __future__ import annotations

import numpy as np
import pytest

from tests.support.clock import now_s, on_clock
from tests.support.computing import FakeRunner
from turbov2.batching import SAMPLE, BatchLimits, learn_limits
from turbov2.batching.pace import Pace
from turbov2.errors import InferenceFailed, OutOfMemory
from turbov2.types import Inputs, TokenBatch


def affine(cost: int, fixed_s: float, seconds_per_cost: float) -> float:
    return fixed_s + cost * seconds_per_cost


def test_limits_hold_until_interactive_requests_come_and_after_they_stopped() -> None:
    pace = Pace(BatchLimits(1000, 0.001))
    assert pace.max_cost("bulk", 0) == 1000
    pace.expect_interactive(-1)
    pace.ran("interactive", 16, 0.016)
    assert pace.max_cost("bulk", 0) == 1000, "a single one says nothing of the next"
    pace = Pace(BatchLimits(1000, 0.001))
    pace.expect_interactive(-1)
    pace.expect_interactive(0)
    assert pace.max_cost("bulk", 1) == 1000, "nobody knows yet what an interactive forward takes"
    pace.ran("interactive", 16, 0.016)
    assert pace.max_cost("bulk", 1) == pace.max_cost("default", 1) == 20
    assert pace.max_cost("interactive", 1) == 1000
    assert pace.max_cost("bulk", 2) == 1000


@pytest.mark.parametrize(("fixed_s", "seconds_per_cost"), [(0, 0.001), (0.005, 0.00001), (0.02, 0.0005)])
def test_short_batches_settle_at_the_time_wanted(fixed_s: float, seconds_per_cost: float) -> None:
    pace = Pace(BatchLimits(4000, seconds_per_cost))
    pace.expect_interactive(-1)
    pace.expect_interactive(0)
    pace.ran("interactive", 16, affine(16, fixed_s, seconds_per_cost))
    for _ in range(60):
        cost = pace.max_cost("bulk", 1)
        pace.ran("bulk", cost, affine(cost, fixed_s, seconds_per_cost))
    wanted = 1.25 * affine(16, fixed_s, seconds_per_cost)
    assert affine(pace.max_cost("bulk", 1), fixed_s, seconds_per_cost) == pytest.approx(wanted, rel=0.1)


def test_a_batch_that_was_not_full_teaches_nothing() -> None:
    pace = Pace(BatchLimits(1000, 0.001))
    pace.expect_interactive(-1)
    pace.expect_interactive(0)
    pace.ran("interactive", 16, 0.016)
    pace.ran("bulk", 1, 0.01)
    assert pace.max_cost("bulk", 1) == 20


def test_there_is_always_room_for_one() -> None:
    pace = Pace(BatchLimits(1000, 0.001))
    pace.expect_interactive(-1)
    pace.expect_interactive(0)
    pace.ran("interactive", 1, 1e-9)
    assert pace.max_cost("bulk", 1) == 1
    for _ in range(20):
        pace.shrink(1000)
    assert pace.max_cost("interactive", 1) == 1


def test_a_limit_that_memory_halved_comes_back_after_many_full_batches() -> None:
    pace = Pace(BatchLimits(1000, 0.001))
    pace.shrink(1000)
    pace.shrink(500)
    assert pace.longest_cost == 250
    for _ in range(499):
        pace.ran("bulk", 250, 0.25)
        pace.ran("bulk", 100, 0.1)  # far from the limit: tells nothing of more
    assert pace.longest_cost == 250
    pace.ran("bulk", 250, 0.25)
    assert pace.longest_cost == 500
    for _ in range(500):
        pace.ran("bulk", 500, 0.5)
    assert pace.longest_cost == 1000


def test_an_item_that_never_fits_takes_nothing_from_the_limit() -> None:
    pace = Pace(BatchLimits(1000, 0.001))
    for _ in range(5):
        pace.shrink(1000)
    pace.restore()
    assert pace.longest_cost == 1000


# --- the probe


@on_clock
async def test_a_model_that_knows_no_word_of_the_sample_is_probed_all_the_same() -> None:
    class Ignorant(FakeRunner):
        async def tokenize(self, inputs: Inputs) -> TokenBatch:
            nothing = np.zeros(len(inputs), np.int32)
            return TokenBatch(np.zeros(0, np.int32), nothing, nothing)

    limits = await learn_limits(Ignorant(0.001), slice_s=0.1, max_tokens=None, sample=[SAMPLE], now_s=now_s)
    assert limits.max_cost == pytest.approx(100, abs=1)


@on_clock
async def test_the_probe_finds_what_fits_into_a_slice() -> None:
    limits = await learn_limits(
        FakeRunner(0.00002), slice_s=0.12, max_tokens=512, sample=[SAMPLE], now_s=now_s
    )
    assert limits.max_cost == pytest.approx(6000, abs=1)
    assert limits.seconds_per_cost == pytest.approx(0.00002)


@on_clock
async def test_fast_models_are_bounded_by_tokens() -> None:
    limits = await learn_limits(FakeRunner(1e-9), slice_s=0.12, max_tokens=None, sample=[SAMPLE], now_s=now_s)
    assert limits.max_cost == 16_384


@on_clock
async def test_slow_models_run_one_row_at_a_time() -> None:
    began_s = now_s()
    runner = FakeRunner(0.01)
    limits = await learn_limits(runner, slice_s=0.12, max_tokens=64, sample=[SAMPLE], now_s=now_s)
    assert limits.max_cost == 12
    assert len(runner.batches) == 2, "one to initialise, one to measure"
    assert now_s() - began_s == pytest.approx(1.28)


@on_clock
async def test_the_probe_ends_after_a_second() -> None:
    began_s = now_s()
    limits = await learn_limits(FakeRunner(0.0001), slice_s=60, max_tokens=None, sample=[SAMPLE], now_s=now_s)
    assert now_s() - began_s < 1
    assert limits.max_cost == 16_384, "what it saw says that this fits into a slice"


@on_clock
async def test_running_out_of_memory_is_a_limit_found() -> None:
    runner = FakeRunner(0.000001)
    runner.fails = lambda numbers: OutOfMemory("full") if len(numbers) > 8 else None
    limits = await learn_limits(runner, slice_s=0.12, max_tokens=None, sample=[SAMPLE], now_s=now_s)
    assert limits.max_cost == 8 * 128
    assert runner.n_freed == 1
    runner.fails = lambda numbers: OutOfMemory("full")
    limits = await learn_limits(runner, slice_s=0.12, max_tokens=None, sample=[SAMPLE], now_s=now_s)
    assert limits.max_cost == 1


@on_clock
async def test_other_errors_of_the_probe_are_the_callers() -> None:
    runner = FakeRunner()
    runner.fails = lambda numbers: InferenceFailed("broken")
    with pytest.raises(InferenceFailed):
        await learn_limits(runner, slice_s=0.12, max_tokens=None, sample=[SAMPLE], now_s=now_s)
