"""Writes Grafana's dashboard. `make docs` runs it; a test fails where the file is not what this says.

Each panel is a question about the server, its unit, and the queries that answer it: PromQL and the legend of
its lines. `$model` and `$__rate_interval` are filled in by Grafana.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NamedTuple

FOLDER = Path(__file__).parent / "grafana" / "dashboards"
_COLUMNS = 24  # of Grafana's grid
_WIDTH, _HEIGHT = 8, 8
_SOURCE = {"type": "prometheus", "uid": "prometheus"}
_MODEL = 'model=~"$model"'
_NOT_ANSWERED = f'{{{_MODEL}, outcome!~"answered|cancelled"}}'
_RATE = "[$__rate_interval]"


class Panel(NamedTuple):
    """One chart."""

    title: str
    unit: str  # as Grafana names it
    queries: tuple[tuple[str, str], ...]  # PromQL, legend
    kind: str = "timeseries"


def _quantile(share: float, metric: str) -> str:
    return f"histogram_quantile({share}, sum by (model, le) (rate({metric}_bucket{{{_MODEL}}}{_RATE})))"


def _rate_by_model(metric: str) -> str:
    return f"sum by (model) (rate({metric}{{{_MODEL}}}{_RATE}))"


PANELS = (
    Panel("Reached", "bool_yes_no", (('up{job="turbov2"}', "{{instance}}"),), "stat"),
    Panel("Requests in flight", "short", ((f"sum(turbov2_requests_in_flight{{{_MODEL}}})", ""),), "stat"),
    Panel(
        "Crashes, last day", "short", (("sum(increase(turbov2_crashes_total[1d])) or vector(0)", ""),), "stat"
    ),
    Panel(
        "Requests by outcome",
        "reqps",
        ((f"sum by (outcome) (rate(turbov2_requests_ended_total{{{_MODEL}}}{_RATE}))", "{{outcome}}"),),
    ),
    Panel(
        "Refused and failed, by reason",
        "reqps",
        (
            (
                f"sum by (model, error) (rate(turbov2_requests_ended_total{_NOT_ANSWERED}{_RATE}))",
                "{{model}}: {{error}}",
            ),
        ),
    ),
    Panel(
        "HTTP answers by status",
        "reqps",
        ((f"sum by (status) (rate(turbov2_http_requests_total{_RATE}))", "{{status}}"),),
    ),
    Panel(
        "Duration of requests",
        "s",
        (
            (_quantile(0.5, "turbov2_request_duration_seconds"), "{{model}} p50"),
            (_quantile(0.99, "turbov2_request_duration_seconds"), "{{model}} p99"),
        ),
    ),
    Panel(
        "Waiting in the queue, p99", "s", ((_quantile(0.99, "turbov2_queue_duration_seconds"), "{{model}}"),)
    ),
    Panel(
        "Forward of a batch, p99",
        "s",
        ((_quantile(0.99, "turbov2_inference_duration_seconds"), "{{model}}"),),
    ),
    Panel("Inputs that wait", "short", ((f"sum by (model) (turbov2_queue_items{{{_MODEL}}})", "{{model}}"),)),
    Panel(
        "Busy (1: it always computes)",
        "percentunit",
        ((_rate_by_model("turbov2_inference_duration_seconds_sum"), "{{model}}"),),
    ),
    Panel(
        "Inputs per batch",
        "short",
        (
            (
                " / ".join(_rate_by_model(f"turbov2_batch_items_{part}") for part in ("sum", "count")),
                "{{model}}",
            ),
        ),
    ),
    Panel("Tokens read", "short", ((_rate_by_model("turbov2_input_tokens_total"), "{{model}} a second"),)),
    Panel(
        "Inputs by where their vector came from",
        "short",
        ((f"sum by (source) (rate(turbov2_items_total{{{_MODEL}}}{_RATE}))", "{{source}}"),),
    ),
    Panel(
        "Sound transcribed, seconds a second",
        "short",
        ((_rate_by_model("turbov2_audio_seconds_total"), "{{model}}"),),
    ),
    Panel(
        "Memory: what models take of the budget",
        "bytes",
        (
            ("turbov2_pool_committed_bytes", "{{pool}} taken"),
            ("turbov2_pool_budget_bytes", "{{pool}} budget"),
        ),
    ),
    Panel(
        "Memory of each model",
        "bytes",
        ((f"turbov2_model_resident_bytes{{{_MODEL}}}", "{{model}} in {{pool}}"),),
    ),
    Panel("Memory free", "bytes", (("turbov2_pool_available_bytes", "{{pool}}"),)),
    Panel(
        "Loads",
        "short",
        ((f"sum by (model) (increase(turbov2_loads_total{{{_MODEL}}}{_RATE}))", "{{model}}"),),
    ),
    Panel(
        "Unloads, by reason",
        "short",
        (
            (
                f"sum by (model, reason) (increase(turbov2_evictions_total{{{_MODEL}}}{_RATE}))",
                "{{model}}: {{reason}}",
            ),
        ),
    ),
    Panel(
        "Failures of models",
        "short",
        tuple(
            (f"sum by (model) (increase({metric}{{{_MODEL}}}{_RATE})) > 0", f"{{{{model}}}}: {what}")
            for metric, what in (
                ("turbov2_load_failures_total", "load failed"),
                ("turbov2_load_refusals_total", "no room"),
                ("turbov2_crashes_total", "crashed"),
                ("turbov2_leaks_total", "memory not given back"),
                ("turbov2_oom_recoveries_total", "out of memory in a forward"),
                ("turbov2_not_finite_rows_total", "NaN"),
            )
        ),
    ),
    Panel("Event loop late by at most", "s", (("turbov2_loop_lag_max_seconds", "{{instance}}"),)),
)


def dashboard() -> dict[str, Any]:
    """Returns what Grafana reads."""
    return {
        "uid": "turbov2",
        "title": "TurboV2",
        "tags": ["turbov2"],
        "schemaVersion": 39,
        "editable": False,
        "graphTooltip": 1,  # the cursor shows on all charts at once
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [_model_variable()]},
        "panels": [_panel(number, panel) for number, panel in enumerate(PANELS)],
    }


def _model_variable() -> dict[str, Any]:
    return {
        "name": "model",
        "label": "Model",
        "type": "query",
        "datasource": _SOURCE,
        "query": {"query": "label_values(turbov2_requests_accepted_total, model)", "refId": "model"},
        "refresh": 2,  # whenever the time range changes: models appear as they are used
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": ["All"], "value": ["$__all"]},
    }


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    columns = _COLUMNS // _WIDTH
    return {
        "id": number + 1,
        "title": panel.title,
        "type": panel.kind,
        "datasource": _SOURCE,
        "gridPos": {
            "x": number % columns * _WIDTH,
            "y": number // columns * _HEIGHT,
            "w": _WIDTH,
            "h": _HEIGHT,
        },
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + place), "expr": query, "legendFormat": legend, "datasource": _SOURCE}
            for place, (query, legend) in enumerate(panel.queries)
        ],
    }


def text() -> str:
    """Returns the file's text."""
    return json.dumps(dashboard(), indent=1) + "\n"


if __name__ == "__main__":
    (FOLDER / "turbov2.json").write_text(text(), "utf-8")
