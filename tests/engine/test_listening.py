"""Windows of speech in a child: several at a time, cancelled, lost with it, and refused."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np
import pytest
import pytest_asyncio

from turbov2.backends.fake_speech import hear
from turbov2.batching import BatchRecord, Calls, ListenJob, RunnerLost
from turbov2.errors import InferenceFailed, NotCapable, RunnerCrashed
from turbov2.runners.process import ProcessRunner
from turbov2.runners.thread import ThreadRunner
from turbov2.types import (
    ChunkTask,
    LanguageTask,
    LoadSpec,
    SpokenLanguage,
    TranscribeOptions,
    VoiceTask,
    WindowTask,
)

pytestmark = pytest.mark.timeout(60)
SECOND = 16_000
LOUD = np.full(5 * SECOND, 1000, np.int16)


def spec_of(**options: Any) -> LoadSpec:
    return LoadSpec("fake", "fake", {}, "r1", options={"is_listener": True, **options})


def window(start_s: int = 0) -> WindowTask:
    return WindowTask(start_frame=start_s * 100, n_frames=500, peak=0.0)


def heard_from(start_s: int) -> np.ndarray:
    """Returns the samples of the window there, which is loud throughout."""
    return LOUD if start_s == 0 else np.full(5 * SECOND + 200, 1000, np.int16)


@pytest_asyncio.fixture(params=[ProcessRunner, ThreadRunner])
async def runner(request: pytest.FixtureRequest) -> AsyncIterator[ProcessRunner | ThreadRunner]:
    made = request.param()
    await made.start(spec_of(fail_on="s13"))
    yield made
    await made.stop(5)


@pytest.mark.parametrize(
    "task",
    [
        window(),
        ChunkTask(2.0, TranscribeOptions(language="fr", word_timestamps=True)),
        LanguageTask((SECOND, 4 * SECOND)),
        VoiceTask(is_last=True, state=b"\0\1"),
    ],
)
async def test_what_is_heard_crosses_whole(runner: ProcessRunner, task: Any) -> None:
    assert await runner.listen(LOUD, task) == hear(LOUD, task)


async def test_errors_cross(runner: ProcessRunner) -> None:
    with pytest.raises(InferenceFailed, match="told to fail"):
        await runner.listen(heard_from(10), window(10))
    assert await runner.listen(LOUD, window()) == hear(LOUD, window())


async def test_a_model_that_does_not_listen_says_so() -> None:
    runner = ThreadRunner()
    await runner.start(LoadSpec("fake", "fake", {}, "r1"))
    with pytest.raises(NotCapable, match="does not listen"):
        await runner.listen(LOUD, window())
    await runner.stop(5)


async def test_a_child_hears_as_many_windows_at_a_time_as_its_model_gains_from() -> None:
    runner = ProcessRunner(cancel_grace_s=0.1)
    loaded = await runner.start(spec_of(n_slots=3, hang_on="s12"))
    assert loaded.n_slots == 3
    hung = [asyncio.create_task(runner.listen(heard_from(10), window(10))) for _ in range(2)]
    assert await runner.listen(LOUD, window()) == hear(LOUD, window())  # beside the two that never end
    await runner.stop(0)
    for result in await asyncio.gather(*hung, return_exceptions=True):
        assert isinstance(result, RunnerCrashed)


async def test_the_child_of_a_model_with_slots_ends_when_told() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(n_slots=4))
    await asyncio.gather(*(runner.listen(LOUD, window()) for _ in range(8)))
    await runner.stop(10)
    assert runner.end_reason == "was stopped"


async def test_cancelling_ends_a_window_at_its_next_step_and_keeps_the_child() -> None:
    runner = ProcessRunner()
    await runner.start(spec_of(delay_s_per_token=0.05))
    samples = np.full(30 * SECOND, 1000, np.int16)
    listening = asyncio.create_task(runner.listen(samples, WindowTask(0, 3000, 0.0)))
    first = asyncio.create_task(runner.listen(LOUD, VoiceTask(is_last=True)))
    await asyncio.sleep(0)  # both are on their way; the window comes first
    listening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listening
    await first
    assert runner.is_alive
    await runner.stop(5)


async def test_a_death_costs_the_windows_that_ran() -> None:
    runner, records = ProcessRunner(), list[BatchRecord]()
    await runner.start(spec_of(crash_on="s12"))
    calls = Calls(runner, n_slots=1, on_batch=records.append)
    before = await calls.listen(ListenJob(LOUD, window(), "bulk"))
    assert before.heard == hear(LOUD, window())
    with pytest.raises(RunnerLost) as lost:
        await calls.listen(ListenJob(heard_from(10), window(10)))
    assert lost.value.was_running
    assert [(record.lane, record.outcome) for record in records] == [("bulk", "ok"), ("default", "lost")]
    await runner.stop(0)


class TestTurns:
    async def test_two_requests_share_a_model_window_by_window(self) -> None:
        runner, order = ThreadRunner(), list[str]()
        await runner.start(spec_of())
        calls = Calls(runner, n_slots=1, on_batch=lambda _: None)

        async def request(name: str) -> None:
            for start_s in (0, 10, 20):
                await calls.listen(ListenJob(heard_from(start_s), window(start_s), key_id=name))
                order.append(name)

        await asyncio.gather(request("a"), request("b"))
        assert order == ["a", "b"] * 3
        await runner.stop(5)

    async def test_detection_is_a_turn_as_any_other(self) -> None:
        runner = ThreadRunner()
        await runner.start(spec_of())
        calls = Calls(runner, n_slots=2, on_batch=lambda _: None)
        result = await calls.listen(ListenJob(LOUD, LanguageTask((len(LOUD),))))
        assert isinstance(result.heard, SpokenLanguage)
        await runner.stop(5)
