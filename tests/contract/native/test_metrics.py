"""GET /metrics as Prometheus reads it."""

from __future__ import annotations

from collections import Counter

import pytest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.server import INLINE, REAL, RunningServer


def scrape(server: RunningServer) -> list[Sample]:
    response = server.http.get("/metrics")
    assert response.status_code == 200
    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    return [sample for family in text_string_to_metric_families(response.text) for sample in family.samples]


def value_of(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def requests(server: RunningServer, route: str, status: int) -> float:
    return value_of(scrape(server), "turbov2_http_requests_total", route=route, status=str(status))


def test_no_series_comes_twice(server: RunningServer) -> None:
    server.assert_well(INLINE)
    series = Counter((sample.name, tuple(sorted(sample.labels.items()))) for sample in scrape(server))
    assert len(series) > 20
    assert [key for key, count in series.items() if count > 1] == []


def test_names_are_ours_and_typed(server: RunningServer) -> None:
    text = server.http.get("/metrics").text
    for family in text_string_to_metric_families(text):
        assert family.name.startswith(("turbov2_", "gen_ai_", "process_", "python_"))
        assert family.type in ("counter", "gauge", "histogram")
        assert family.documentation


@pytest.mark.parametrize(
    ("method", "path", "route", "status"),
    [
        ("GET", "/api/version", "/api/version", 200),
        ("GET", "/api/version/", "/api/version", 200),
        ("POST", "/api/embed", "/api/embed", 400),
        ("GET", "/v1/models/nope", "/v1/models/", 404),
        ("GET", "/no/such/path", "unknown", 404),
        ("GET", "/api/embed", "unknown", 405),
    ],
)
def test_requests_are_counted_by_route(
    server: RunningServer, method: str, path: str, route: str, status: int
) -> None:
    before = requests(server, route, status)
    for _ in range(3):
        assert server.http.request(method, path).status_code == status
    assert requests(server, route, status) == before + 3


def test_durations_are_counted(server: RunningServer) -> None:
    name = "turbov2_http_request_duration_seconds"
    before = scrape(server)
    server.embed(INLINE)
    after = scrape(server)
    n_before, n_after = (
        value_of(samples, f"{name}_count", route="/api/embed") for samples in (before, after)
    )
    s_before, s_after = (value_of(samples, f"{name}_sum", route="/api/embed") for samples in (before, after))
    assert n_after == n_before + 1
    assert s_after > s_before
    assert value_of(after, f"{name}_bucket", route="/api/embed", le="+Inf") == n_after


def test_what_clients_send_is_no_label(server: RunningServer) -> None:
    server.http.get("/odd-path-of-a-client")
    server.http.post("/api/embed", json={"model": "odd-model-of-a-client", "input": "x"})
    assert "of-a-client" not in server.http.get("/metrics").text


def test_models_and_memory_are_gauges(server: RunningServer) -> None:
    server.assert_well(REAL)
    samples = scrape(server)
    assert value_of(samples, "turbov2_model_resident_bytes", model=REAL, pool="host") > 1_000_000
    assert value_of(samples, "turbov2_model_estimated_bytes", model=REAL, pool="host") > 1_000_000
    assert value_of(samples, "turbov2_model_state", model=REAL, state="ready") == 1
    assert value_of(samples, "turbov2_model_leases", model=REAL) == 0
    committed = value_of(samples, "turbov2_pool_committed_bytes", pool="host")
    assert 0 < committed < value_of(samples, "turbov2_pool_budget_bytes", pool="host")
    assert value_of(samples, "turbov2_pool_available_bytes", pool="host") > 1_000_000
