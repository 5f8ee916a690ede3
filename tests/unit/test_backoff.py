"""How long a model that failed is left alone."""

from __future__ import annotations

import pytest

from turbov2.errors import (
    LoadFailed,
    LoadTimeout,
    ModelNotFound,
    ModelUnavailable,
    OutOfMemory,
    PullFailed,
    RunnerCrashed,
    Stopping,
    TurboError,
)
from turbov2.residency.backoff import Backoff, is_worth_a_pause


def test_failed_loads() -> None:
    backoff = Backoff()
    assert [backoff.after_failed_load("a") for _ in range(9)] == [0.5, 1, 2, 4, 8, 16, 32, 60, 60]
    assert backoff.after_failed_load("b") == 0.5
    backoff.loaded("a")
    assert backoff.after_failed_load("a") == 0.5
    assert [backoff.after_failed_load("c") for _ in range(5000)][-1] == 60


def test_crashes() -> None:
    backoff = Backoff()
    assert [backoff.after_crash("a", now_s) for now_s in (0, 10, 20, 80, 140.1)] == [0, 0.5, 1, 2, 0]
    assert backoff.after_crash("a", 141) == 0.5
    backoff.loaded("a")
    assert backoff.after_crash("a", 142) == 1, "it crashed as soon as it was loaded"
    backoff.forget("a")
    assert backoff.after_crash("a", 143) == 0


@pytest.mark.parametrize("kind", [LoadFailed, RunnerCrashed, OutOfMemory, LoadTimeout, PullFailed])
def test_what_time_may_mend_rests(kind: type[TurboError]) -> None:
    assert is_worth_a_pause(kind("no"))


@pytest.mark.parametrize("kind", [ModelNotFound, ModelUnavailable, Stopping])
def test_what_only_users_mend_does_not(kind: type[TurboError]) -> None:
    assert not is_worth_a_pause(kind("no"))
