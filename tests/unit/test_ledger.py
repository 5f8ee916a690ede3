"""Every request ends in the ledger exactly once, and tells its log line and its trace what it was."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.support.clock import on_clock
from turbov2.errors import InferenceFailed, QueueFull
from turbov2.obs.ledger import Ledger
from turbov2.obs.logs import begin_request
from turbov2.obs.meters import Meters
from turbov2.obs.request_meters import EXPIRED

MS = 1_000_000


class Told(msgspec.Struct):
    n_tokens: int = 17
    load_ns: int = 40 * MS
    queue_ns: int = 5 * MS
    tokenize_ns: int = 2 * MS
    inference_ns: int = 30 * MS


class Asked(msgspec.Struct):
    traceparent: str = ""


def value(meters: Meters, name: str) -> float:
    text = b"".join(meters.text()).decode()
    return sum(s.value for f in text_string_to_metric_families(text) for s in f.samples if s.name == name)


def ends(meters: Meters) -> dict[tuple[str, str], float]:
    text = b"".join(meters.text()).decode()
    return {
        (sample.labels["outcome"], sample.labels["error"]): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
        if sample.name == "turbov2_requests_ended_total"
    }


def in_flight(meters: Meters) -> float:
    return value(meters, "turbov2_requests_in_flight")


@pytest.fixture
def meters() -> Meters:
    return Meters()


def test_an_answer_is_counted_when_its_block_ends(meters: Meters):
    with Ledger(meters.requests).entry("a", "default", 3, Asked()) as entry:
        entry.answered(Told())
        assert in_flight(meters) == 1
        assert ends(meters) == {}
    assert in_flight(meters) == 0
    assert ends(meters) == {("answered", ""): 1}


def test_only_what_was_queued_is_counted_as_queued(meters: Meters):
    ledger = Ledger(meters.requests)
    for answer in (Told(), Told(queue_ns=0, tokenize_ns=0)):
        with ledger.entry("a", "default", 3, Asked()) as entry:
            entry.answered(answer)
    assert value(meters, "turbov2_input_tokens_total") == 34
    assert value(meters, "turbov2_queue_duration_seconds_count") == 1
    assert value(meters, "turbov2_queue_duration_seconds_sum") == pytest.approx(0.005)
    assert value(meters, "turbov2_tokenize_duration_seconds_sum") == pytest.approx(0.002)


@pytest.mark.parametrize(
    ("error", "end"),
    [
        (QueueFull("full"), ("refused", "queue_full")),
        (InferenceFailed("broke"), ("failed", "inference_failed")),
        (KeyError("a bug"), ("failed", "internal_error")),
    ],
)
def test_an_error_is_counted_and_passed_on(meters: Meters, error: Exception, end: tuple[str, str]):
    with pytest.raises(type(error)), Ledger(meters.requests).entry("a", "default", 3, Asked()):
        raise error
    assert in_flight(meters) == 0
    assert ends(meters) == {end: 1}


@pytest.mark.parametrize(
    ("cancel", "end"),
    [
        (lambda task: task.cancel(), ("cancelled", "cancelled")),
        (lambda task: task.cancel(EXPIRED), ("expired", "deadline_exceeded")),
    ],
)
@pytest.mark.parametrize("is_nested", [False, True])
def test_a_cancel_is_counted_by_its_reason(
    meters: Meters, cancel: Callable[[asyncio.Task[None]], None], end: tuple[str, str], is_nested: bool
):
    async def wait() -> None:
        await asyncio.Event().wait()

    async def ask() -> None:
        with Ledger(meters.requests).entry("a", "default", 3, Asked()):
            await (asyncio.create_task(wait()) if is_nested else wait())

    @on_clock
    async def main() -> None:
        task = asyncio.create_task(ask())
        await asyncio.sleep(1)
        assert in_flight(meters) == 1
        cancel(task)
        with pytest.raises(asyncio.CancelledError):
            await task

    main()
    assert in_flight(meters) == 0
    assert ends(meters) == {end: 1}


def fields_of(answer: Told | None) -> dict[str, Any]:
    told: dict[str, Any] = {}

    @on_clock
    async def main() -> None:
        request = begin_request("req_a")
        with Ledger(Meters().requests).entry("a", "bulk", 3, Asked()) as entry:
            if answer is not None:
                entry.answered(answer)
        told.update(request.fields())
        request.end()
        assert request.fields() == {}

    main()
    return told


def test_the_request_can_tell_its_access_line_what_it_was():
    known = {"model": "a", "lane": "bulk", "n_items": 3}
    assert fields_of(None) == known
    assert fields_of(Told()) == {**known, "n_tokens": 17, "queue_ms": 5.0, "inference_ms": 30.0}
