"""How long a model that failed is left alone."""

from __future__ import annotations

from turbov2.errors import ModelUnavailable, RequestError, Stopping, TurboError

FIRST_S = 0.5
LONGEST_S = 60.0
FORGIVEN_AFTER_S = 60.0  # a crash this long after the one before counts as the first


class Backoff:
    """Counts failures in a row, by key: 0.5 s, then twice as long each time, up to a minute.

    The first crash of a loaded model costs nothing, as it says little about the next run.
    """

    def __init__(self) -> None:
        self._failed_loads: dict[str, int] = {}
        self._crashes: dict[str, tuple[int, float]] = {}  # how many in a row, and when the last was

    def after_failed_load(self, key: str) -> float:
        """Counts one; returns the seconds until the next try."""
        self._failed_loads[key] = n_failed = self._failed_loads.get(key, 0) + 1
        return _pause_s(n_failed)

    def after_crash(self, key: str, now_s: float) -> float:
        """Counts one; returns the seconds until the next try."""
        n_before, last_s = self._crashes.get(key, (0, 0.0))
        if now_s - last_s > FORGIVEN_AFTER_S:
            n_before = 0
        self._crashes[key] = (n_before + 1, now_s)
        return _pause_s(n_before)

    def is_failing(self, key: str) -> bool:
        """Returns whether its last load failed, also while the next one runs."""
        return key in self._failed_loads

    def loaded(self, key: str) -> None:
        """Afterwards failed loads are forgotten; crashes are not, for they happen to loaded models."""
        self._failed_loads.pop(key, None)

    def forget(self, key: str) -> None:
        """Afterwards nothing is held against it."""
        self._failed_loads.pop(key, None)
        self._crashes.pop(key, None)


def is_worth_a_pause(failure: TurboError) -> bool:
    """Returns False for what only the user can mend: he should not wait once he has."""
    return not isinstance(failure, RequestError | ModelUnavailable | Stopping)


def _pause_s(n_failures: int) -> float:
    # The exponent is bounded because floats are.
    return min(FIRST_S * 2.0 ** min(n_failures - 1, 10), LONGEST_S) if n_failures else 0.0
