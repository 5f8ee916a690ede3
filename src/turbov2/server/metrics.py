"""GET /metrics: what was counted, and what the engine is like at this moment."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from turbov2.engine.protocol import Engine
from turbov2.obs.levels import PoolLevel, QueueLevel, ResidentLevel
from turbov2.obs.meters import Meters
from turbov2.wire._http import Request, Response


class MetricsPage:
    """The page, and the engine as its gauges see it."""

    def __init__(self, meters: Meters, engine: Engine) -> None:
        self._meters = meters
        self._engine = engine
        meters.watch(self)

    async def render(self, request: Request) -> Response:
        """GET /metrics: Prometheus text."""
        return Response(self._meters.text(), media_type=CONTENT_TYPE_PLAIN_0_0_4.encode())

    def pools(self) -> Iterable[PoolLevel]:
        """Returns every pool."""
        return [
            PoolLevel(pool.name, pool.budget_bytes, pool.committed_bytes, pool.available_bytes)
            for pool in self._engine.pools()
        ]

    def residents(self) -> Iterable[ResidentLevel]:
        """Returns every model in the residency table."""
        return [
            ResidentLevel(each.model.name, each.state, each.leases, each.bytes, each.estimated_bytes)
            for each in self._engine.residents()
        ]

    def queues(self) -> Iterable[QueueLevel]:
        """Returns the queue of every loaded model."""
        return [
            QueueLevel(each.model.name, each.queued_items, each.queued_tokens, each.admitted_chars)
            for each in self._engine.residents()
        ]
