"""What /metrics counts: the ledger, buckets, gauges read on time, and a table that names all of it."""

from __future__ import annotations

import asyncio
import datetime as dt
import re
import timeit
from collections import Counter as Tally
from collections.abc import Iterable
from pathlib import Path
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram, generate_latest
from prometheus_client.parser import text_string_to_metric_families
from prometheus_client.samples import Sample

from tests.support.clock import now_s, on_clock
from turbov2.batching import BatchRecord
from turbov2.errors import (
    DeadlineExceeded,
    InferenceFailed,
    InputTooLong,
    LoadFailed,
    OutOfMemory,
    QueueFull,
    RunnerCrashed,
)
from turbov2.obs import lag as lag_module
from turbov2.obs.levels import PoolLevel, QueueLevel, ResidentLevel
from turbov2.obs.meters import Meters, metrics_table
from turbov2.obs.request_meters import EXPIRED, Outcome, outcome_of
from turbov2.obs.series import Histogram as LoopHistogram
from turbov2.types import MemoryEvent
from turbov2.types.memory import EventKind

DOCS = Path(__file__).resolve().parents[2] / "docs"

ENDS: list[tuple[BaseException | None, Outcome, str]] = [
    (None, "answered", ""),
    (QueueFull("full"), "refused", "queue_full"),
    (OutOfMemory("no room"), "refused", "out_of_memory"),
    (InputTooLong("long"), "refused", "input_too_long"),
    (DeadlineExceeded("late"), "expired", "deadline_exceeded"),
    (asyncio.CancelledError(EXPIRED), "expired", "deadline_exceeded"),
    (asyncio.CancelledError(), "cancelled", "cancelled"),
    (GeneratorExit(), "cancelled", "cancelled"),  # who reads a stream stopped reading
    (InferenceFailed("broke"), "failed", "inference_failed"),
    (RunnerCrashed("died"), "failed", "runner_crashed"),
    (LoadFailed("no"), "failed", "load_failed"),
    (ZeroDivisionError("a bug"), "failed", "internal_error"),
]


MEMORY_EVENTS = [
    ("loaded", "turbov2_loads_total", {}),
    ("load_failed", "turbov2_load_failures_total", {}),
    ("refused", "turbov2_load_refusals_total", {}),
    ("crashed", "turbov2_crashes_total", {}),
    ("leaked", "turbov2_leaks_total", {}),
    ("evicted", "turbov2_evictions_total", {"reason": "made_room"}),
    ("expired", "turbov2_evictions_total", {"reason": "keep_alive"}),
    ("unloaded", "turbov2_evictions_total", {"reason": "asked"}),
    ("recycled", "turbov2_evictions_total", {"reason": "recycled"}),
    ("abandoned", "turbov2_evictions_total", {"reason": "abandoned"}),
]
KINDS = [kind for kind, *_ in MEMORY_EVENTS]


def happened(kind: Any) -> MemoryEvent:
    return MemoryEvent(
        at=dt.datetime.now(dt.UTC), kind=kind, model="a", key="weights-of-a", reason="for a reason",
        bytes={"host": 5}, seconds=0.3,
    )  # fmt: skip


RAN = BatchRecord(
    lane="default", n_items=4, n_tokens=300, cost=400, queue_ns=0, inference_ns=30_000_000, outcome="ok"
)
RAN_OUT = msgspec.structs.replace(
    RAN, outcome="oom", oom_steps=("free_caches", "evict", "split"), n_not_finite=2
)


class World:
    """Levels that a test sets."""

    def __init__(self) -> None:
        self.all_pools: list[PoolLevel] = []
        self.all_residents: list[ResidentLevel] = []
        self.all_queues: list[QueueLevel] = []

    def pools(self) -> Iterable[PoolLevel]:
        return self.all_pools

    def residents(self) -> Iterable[ResidentLevel]:
        return self.all_residents

    def queues(self) -> Iterable[QueueLevel]:
        return self.all_queues


def scrape(meters: Meters) -> list[Sample]:
    text = b"".join(meters.text()).decode()
    return [sample for family in text_string_to_metric_families(text) for sample in family.samples]


def total(samples: list[Sample], name: str, **labels: str) -> float:
    return sum(s.value for s in samples if s.name == name and labels.items() <= s.labels.items())


def present(samples: list[Sample], name: str) -> dict[tuple[str, ...], float]:
    return {tuple(s.labels.values()): s.value for s in samples if s.name == name}


def busy() -> Meters:
    """Meters on which everything has happened at least once."""
    meters, world = Meters(), World()
    for error, *_ in ENDS:
        meters.requests.accepted("a", "default")
        meters.requests.ended("a", "default", 0.02, 2, 9, error)
    meters.http.answered("/api/embed", 200, 0.01)
    meters.requests.queued("a", "default", 20_000_000, 2_000_000)
    meters.requests.heard("a", 30.0)
    meters.batches.ran("a", RAN)
    meters.batches.ran("a", RAN_OUT)
    meters.batches.answered("a", n_items=10, n_cached=3, n_joined=2)
    for kind in KINDS:
        meters.models.memory_event(happened(kind))
    world.all_pools = [PoolLevel("host", 100, 60, 40)]
    world.all_residents = [ResidentLevel("a", "ready", 2, {"host": 50, "cuda:0": 7}, {"host": 60})]
    world.all_queues = [QueueLevel("a", 5, 70, 900)]
    meters.watch(world)
    return meters


@pytest.mark.parametrize(("error", "outcome", "code"), ENDS)
def test_an_error_says_how_a_request_ended(error: BaseException | None, outcome: Outcome, code: str):
    assert outcome_of(error) == (outcome, code)


@given(
    st.lists(st.tuples(st.sampled_from("ab"), st.sampled_from(["default", "bulk"]), st.sampled_from(ENDS))),
    st.integers(0, 20),
)
def test_the_ledger_balances(requests: list[tuple[str, str, Any]], n_left: int):
    meters = Meters()
    for model, lane, _ in requests:
        meters.requests.accepted(model, lane)
    n_ended = max(len(requests) - n_left, 0)
    for model, lane, (error, *_) in requests[:n_ended]:
        meters.requests.ended(model, lane, 0.1, 1, 1, error)
    samples = scrape(meters)
    for model in "ab":
        accepted = total(samples, "turbov2_requests_accepted_total", model=model)
        ended = total(samples, "turbov2_requests_ended_total", model=model)
        in_flight = total(samples, "turbov2_requests_in_flight", model=model)
        assert accepted == ended + in_flight
        assert in_flight == sum(request[0] == model for request in requests[n_ended:])
    told = Tally(outcome for *_, (_, outcome, _) in requests[:n_ended])
    for outcome in get_args(Outcome):
        assert total(samples, "turbov2_requests_ended_total", outcome=outcome) == told[outcome]


def test_only_answers_have_tokens():
    samples = scrape(busy())
    assert total(samples, "turbov2_input_tokens_total", model="a", lane="default") == 9
    assert total(samples, "gen_ai_client_token_usage_sum", gen_ai_request_model="a") == 9
    assert total(samples, "gen_ai_client_token_usage_count") == 1
    assert total(samples, "turbov2_request_items_sum") == 2 * len(ENDS)


def test_genai_names_labels_and_bounds_are_the_conventions():
    samples = scrape(busy())
    seconds = [s for s in samples if s.name == "gen_ai_server_request_duration_seconds_bucket"]
    assert {s.labels["error_type"] for s in seconds} == {code for *_, code in ENDS}
    assert {s.labels["gen_ai_operation_name"] for s in seconds} == {"embeddings"}
    assert {s.labels["gen_ai_provider_name"] for s in seconds} == {"turbov2"}
    bounds = [float(s.labels["le"]) for s in seconds if s.labels["error_type"] == ""]
    assert bounds == [*(0.01 * 2**power for power in range(14)), float("inf")]
    tokens = [s for s in samples if s.name == "gen_ai_client_token_usage_bucket"]
    assert {s.labels["gen_ai_token_type"] for s in tokens} == {"input"}
    assert [float(s.labels["le"]) for s in tokens] == [*(4**power for power in range(14)), float("inf")]


def test_a_batch_shows_its_size_its_padding_and_its_end():
    samples = scrape(busy())
    assert total(samples, "turbov2_batch_items_sum", model="a") == 4
    padding = 1 - total(samples, "turbov2_batch_tokens_sum") / total(
        samples, "turbov2_batch_computed_tokens_total"
    )
    assert padding == pytest.approx(0.25)
    assert total(samples, "turbov2_inference_duration_seconds_sum") == pytest.approx(0.03)
    assert present(samples, "turbov2_batches_total") == {("a", "ok"): 1, ("a", "oom"): 1}
    steps = present(samples, "turbov2_oom_recoveries_total")
    assert steps == {("a", step): 1 for step in ("free_caches", "evict", "split")}
    assert total(samples, "turbov2_not_finite_rows_total") == 2


def test_inputs_are_counted_by_where_their_vector_came_from():
    sources = present(scrape(busy()), "turbov2_items_total")
    assert sources == {("a", "computed"): 5, ("a", "cached"): 3, ("a", "joined"): 2}


def test_queueing_is_told_by_lane():
    samples = scrape(busy())
    assert total(samples, "turbov2_queue_duration_seconds_sum", lane="default") == pytest.approx(0.02)
    assert total(samples, "turbov2_tokenize_duration_seconds_sum") == pytest.approx(0.002)


@pytest.mark.parametrize(("kind", "name", "labels"), MEMORY_EVENTS)
def test_memory_events_are_counted(kind: str, name: str, labels: dict[str, str]):
    meters = Meters()
    meters.models.memory_event(happened("loaded"))
    before = scrape(meters)
    # There is a 0 before the first step: else Prometheus would not see it.
    assert [s.value for s in before if s.name == name and labels.items() <= s.labels.items()] in ([0], [1])
    meters.models.memory_event(happened(kind))
    after = scrape(meters)
    assert total(after, name, model="a", **labels) == total(before, name, model="a", **labels) + 1
    changed = [s for s in after if s not in before and "duration" not in s.name]
    assert len(changed) == 1


def test_every_kind_of_event_is_counted():
    assert set(get_args(EventKind)) <= set(KINDS)


def test_gauges_read_the_present():
    meters, world = Meters(), World()
    assert total(scrape(meters), "turbov2_pool_budget_bytes") == 0
    meters.watch(world)
    world.all_pools = [PoolLevel("host", 100, 60, 40), PoolLevel("cuda:0", 9, 8, 7)]
    world.all_residents = [ResidentLevel("a", "ready", 2, {"host": 50, "cuda:0": 7}, {"host": 60})]
    world.all_queues = [QueueLevel("a", 5, 70, 900)]
    samples = scrape(meters)
    assert present(samples, "turbov2_pool_budget_bytes") == {("host",): 100, ("cuda:0",): 9}
    assert present(samples, "turbov2_pool_committed_bytes") == {("host",): 60, ("cuda:0",): 8}
    assert present(samples, "turbov2_pool_available_bytes") == {("host",): 40, ("cuda:0",): 7}
    assert present(samples, "turbov2_model_resident_bytes") == {("a", "host"): 50, ("a", "cuda:0"): 7}
    assert present(samples, "turbov2_model_estimated_bytes") == {("a", "host"): 60}
    assert present(samples, "turbov2_model_leases") == {("a",): 2}
    assert present(samples, "turbov2_model_state") == {("a", "ready"): 1}
    assert present(samples, "turbov2_queue_items") == {("a",): 5}
    assert present(samples, "turbov2_queue_tokens") == {("a",): 70}
    assert present(samples, "turbov2_queue_bytes") == {("a",): 900}
    world.all_residents = []
    assert present(scrape(meters), "turbov2_model_state") == {}


def test_one_scrape_is_one_moment():
    meters = Meters()
    pieces = meters.text()
    meters.requests.accepted("a", "default")
    assert b'model="a"' not in b"".join(pieces)


@given(st.lists(st.floats(0, 100)))
def test_histograms_count_as_the_library_does(values: list[float]):
    bounds = (0.5, 1, 10)
    registry = CollectorRegistry()
    theirs = Histogram("turbov2_some_seconds", "Some.", ("model",), registry=registry, buckets=bounds)
    ours = LoopHistogram("turbov2_some_seconds", "Some.", ("model",), bounds)
    for value in values:
        theirs.labels("a").observe(value)
        ours.observe(("a",), value)
    registry_of_ours = CollectorRegistry()
    registry_of_ours.collect = lambda: [ours.family()]  # type: ignore[method-assign]
    told = [line for line in generate_latest(registry).splitlines() if b"_created" not in line]
    assert generate_latest(registry_of_ours).splitlines() == told


def test_the_table_names_every_metric_once_and_right():
    rows = {name: (kind, labels, meaning) for name, kind, labels, meaning in metrics_table()}
    assert len(rows) == len(metrics_table())
    text = b"".join(busy().text()).decode()
    seen, shown = {}, {}
    for family in text_string_to_metric_families(text):
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        seen[name] = (family.type, labels, family.documentation)
    for name, (kind, labels, meaning) in rows.items():
        shown[name] = (kind, {*labels.split(", ")} - {""}, meaning)
    assert seen == shown


@pytest.mark.parametrize("row", metrics_table(), ids=lambda row: row[0])
def test_names_follow_the_conventions(row: tuple[str, str, str, str]):
    name, kind, _, meaning = row
    assert name.startswith(("turbov2_", "gen_ai_"))
    assert (kind == "counter") == name.endswith("_total")
    assert meaning.endswith(".")
    assert not {"ms", "milliseconds", "mb", "ratio", "percent"} & set(name.split("_"))


def test_the_page_has_a_line_for_each():
    lines = (DOCS / "metrics.md").read_text("utf-8").splitlines()
    shown = [line for line in lines if line.startswith("| `")]
    assert shown == [f"| `{name}` | {' | '.join(rest)} |" for name, *rest in metrics_table()]


def test_the_queries_ask_for_what_there_is():
    labels = {name: set(row.split(", ")) for name, _, row, _ in metrics_table()}
    text = (DOCS / "observability.md").read_text("utf-8")
    asked = re.findall(r"\b((?:turbov2|gen_ai)_\w+)(?:\{([^}]*)\})?", text)
    assert len(asked) > 15
    for name, selector in asked:
        base = name if name in labels else re.sub(r"_(bucket|sum|count)$", "", name)
        assert base in labels
        assert set(re.findall(r"(\w+)!?=", selector)) <= labels[base]


def test_accounting_of_a_request_costs_microseconds():
    requests = Meters().requests

    def one() -> None:
        requests.accepted("a", "interactive")
        requests.ended("a", "interactive", 0.0003, 1, 17)

    best_s = min(timeit.repeat(one, number=2000, repeat=5)) / 2000
    assert best_s < 20e-6  # about 1.6 µs on an idle machine; this only catches another order of magnitude


@on_clock
async def test_lag_is_how_late_the_timer_comes():
    meters, late_s = Meters(), 0.0

    def lags() -> tuple[float, float]:
        samples = scrape(meters)
        return total(samples, "turbov2_loop_lag_seconds"), total(samples, "turbov2_loop_lag_max_seconds")

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(lag_module, "perf_counter", lambda: now_s() + late_s)
        assert lags() == (0, 0)
        meters.lag.start()
        await asyncio.sleep(0.25)
        late_s = 0.04
        await asyncio.sleep(0.3)
        assert lags() == pytest.approx((0.04, 0.04))
        await asyncio.sleep(1)
        assert lags() == pytest.approx((0, 0.04))
        await asyncio.sleep(61)
        assert lags() == pytest.approx((0, 0))
        meters.lag.stop()
        late_s = 1
        await asyncio.sleep(5)
        assert lags() == pytest.approx((0, 0))


def test_stopping_what_never_started_is_fine():
    meters = Meters()
    meters.lag.stop()
    assert meters.lag.max_s == 0
