"""Admission: how much may wait, counted in inputs and bytes, decided before any work."""

from __future__ import annotations

import time
from collections.abc import Callable

from turbov2.errors import InvalidRequest, QueueFull

_MIN_RETRY_S, _MAX_RETRY_S = 1.0, 60.0
_WINDOW_S = 1.0  # of busy time: after each the drain rate moves half-way to what was measured in it


class Ticket:
    """Places in a queue. Whoever was admitted owns it and releases it, however the request ends."""

    __slots__ = ("_gate", "_n_bytes", "_n_items")

    def __init__(self, gate: Gate, n_items: int, n_bytes: int) -> None:
        self._gate: Gate | None = gate
        self._n_items = n_items
        self._n_bytes = n_bytes

    def release(self) -> None:
        """Afterwards others may take the places. A second call changes nothing."""
        gate, self._gate = self._gate, None
        while gate is not None:
            gate._leave(self._n_items, self._n_bytes)
            gate = gate._parent


class Gate:
    """Counts what is admitted and not yet released, of one model or, as `parent`, of all of them.

    `name` says in messages what waits here, `setting` which variable holds the limit of inputs; that of
    bytes ends in "_BYTES". `now_s` is a clock in seconds.
    """

    def __init__(
        self,
        name: str,
        max_items: int,
        max_bytes: int,
        parent: Gate | None = None,
        setting: str = "TURBOV2_MAX_QUEUE",
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.n_items = 0
        self.n_bytes = 0
        self._name = name
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._parent = parent
        self._setting = setting
        self._now_s = now_s
        self._n_held = 0  # tickets for inputs
        self._marked_s = 0.0  # up to here busy time is counted
        self._busy_s = 0.0  # in this window
        self._n_drained = 0  # in this window
        self._items_per_s = 0.0  # 0: not measured yet

    def admit(self, n_items: int, n_bytes: int) -> Ticket:
        """Returns places for the request here and at the parent, or takes none at all.

        Raises: QueueFull, at once, when others hold too many; InvalidRequest when the request alone
        passes a limit.
        """
        gate: Gate | None = self
        while gate is not None:
            if gate.n_items + n_items > gate._max_items or gate.n_bytes + n_bytes > gate._max_bytes:
                raise gate._refusal(n_items, n_bytes)
            gate = gate._parent
        gate = self
        while gate is not None:
            if n_items and not gate._n_held:
                gate._marked_s = gate._now_s()
            gate._n_held += bool(n_items)
            gate.n_items += n_items
            gate.n_bytes += n_bytes
            gate = gate._parent
        return Ticket(self, n_items, n_bytes)

    def retry_after_s(self) -> float:
        """Returns when what waits now will have drained at the measured rate: 1 to 60 s."""
        rate = self._items_per_s or (self._n_drained / self._busy_s if self._busy_s else 0.0)
        return min(max(self.n_items / rate, _MIN_RETRY_S), _MAX_RETRY_S) if rate else _MIN_RETRY_S

    def _leave(self, n_items: int, n_bytes: int) -> None:
        self.n_bytes -= n_bytes
        if not n_items:
            return
        self._n_held -= 1
        self.n_items -= n_items
        now_s = self._now_s()
        self._n_drained += n_items
        self._busy_s += now_s - self._marked_s
        self._marked_s = now_s
        if self._busy_s >= _WINDOW_S:
            rate = self._n_drained / self._busy_s
            self._items_per_s = (self._items_per_s + rate) / 2 if self._items_per_s else rate
            self._n_drained, self._busy_s = 0, 0.0

    def _refusal(self, n_items: int, n_bytes: int) -> QueueFull | InvalidRequest:
        counts = (
            (n_items, self.n_items, self._max_items, "inputs", self._setting),
            (n_bytes, self.n_bytes, self._max_bytes, "bytes", f"{self._setting}_BYTES"),
        )
        for n, _, limit, unit, setting in counts:
            if n > limit:
                return InvalidRequest(
                    f"this request has {n} {unit}, but at most {limit} may wait for {self._name} at a time "
                    f"({setting}); send it in smaller parts",
                    param="input",
                )
        n, n_held, limit, unit, setting = next(each for each in counts if each[0] + each[1] > each[2])
        return QueueFull(
            f"{n_held} {unit} already wait for {self._name} and this request has {n}, the limit is {limit} "
            f"({setting}); send it again later",
            retry_after_s=self.retry_after_s(),
        )
