"""What is counted of requests: over HTTP, and by the model they asked for."""

from __future__ import annotations

import asyncio
from typing import Literal

from turbov2.errors import CapacityError, DeadlineExceeded, RequestError, TurboError
from turbov2.obs.series import SECONDS, Counter, Gauge, Histogram, Readings, Series

Outcome = Literal["answered", "refused", "failed", "expired", "cancelled"]

# The message of a cancel that means: the request's time limit passed. Other cancels: nobody wants the answer.
EXPIRED = "expired"

_MAX_UNSORTED = 256  # about 0.3 ms to sort
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 4096, 16384)
# Buckets, names and labels of gen_ai_*: OpenTelemetry's conventions for generative AI metrics, "development",
# https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-metrics/
_GENAI_SECONDS = (0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92)
_GENAI_TOKENS = (1, 4, 16, 64, 256, 1024, 4096, 16384, 65536, 262144, 1048576, 4194304, 16777216, 67108864)
_GENAI_LABELS = ("gen_ai_operation_name", "gen_ai_provider_name", "gen_ai_request_model")


def outcome_of(error: BaseException | None) -> tuple[Outcome, str]:
    """Returns how a request that ended with this error ended, and the error's code; "" when there is none."""
    if error is None:
        return "answered", ""
    if isinstance(error, asyncio.CancelledError | GeneratorExit):
        return ("expired", DeadlineExceeded.code) if error.args == (EXPIRED,) else ("cancelled", "cancelled")
    if isinstance(error, DeadlineExceeded):
        return "expired", error.code
    if isinstance(error, RequestError | CapacityError):
        return "refused", error.code
    return "failed", error.code if isinstance(error, TurboError) else TurboError.code


class HttpMeters:
    """Answers by route and status."""

    def __init__(self) -> None:
        self._requests = Counter(
            "turbov2_http_requests_total",
            "HTTP requests answered; status 499 for those whose client left.",
            ("route", "status"),
        )
        self._seconds = Histogram(
            "turbov2_http_request_duration_seconds",
            "From the first byte read to the last byte sent.",
            ("route",),
            SECONDS,
        )
        self.series: tuple[Series, ...] = (self._requests, self._seconds)

    def answered(self, route: str, status: int, seconds: float) -> None:
        """Afterwards this request is counted. `route` is a route's path, never a client's."""
        self._requests.add((route, str(status)))
        self._seconds.observe((route,), seconds)


class RequestMeters:
    """Every request that asked for a model, from its acceptance to its one end."""

    def __init__(self) -> None:
        labels = ("model", "lane")
        self._accepted = Counter(
            "turbov2_requests_accepted_total", "Requests for a model of the catalogue.", labels
        )
        self._ended = Counter(
            "turbov2_requests_ended_total",
            "Their ends: answered, refused, failed, expired or cancelled. `error` is the error's code.",
            (*labels, "outcome", "error"),
        )
        in_flight = Gauge(
            "turbov2_requests_in_flight", "Accepted and not yet ended.", labels, self._in_flight
        )
        self._seconds = Histogram(
            "turbov2_request_duration_seconds",
            "From acceptance to the end; waiting for the model to load counts.",
            (*labels, "outcome"),
            SECONDS,
        )
        self._items = Histogram("turbov2_request_items", "Inputs of each request that ended.", labels, _ITEMS)
        self._tokens = Counter(
            "turbov2_input_tokens_total", "Tokens of answered requests, after truncation.", labels
        )
        self._queue_seconds = Histogram(
            "turbov2_queue_duration_seconds",
            "Waiting in a model's queue, of answered requests; tokenising does not count.",
            labels,
            SECONDS,
        )
        self._tokenize_seconds = Histogram(
            "turbov2_tokenize_duration_seconds",
            "Tokenising, of answered requests that went through a queue.",
            ("model",),
            SECONDS,
        )
        self._genai_seconds = Histogram(
            "gen_ai_server_request_duration_seconds",
            "The request's duration under its OpenTelemetry name. `error_type` is the error's code.",
            (*_GENAI_LABELS, "error_type"),
            _GENAI_SECONDS,
        )
        self._genai_tokens = Histogram(
            "gen_ai_client_token_usage",
            "Tokens of each answered request under their OpenTelemetry name.",
            (*_GENAI_LABELS, "gen_ai_token_type"),
            _GENAI_TOKENS,
        )
        self._audio_seconds = Counter(
            "turbov2_audio_seconds_total",
            "Seconds of sound that were transcribed, counted as it goes.",
            ("model",),
        )
        self._unsorted: list[tuple[str, str, float, int, int, str, Outcome, str]] = []
        self.series: tuple[Series, ...] = (
            self._accepted, self._ended, in_flight, self._seconds, self._items, self._tokens,
            self._queue_seconds, self._tokenize_seconds, self._genai_seconds, self._genai_tokens,
            self._audio_seconds,
        )  # fmt: skip

    def accepted(self, model: str, lane: str) -> None:
        """Afterwards the request is in flight. `model` is a catalogue name, never what a client sent."""
        self._accepted.add((model, lane))

    def ended(
        self,
        model: str,
        lane: str,
        seconds: float,
        n_items: int,
        n_tokens: int = 0,
        error: BaseException | None = None,
        operation: str = "embeddings",
    ) -> None:
        """Afterwards the request is no longer in flight. To be called once for each `accepted`."""
        self._unsorted.append((model, lane, seconds, n_items, n_tokens, operation, *outcome_of(error)))
        if len(self._unsorted) >= _MAX_UNSORTED:
            self.sort()

    def sort(self) -> None:
        """Afterwards the metrics know of every request that ended.

        They learn of many at a time, so that no single request waits for all that is counted of it.
        """
        for model, lane, seconds, n_items, n_tokens, operation, outcome, code in self._unsorted:
            self._ended.add((model, lane, outcome, code))
            self._items.observe((model, lane), n_items)
            self._seconds.observe((model, lane, outcome), seconds)
            self._genai_seconds.observe((operation, "turbov2", model, code), seconds)
            if outcome == "answered":
                self._tokens.add((model, lane), n_tokens)
                self._genai_tokens.observe((operation, "turbov2", model, "input"), n_tokens)
        self._unsorted.clear()

    def heard(self, model: str, seconds: float) -> None:
        """Afterwards this much more sound was transcribed."""
        self._audio_seconds.add((model,), seconds)

    def queued(self, model: str, lane: str, queue_ns: int, tokenize_ns: int) -> None:
        """Afterwards the times of an answered request that went through a queue are counted."""
        self._queue_seconds.observe((model, lane), queue_ns / 1e9)
        self._tokenize_seconds.observe((model,), tokenize_ns / 1e9)

    def _in_flight(self) -> Readings:
        n_in_flight = dict(self._accepted.readings())
        for (model, lane, *_), n_ended in self._ended.readings():
            n_in_flight[model, lane] -= n_ended
        return n_in_flight.items()
