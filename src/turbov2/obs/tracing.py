"""OpenTelemetry traces: what a request did, told once it is over, so that nothing wraps what it does.

Active when the extra `telemetry` is installed and an OTLP endpoint is set, else there is no tracer. Sampling,
headers, limits and names are OpenTelemetry's own variables, which its SDK reads. Times in `_ns` are those of
`time.perf_counter_ns()`.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from turbov2 import __version__

if TYPE_CHECKING:
    from opentelemetry.sdk.resources import Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.trace import Span

logger = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
Attributes = Mapping[str, str | int | float | bool]


def tracer_from_environment() -> Tracer | None:
    """Returns a tracer that sends to the OTLP endpoint of the environment; None when none is set.

    Without the extra it says so in the log and returns None.
    """
    if not any(os.environ.get(name, "").strip() for name in _ENDPOINTS):
        return None
    try:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError:
        logger.warning(
            "an OTLP endpoint is set, but no traces are sent: the extra 'telemetry' is not installed; "
            "pip install 'deposium-embeddings-turbov2[telemetry]'"
        )
        return None
    provider = TracerProvider(resource=_resource(), shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
    return Tracer(provider)


def _resource() -> Resource:
    from opentelemetry.sdk.resources import Resource

    found = Resource.create()  # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES
    if str(found.attributes["service.name"]).startswith("unknown_service"):
        return found.merge(Resource({"service.name": "turbov2"}))
    return found


class Tracer:
    """Makes spans. They are sent by a thread of the SDK's; when it falls behind, spans are dropped."""

    def __init__(self, provider: TracerProvider) -> None:
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        self._provider = provider
        self._tracer = provider.get_tracer("turbov2", __version__)
        self._w3c = TraceContextTextMapPropagator()

    def request(
        self, method: str, path: str, start_ns: int, traceparent: str = "", tracestate: str = ""
    ) -> RequestSpan:
        """Returns the server's span of a request, below the caller's span if there is one.

        `traceparent` and `tracestate` are the W3C headers; bad ones count as none.
        """
        from opentelemetry.trace import SpanKind

        span = self._tracer.start_span(
            method,
            self._w3c.extract({"traceparent": traceparent, "tracestate": tracestate}),
            SpanKind.SERVER,
            {"http.request.method": method, "url.path": path, "url.scheme": "http"},
            start_time=_epoch_ns(start_ns),
        )
        return RequestSpan(span, self._traceparent(span), method)

    def record(
        self,
        traceparent: str,
        name: str,
        start_ns: int,
        end_ns: int,
        attributes: Attributes | None = None,
        error: str = "",
    ) -> str:
        """Afterwards a span that is over is on its way, below `traceparent`. Returns its own traceparent.

        `error` is the code of the error it ended with.
        """
        began_ns = _epoch_ns(start_ns)
        span = self._tracer.start_span(
            name,
            self._w3c.extract({"traceparent": traceparent}),
            attributes=attributes,
            start_time=began_ns,
        )
        if error:
            _mark_failed(span, error)
        span.end(began_ns + end_ns - start_ns)
        return self._traceparent(span)

    async def stop(self, grace_s: float) -> None:
        """Afterwards what was recorded is sent, or `grace_s` have passed."""
        # The SDK waits up to half a minute for a collector that does not answer: a daemon thread may be left.
        closing = threading.Thread(target=self._provider.shutdown, name="stop tracing", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, grace_s)

    def _traceparent(self, span: Span) -> str:
        from opentelemetry.trace import set_span_in_context

        carrier: dict[str, str] = {}
        self._w3c.inject(carrier, set_span_in_context(span))
        return carrier.get("traceparent", "")


class RequestSpan:
    """A request under way. `traceparent` is what its parts, here or elsewhere, are recorded below."""

    __slots__ = ("_method", "_span", "traceparent")

    def __init__(self, span: Span, traceparent: str, method: str) -> None:
        self._span = span
        self._method = method
        self.traceparent = traceparent

    def end(self, route: str, status: int, request_id: str) -> None:
        """Afterwards it is over and on its way; a status of 500 or more makes it an error.

        Names: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server
        """
        self._span.update_name(f"{self._method} {route}")
        self._span.set_attributes(
            {"http.route": route, "http.response.status_code": status, "turbov2.request.id": request_id}
        )
        if status >= 500:
            _mark_failed(self._span, str(status))
        self._span.end()


def _mark_failed(span: Span, error: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_attribute("error.type", error)
    span.set_status(StatusCode.ERROR)


def _epoch_ns(at_ns: int) -> int:
    return time.time_ns() - time.perf_counter_ns() + at_ns
