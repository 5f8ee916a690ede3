"""What the gauges read of the engine when /metrics is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Protocol

import msgspec

from turbov2.obs.series import Gauge, Readings


class PoolLevel(msgspec.Struct, frozen=True):
    """One memory pool: "host", "cuda:0" and so on."""

    pool: str
    budget_bytes: int  # what models may take
    committed_bytes: int  # what they take and what loads have reserved
    available_bytes: int  # what the machine or device has free, whoever uses the rest


class ResidentLevel(msgspec.Struct, frozen=True):
    """One entry of the residency table. Both mappings go from pool to bytes."""

    model: str
    state: str
    leases: int
    measured_bytes: Mapping[str, int]
    estimated_bytes: Mapping[str, int]


class QueueLevel(msgspec.Struct, frozen=True):
    """What waits for one loaded model."""

    model: str
    n_items: int  # without a forward yet
    n_tokens: int  # of those that are tokenised
    n_bytes: int  # of admitted texts


class Levels(Protocol):
    """Plain looks at the present: no waiting, no measuring, under a millisecond in all."""

    def pools(self) -> Iterable[PoolLevel]:
        """Returns every pool."""

    def residents(self) -> Iterable[ResidentLevel]:
        """Returns every model in the residency table, once."""

    def queues(self) -> Iterable[QueueLevel]:
        """Returns every loaded model that has a queue, once."""


class NoLevels:
    """Nothing: what the gauges read before there is an engine."""

    def pools(self) -> Iterable[PoolLevel]:
        """Returns nothing."""
        return ()

    def residents(self) -> Iterable[ResidentLevel]:
        """Returns nothing."""
        return ()

    def queues(self) -> Iterable[QueueLevel]:
        """Returns nothing."""
        return ()


def level_gauges(levels: Callable[[], Levels]) -> list[Gauge]:
    """Returns the gauges of whatever `levels` gives when they are read."""

    def pools(field: str) -> Callable[[], Readings]:
        return lambda: [((pool.pool,), getattr(pool, field)) for pool in levels().pools()]

    def queues(field: str) -> Callable[[], Readings]:
        return lambda: [((queue.model,), getattr(queue, field)) for queue in levels().queues()]

    def bytes_of(field: str) -> Callable[[], Readings]:
        return lambda: [
            ((resident.model, pool), n_bytes)
            for resident in levels().residents()
            for pool, n_bytes in getattr(resident, field).items()
        ]

    return [
        Gauge("turbov2_pool_budget_bytes", "What models may take of this memory.", ["pool"],
              pools("budget_bytes")),
        Gauge("turbov2_pool_committed_bytes", "What models take, measured, and what loads have reserved.",
              ["pool"], pools("committed_bytes")),
        Gauge("turbov2_pool_available_bytes", "What the machine or device has free, whoever uses the rest.",
              ["pool"], pools("available_bytes")),
        Gauge("turbov2_model_resident_bytes", "Measured memory of a loaded model.", ["model", "pool"],
              bytes_of("measured_bytes")),
        Gauge("turbov2_model_estimated_bytes", "Memory that was expected before it was measured.",
              ["model", "pool"], bytes_of("estimated_bytes")),
        Gauge("turbov2_model_leases", "Requests that hold a model.", ["model"],
              lambda: [((resident.model,), resident.leases) for resident in levels().residents()]),
        Gauge("turbov2_model_state", "1 for the state that a model is in; absent models have no series.",
              ["model", "state"],
              lambda: [((resident.model, resident.state), 1) for resident in levels().residents()]),
        Gauge("turbov2_queue_items", "Inputs that wait for a forward.", ["model"], queues("n_items")),
        Gauge("turbov2_queue_tokens", "Their tokens, as far as they are tokenised.", ["model"],
              queues("n_tokens")),
        Gauge("turbov2_queue_bytes", "Text admitted and not yet answered.", ["model"], queues("n_bytes")),
    ]  # fmt: skip
