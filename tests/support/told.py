"""What a server tells of itself: its metrics, its residents and its processes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

import psutil
from prometheus_client.parser import text_string_to_metric_families

from tests.support.ledger import Ledger
from tests.support.server import RunningServer, until

_DEFECT = re.compile(r"This is a bug|never retrieved|never awaited|request \S+ failed|Exception in ASGI")
PROMISED_S = 15.0  # until all is quiet after the last answer; mostly it is at once


class Told:
    """One page of metrics, one moment."""

    def __init__(self, text: str) -> None:
        self._samples = [
            sample for family in text_string_to_metric_families(text) for sample in family.samples
        ]

    @classmethod
    def by(cls, server: RunningServer) -> Told:
        """Returns the page as it is now."""
        return cls(server.http.get("/metrics").text)

    def total(self, name: str, **labels: str) -> float:
        """Returns the sum over all series of this name that have these labels; 0 if there is none."""
        return sum(s.value for s in self._samples if s.name == name and labels.items() <= s.labels.items())

    def ends(self) -> Mapping[str, float]:
        """Returns how many accepted requests ended, by outcome."""
        ends: Counter[str] = Counter()
        for sample in self._samples:
            if sample.name == "turbov2_requests_ended_total":
                ends[sample.labels["outcome"]] += int(sample.value)
        return ends

    def is_at_rest(self) -> bool:
        """Returns whether nothing is in flight, held or queued, model by model."""
        levels = (
            "turbov2_requests_in_flight",
            "turbov2_model_leases",
            "turbov2_queue_items",
            "turbov2_queue_bytes",
        )
        return all(sample.value == 0 for sample in self._samples if sample.name in levels)

    @staticmethod
    def assert_at_rest(server: RunningServer, before: Told, ledger: Ledger) -> None:
        """Raises: AssertionError unless the server is well, its ledger the clients' and nothing left over."""
        assert server.is_running(), server.log()[-3000:]
        until(lambda: Told.by(server).is_at_rest(), PROMISED_S)
        until(lambda: not strays(server), PROMISED_S)
        now = Told.by(server)
        accepted, ends = (now.total("turbov2_requests_accepted_total"), now.ends())
        assert accepted == sum(ends.values()), f"accepted {accepted:g}, ended {dict(ends)}"
        gained = Counter(ends) - Counter(before.ends())
        n_left = ledger.n("cancelled")  # some of them had their answer on the way, or were not yet accepted
        assert 0 <= gained["answered"] - ledger.n("answered") <= n_left, dict(gained)
        n_errors = gained["refused"] + gained["failed"] + gained["expired"]
        assert 0 <= n_errors - ledger.n("refused") - ledger.n("failed") <= n_left, dict(gained)
        assert server.http.get("/livez").status_code == 200
        assert not (defect := _DEFECT.search(server.log())), server.log()[defect.start() - 500 :][:3000]


def resident(server: RunningServer, model: str) -> dict[str, Any]:
    """Returns what /api/status tells of a model in memory; nothing when it is not."""
    residents = server.http.get("/api/status").json()["residents"]
    return next((each for each in residents if each["model"] == model), {})


def explain(server: RunningServer, model: str) -> dict[str, Any]:
    """Returns what /api/explain tells of a model."""
    plan: dict[str, Any] = server.http.get("/api/explain", params={"model": model}).json()
    return plan


def child_of(server: RunningServer, model: str) -> psutil.Process:
    """Returns the process that holds the model's weights, once there is one."""
    until(lambda: resident(server, model).get("state") == "ready")
    return psutil.Process(resident(server, model)["pid"])


def strays(server: RunningServer) -> list[psutil.Process]:
    """Returns processes below the server that hold no model: those not reaped, and children's children."""
    known = {each["pid"] for each in server.http.get("/api/status").json()["residents"]}
    return [child for child in server.children() if child.pid not in known]
