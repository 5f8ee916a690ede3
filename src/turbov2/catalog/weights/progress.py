"""How a pull speaks to whoever asked for it, and how it is told to stop."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Literal

from turbov2.errors import PullFailed
from turbov2.types.status import PullProgress

Phase = Literal["resolving", "downloading", "verifying", "publishing", "done"]

# Ten a second is smooth to a reader; a 5 GB file arrives in about 80,000 pieces.
_INTERVAL_S = 0.1


class PullCancelled(PullFailed):
    """The caller asked a pull to stop. What had arrived is kept, so the next pull goes on from there."""

    def __init__(self) -> None:
        super().__init__("the pull was cancelled; pull again to go on from where it stopped")


class Steps:
    """One pull's line to its caller: every message is also a chance to stop."""

    def __init__(
        self,
        on_progress: Callable[[PullProgress], None],
        is_cancelled: Callable[[], bool],
    ) -> None:
        self._on_progress = on_progress
        self._is_cancelled = is_cancelled

    def check(self) -> None:
        """Raises PullCancelled once the caller has asked to stop."""
        if self._is_cancelled():
            raise PullCancelled

    def tell(
        self,
        phase: Phase,
        file: str = "",
        sha256: str = "",
        total_bytes: int = 0,
        done_bytes: int = 0,
    ) -> None:
        """The caller knows of this step."""
        self.check()
        self._on_progress(PullProgress(phase, file, sha256, total_bytes, done_bytes))

    def meter(self, phase: Phase, file: str, sha256: str, total_bytes: int) -> Callable[[int], None]:
        """Returns a function that takes the bytes done so far and tells them, but not too often."""
        last_told_s = -_INTERVAL_S

        def told(done_bytes: int) -> None:
            nonlocal last_told_s
            self.check()
            now_s = time.monotonic()
            if now_s - last_told_s >= _INTERVAL_S or done_bytes >= total_bytes:
                last_told_s = now_s
                self.tell(phase, file, sha256, total_bytes, done_bytes)

        return told
