"""A batcher under random events: see `tests/support/storms_batching.py` for what must stay true."""

from __future__ import annotations

import logging

import pytest

from tests.support.storms_batching import batching_storm


@pytest.mark.parametrize("seed", range(10))
def test_everybody_is_answered_once_and_rightly(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.CRITICAL)  # failures are half of the storm
    assert batching_storm(seed, 500) == 500
