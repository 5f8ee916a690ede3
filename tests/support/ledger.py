"""A client's ledger: every request that is sent ends exactly once, and how it did is written down."""

from __future__ import annotations

import dataclasses
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Literal

import httpx
import numpy as np
import orjson

from tests.support.server import Embed

Headers = tuple[tuple[str, str], ...]
End = Literal["answered", "refused", "failed", "cancelled", "lost"]
ENDS: tuple[End, ...] = ("answered", "refused", "failed", "cancelled", "lost")
_TOLERANCE = 1e-6  # of a vector of length 1; another text's is off by tenths
_N_EXAMPLES = 5


@dataclasses.dataclass(frozen=True)
class Ask:
    """One request. `who` is its row in the ledger, `wanted` gives the vectors that are right."""

    who: str
    model: str
    texts: Sequence[str]
    wanted: Embed
    is_guilty: bool = False  # it may fail with an error of its own; its vectors are not looked at
    headers: Headers = ()
    path: str = "/api/embed"

    def end_of(self, answer: httpx.Response) -> End:
        """Returns how the request ended with this answer; "lost" is whatever no client should ever see."""
        if answer.status_code == 200:
            return "answered" if self.is_guilty or self._is_right(answer) else "lost"
        if answer.status_code == 504 or "retry-after" in answer.headers:
            return "refused"
        return "failed" if self.is_guilty and "error" in answer.text else "lost"

    def _is_right(self, answer: httpx.Response) -> bool:
        found = np.array(orjson.loads(answer.content)["embeddings"], np.float32)
        wanted = self.wanted(list(self.texts))
        return found.shape == wanted.shape and bool(np.abs(found - wanted).max() <= _TOLERANCE)


class Ledger:
    """Who sent how much, how it ended and after how many seconds."""

    def __init__(self) -> None:
        self._n_sent: Counter[str] = Counter()
        self._seconds: dict[tuple[str, End], list[float]] = defaultdict(list)
        self._examples: list[str] = []

    def sent(self, who: str) -> None:
        """Afterwards one more request is on its way."""
        self._n_sent[who] += 1

    def ended(self, who: str, end: End, seconds: float, said: str = "") -> None:
        """Afterwards one request has ended. `said` is kept as an example if it was lost."""
        self._seconds[who, end].append(seconds)
        if end == "lost" and len(self._examples) < _N_EXAMPLES:
            self._examples.append(f"{who}: {said:.300}")

    def n(self, end: End, who: str | None = None) -> int:
        """Returns how many requests ended so, of one row or of all."""
        return sum(
            len(times) for (row, how), times in self._seconds.items() if how == end and who in (row, None)
        )

    def n_sent(self) -> int:
        """Returns how many requests were sent in all."""
        return self._n_sent.total()

    def p99_s(self, who: str, end: End = "answered") -> float:
        """Returns how long all but the slowest hundredth took at most."""
        return float(np.quantile(self._seconds[who, end], 0.99))

    def show(self, title: str) -> None:
        """Afterwards the table is printed: `pytest -rP` shows it."""
        print(
            f"\n{title}\n{'':16}{'sent':>8}", *(f"{end:>10}" for end in ENDS), f"{'p50 ms':>9}{'p99 ms':>9}"
        )
        for who, n_sent in self._n_sent.items():
            times = self._seconds[who, "answered"] or [0.0]
            p50_s, p99_s = np.quantile(times, (0.5, 0.99))
            counts = (f"{self.n(end, who):>10}" for end in ENDS)
            print(f"{who:<16}{n_sent:>8}", *counts, f"{p50_s * 1e3:>9.1f}{p99_s * 1e3:>9.1f}")

    def assert_balanced(self) -> None:
        """Raises: AssertionError if a request was lost, or ended twice or never."""
        assert not self.n("lost"), f"{self.n('lost')} lost: {self._examples}"
        n_ended = Counter(who for (who, _), times in self._seconds.items() for _ in times)
        assert n_ended == self._n_sent, "each request ends once"
