"""Spans as a collector receives them over OTLP/HTTP, from a receiver that is part of this test."""

from __future__ import annotations

import asyncio
import builtins
import logging
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import msgspec
import pytest

from turbov2.errors import InferenceFailed
from turbov2.obs.ledger import Ledger
from turbov2.obs.meters import Meters
from turbov2.obs.tracing import Tracer, tracer_from_environment

pytest.importorskip("opentelemetry.sdk.trace", reason="needs the extra 'telemetry'")
pytest.importorskip("opentelemetry.exporter.otlp.proto.http", reason="needs the extra 'telemetry'")

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

MS = 1_000_000
TRACE = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{CALLER}-01"
SERVER, INTERNAL, ERROR = 2, 1, 2  # numbers of the protocol


class Received(msgspec.Struct):
    """One span, with its ids as hex."""

    name: str
    kind: int
    trace: str
    id: str
    parent: str
    state: str
    start_ns: int
    end_ns: int
    status: int
    attributes: dict[str, Any]


class Collector:
    """Takes what is posted to /v1/traces; with `is_mute` it accepts connections and never answers."""

    def __init__(self) -> None:
        self.spans: list[Received] = []
        self.resource: dict[str, Any] = {}
        self.is_mute = threading.Event()
        self.may_end = threading.Event()
        collector = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                if collector.is_mute.is_set():
                    collector.may_end.wait(30)
                else:
                    collector.take(self.path, body)
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *_: Any) -> None:
                """Nothing: the test's output is enough."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.daemon_threads = True
        self.endpoint = f"http://127.0.0.1:{self.http.server_port}"
        self.thread = threading.Thread(target=self.http.serve_forever, args=(0.01,))

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        for group in ExportTraceServiceRequest.FromString(body).resource_spans:
            self.resource = plain(group.resource.attributes)
            self.spans += [received(span) for scope in group.scope_spans for span in scope.spans]

    def named(self, name: str) -> Received:
        (span,) = (span for span in self.spans if span.name == name)
        return span

    def __enter__(self) -> Collector:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.may_end.set()
        self.http.shutdown()
        self.thread.join()
        self.http.server_close()


def plain(attributes: Any) -> dict[str, Any]:
    return {a.key: getattr(a.value, a.value.WhichOneof("value")) for a in attributes}


def received(span: Any) -> Received:
    return Received(
        span.name, span.kind, span.trace_id.hex(), span.span_id.hex(), span.parent_span_id.hex(),
        span.trace_state, span.start_time_unix_nano, span.end_time_unix_nano, span.status.code,
        plain(span.attributes),
    )  # fmt: skip


@pytest.fixture
def collector(monkeypatch: pytest.MonkeyPatch) -> Iterator[Collector]:
    with Collector() as running:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", running.endpoint)
        yield running


@pytest.fixture
def tracer(collector: Collector) -> Iterator[Tracer]:
    made = tracer_from_environment()
    assert made is not None
    yield made
    asyncio.run(made.stop(5))


def send(tracer: Tracer) -> None:
    """Returns once what was recorded has arrived. The tracer is of no use afterwards."""
    asyncio.run(tracer.stop(5))


def test_no_endpoint_means_no_tracer(monkeypatch: pytest.MonkeyPatch):
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"):
        monkeypatch.setenv(name, " ")
    assert tracer_from_environment() is None


def test_an_endpoint_without_the_extra_is_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    real_import = builtins.__import__

    def without_sdk(name: str, *rest: Any) -> Any:
        if name.startswith("opentelemetry."):
            raise ImportError(name)
        return real_import(name, *rest)

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setattr(builtins, "__import__", without_sdk)
    with caplog.at_level(logging.WARNING):
        assert tracer_from_environment() is None
    assert "deposium-embeddings-turbov2[telemetry]" in caplog.text


def test_the_callers_trace_goes_on(tracer: Tracer, collector: Collector):
    before_ns = time.time_ns()
    started_ns = time.perf_counter_ns()
    span = tracer.request("POST", "/v1/embeddings", started_ns, TRACEPARENT, "vendor=1")
    span.end("/v1/embeddings", 200, "req_a")
    after_ns = time.time_ns()
    send(tracer)
    got = collector.named("POST /v1/embeddings")
    assert (got.kind, got.trace, got.parent, got.state) == (SERVER, TRACE, CALLER, "vendor=1")
    assert span.traceparent == f"00-{TRACE}-{got.id}-01"
    assert before_ns - MS <= got.start_ns <= got.end_ns <= after_ns + MS
    assert got.status == 0
    assert got.attributes == {
        "http.request.method": "POST",
        "url.path": "/v1/embeddings",
        "url.scheme": "http",
        "http.route": "/v1/embeddings",
        "http.response.status_code": 200,
        "turbov2.request.id": "req_a",
    }


@pytest.mark.parametrize("traceparent", ["", "nonsense", f"00-{'0' * 32}-{CALLER}-01", "00-\n-x-01"])
def test_a_bad_traceparent_starts_a_trace(tracer: Tracer, collector: Collector, traceparent: str):
    tracer.request("GET", "/", time.perf_counter_ns(), traceparent, "vendor=1").end("/", 200, "req_a")
    send(tracer)
    got = collector.named("GET /")
    assert got.parent == ""
    assert got.trace not in (TRACE, "0" * 32)


def test_a_caller_that_does_not_sample_is_heeded(tracer: Tracer, collector: Collector):
    span = tracer.request("GET", "/", time.perf_counter_ns(), f"00-{TRACE}-{CALLER}-00")
    assert tracer.record(span.traceparent, "queue", 1, 2).endswith("-00")
    span.end("/", 200, "req_a")
    send(tracer)
    assert collector.spans == []


@pytest.mark.parametrize(("status", "is_error"), [(404, False), (429, False), (499, False), (503, True)])
def test_only_our_errors_are_errors(tracer: Tracer, collector: Collector, status: int, is_error: bool):
    tracer.request("GET", "/", time.perf_counter_ns()).end("/", status, "req_a")
    send(tracer)
    got = collector.named("GET /")
    assert (got.status == ERROR) == is_error
    assert ("error.type" in got.attributes) == is_error


def test_parts_have_the_times_that_were_measured(tracer: Tracer, collector: Collector):
    at_ns = time.perf_counter_ns()
    whole = tracer.record(TRACEPARENT, "batch", at_ns, at_ns + 7 * MS, {"turbov2.items": 3, "share": 0.5})
    tracer.record(whole, "inference", at_ns + 2 * MS, at_ns + 7 * MS, error="out_of_memory")
    send(tracer)
    batch, inference = collector.named("batch"), collector.named("inference")
    assert batch.attributes == {"turbov2.items": 3, "share": 0.5}
    assert (batch.kind, batch.trace, batch.parent) == (INTERNAL, TRACE, CALLER)
    assert (inference.trace, inference.parent) == (TRACE, batch.id)
    # Each is placed on the calendar by itself: within a moment.
    assert batch.end_ns - batch.start_ns == pytest.approx(7 * MS, abs=MS)
    assert inference.start_ns - batch.start_ns == pytest.approx(2 * MS, abs=MS)
    assert inference.status == ERROR
    assert inference.attributes == {"error.type": "out_of_memory"}


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "turbov2"),
        ({"OTEL_SERVICE_NAME": "mine"}, "mine"),
        ({"OTEL_RESOURCE_ATTRIBUTES": "service.name=ours,zone=b"}, "ours"),
    ],
)
def test_the_service_name_is_ours_unless_it_is_set(
    monkeypatch: pytest.MonkeyPatch, collector: Collector, variables: dict[str, str], name: str
):
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    made = tracer_from_environment()
    assert made is not None
    made.record("", "queue", 1, 2)
    send(made)
    assert collector.resource["service.name"] == name


class Told(msgspec.Struct):
    n_tokens: int = 17
    load_ns: int = 40 * MS
    queue_ns: int = 5 * MS
    tokenize_ns: int = 2 * MS
    inference_ns: int = 30 * MS


class Asked(msgspec.Struct):
    traceparent: str


def test_a_request_shows_load_queue_batch_and_inference(tracer: Tracer, collector: Collector):
    with Ledger(Meters().requests, tracer).entry("some-model", "bulk", 3, Asked(TRACEPARENT)) as entry:
        entry.answered(Told())
    send(tracer)
    whole = collector.named("embeddings some-model")
    assert whole.parent == CALLER
    assert whole.attributes == {
        "gen_ai.operation.name": "embeddings",
        "gen_ai.provider.name": "turbov2",
        "gen_ai.request.model": "some-model",
        "gen_ai.usage.input_tokens": 17,
        "turbov2.lane": "bulk",
        "turbov2.items": 3,
    }
    load, queue, batch, inference = map(collector.named, ("load", "queue", "batch", "inference"))
    assert {load.parent, queue.parent, batch.parent} == {whole.id}
    assert inference.parent == batch.id
    for before, after in ((load, queue), (queue, batch)):
        assert before.end_ns == pytest.approx(after.start_ns, abs=MS)
    for span, n_ms in ((load, 40), (queue, 5), (batch, 32), (inference, 30)):
        assert span.end_ns - span.start_ns == pytest.approx(n_ms * MS, abs=MS)


def test_a_request_that_fails_says_how(tracer: Tracer, collector: Collector):
    entry = Ledger(Meters().requests, tracer).entry("some-model", "bulk", 3, Asked(TRACEPARENT))
    with pytest.raises(InferenceFailed), entry:
        raise InferenceFailed("the model broke")
    send(tracer)
    (span,) = collector.spans
    assert span.status == ERROR
    assert span.attributes["error.type"] == "inference_failed"
    assert "broke" not in str(span)


def test_a_collector_that_never_answers_does_not_hold_up_the_end(tracer: Tracer, collector: Collector):
    collector.is_mute.set()
    tracer.record("", "queue", 1, 2)
    started_s = time.perf_counter()
    asyncio.run(tracer.stop(0.2))
    assert 0.15 < time.perf_counter() - started_s < 5
