"""Every metric of the server, by what it is about, and the page that Prometheus reads.

Labels are bounded: models by their catalogue names, never what a client sent; lanes, outcomes, reasons and
error codes in our own words. All of it belongs to the event loop's thread.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from turbov2.obs.lag import LoopLag
from turbov2.obs.levels import Levels, NoLevels, level_gauges
from turbov2.obs.model_meters import BatchMeters, ModelMeters
from turbov2.obs.request_meters import HttpMeters, RequestMeters
from turbov2.obs.series import Gauge, Series


class Meters:
    """What is counted of one server, and its gauges."""

    def __init__(self) -> None:
        self.http = HttpMeters()
        self.requests = RequestMeters()
        self.batches = BatchMeters()
        self.models = ModelMeters()
        self.lag = LoopLag()
        self._levels: Levels = NoLevels()

    def watch(self, levels: Levels) -> None:
        """From now on the gauges read these."""
        self._levels = levels

    def text(self) -> Iterator[bytes]:
        """Returns what everything reads at this moment, in Prometheus' text format 0.0.4.

        One piece for each metric: the text of a busy server's thousands of series takes longer than the event
        loop may be held.
        """
        families = [series.family() for series in self.series()]
        return (generate_latest(_Read(family)) for family in families)

    def series(self) -> Sequence[Series]:
        """Returns every metric, whether it has a value yet or not."""
        self.requests.sort()
        groups = (self.http, self.requests, self.batches, self.models)
        return [
            *chain.from_iterable(group.series for group in groups),
            *level_gauges(lambda: self._levels),
            Gauge(
                "turbov2_loop_lag_seconds",
                "How late the event loop ran its last half-second timer.",
                (),
                lambda: [((), self.lag.last_s)],
            ),
            Gauge(
                "turbov2_loop_lag_max_seconds",
                "The largest such lag of the last minute.",
                (),
                lambda: [((), self.lag.max_s)],
            ),
        ]


class _Read(Collector):
    """One metric, already read."""

    def __init__(self, family: Metric) -> None:
        self._family = family

    def collect(self) -> tuple[Metric]:
        """Returns it."""
        return (self._family,)


def metrics_table() -> list[tuple[str, str, str, str]]:
    """Returns name, type, labels and meaning of every metric, as docs/metrics.md shows them."""
    return [(one.name, one.kind, ", ".join(one.labels), one.meaning) for one in Meters().series()]
