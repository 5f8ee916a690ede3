"""GET /metrics: Prometheus text with bounded labels."""

from __future__ import annotations

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from turbov2.engine.protocol import Engine
from turbov2.wire._http import Request, Response

_BUCKETS_S = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Metrics:
    """Counts requests by route and status; asks the engine for the rest when it is read."""

    def __init__(self, engine: Engine) -> None:
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "turbov2_http_requests", "Requests answered.", ("route", "status"), registry=self._registry
        )
        self._seconds = Histogram(
            "turbov2_http_request_duration_seconds",
            "Time from the first byte read to the last byte sent.",
            ("route",),
            buckets=_BUCKETS_S,
            registry=self._registry,
        )
        self._registry.register(_EngineCollector(engine))
        # `labels()` takes a lock and builds a tuple of strings: remembered, it costs nothing.
        self._children: dict[tuple[str, int], tuple[Counter, Histogram]] = {}

    def observe(self, route: str, status: int, seconds: float) -> None:
        """Afterwards this request is counted. `route` is a route's path, never a client's."""
        children = self._children.get((route, status))
        if children is None:
            children = (self._requests.labels(route, str(status)), self._seconds.labels(route))
            self._children[route, status] = children
        children[0].inc()
        children[1].observe(seconds)

    async def render(self, request: Request) -> Response:
        """GET /metrics."""
        return Response(generate_latest(self._registry), media_type=CONTENT_TYPE_PLAIN_0_0_4.encode())


class _EngineCollector:
    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def collect(self) -> Iterable[Metric]:
        committed, allowed = self._engine.budget_bytes()
        budget = GaugeMetricFamily("turbov2_host_memory_bytes", "Host memory for models.", labels=["kind"])
        budget.add_metric(["committed"], committed)
        budget.add_metric(["budget"], allowed)
        loaded = GaugeMetricFamily(
            "turbov2_model_host_bytes", "Host memory of a resident model.", labels=["model"]
        )
        leases = GaugeMetricFamily("turbov2_model_leases", "Requests that hold a model.", labels=["model"])
        for resident in self._engine.residents():
            loaded.add_metric([resident.model.name], resident.host_bytes)
            leases.add_metric([resident.model.name], resident.leases)
        return [budget, loaded, leases]
