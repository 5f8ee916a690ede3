"""The ledger: every request for a model is entered once and struck out once, whatever happens to it."""

from __future__ import annotations

import time
from types import TracebackType
from typing import Protocol

from turbov2.obs.logs import Fields, current_request
from turbov2.obs.request_meters import RequestMeters, outcome_of
from turbov2.obs.tracing import Tracer


class Traced(Protocol):
    """What the ledger wants of a request's context."""

    @property
    def traceparent(self) -> str:
        """The W3C trace context of the span to record below."""


class Answer(Protocol):
    """What the ledger wants of an answer."""

    @property
    def n_tokens(self) -> int:
        """Tokens of all inputs, after truncation."""

    @property
    def load_ns(self) -> int:
        """The wait for the model to become ready."""

    @property
    def queue_ns(self) -> int:
        """The wait in the queue, without tokenisation."""

    @property
    def tokenize_ns(self) -> int:
        """Tokenising its inputs."""

    @property
    def inference_ns(self) -> int:
        """Its forwards."""


class Ledger:
    """Counts requests, tells their access-log line about them, and traces them if there is a tracer."""

    def __init__(self, meters: RequestMeters, tracer: Tracer | None = None) -> None:
        self._meters = meters
        self._tracer = tracer

    def entry(
        self, model: str, lane: str, n_items: int, context: Traced, operation: str = "embeddings"
    ) -> Entry:
        """Returns the request's entry: a context manager around all that is done for it.

        `model` is a catalogue name, never what a client sent; `operation` OpenTelemetry's word for it.
        """
        return Entry(self._meters, self._tracer, model, lane, n_items, context.traceparent, operation)


class Entry:
    """One request. However its block ends, by `answered`, an error or a cancel, is counted once."""

    __slots__ = (
        "_answer",
        "_lane",
        "_meters",
        "_model",
        "_n_items",
        "_operation",
        "_started_ns",
        "_tracer",
        "_traceparent",
    )

    def __init__(
        self,
        meters: RequestMeters,
        tracer: Tracer | None,
        model: str,
        lane: str,
        n_items: int,
        traceparent: str,
        operation: str,
    ) -> None:
        self._meters = meters
        self._tracer = tracer
        self._model = model
        self._lane = lane
        self._n_items = n_items
        self._traceparent = traceparent
        self._operation = operation
        self._answer: Answer | None = None

    def __enter__(self) -> Entry:
        self._started_ns = time.perf_counter_ns()
        self._meters.accepted(self._model, self._lane)
        return self

    def answered(self, answer: Answer) -> None:
        """Afterwards the tokens and times of the answer are known."""
        self._answer = answer

    def heard(self, seconds: float) -> None:
        """Afterwards so much more sound was transcribed."""
        self._meters.heard(self._model, seconds)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        ended_ns = time.perf_counter_ns()
        answer, n_tokens = self._answer, 0
        if answer is not None:
            n_tokens = answer.n_tokens
            if answer.queue_ns or answer.tokenize_ns:
                self._meters.queued(self._model, self._lane, answer.queue_ns, answer.tokenize_ns)
        seconds = (ended_ns - self._started_ns) / 1e9
        self._meters.ended(self._model, self._lane, seconds, self._n_items, n_tokens, error, self._operation)
        if (request := current_request()) is not None:
            request.fields = self._fields
        if self._tracer is not None:
            self._trace(self._tracer, ended_ns, error)

    def _fields(self) -> Fields:
        """Returns what the request's access line tells of it."""
        fields: Fields = {"model": self._model, "lane": self._lane, "n_items": self._n_items}
        if (answer := self._answer) is None:
            return fields
        return {
            **fields,
            "n_tokens": answer.n_tokens,
            "queue_ms": round(answer.queue_ns / 1e6, 2),
            "inference_ms": round(answer.inference_ns / 1e6, 2),
        }

    def _trace(self, tracer: Tracer, ended_ns: int, error: BaseException | None) -> None:
        """Records the operation and, below it, load, queue and batch with its inference.

        Their lengths were measured; they are laid one behind the other, as they happened.
        """
        attributes: dict[str, str | int | float | bool] = {
            "gen_ai.operation.name": self._operation,
            "gen_ai.provider.name": "turbov2",
            "gen_ai.request.model": self._model,
            "turbov2.lane": self._lane,
            "turbov2.items": self._n_items,
        }
        answer = self._answer
        if answer is not None:
            attributes["gen_ai.usage.input_tokens"] = answer.n_tokens
        whole = tracer.record(
            self._traceparent,
            f"{self._operation} {self._model}",
            self._started_ns,
            ended_ns,
            attributes,
            outcome_of(error)[1],
        )
        if answer is None:
            return
        loaded_ns = self._started_ns + answer.load_ns
        formed_ns = loaded_ns + answer.queue_ns
        ran_ns = formed_ns + answer.tokenize_ns
        done_ns = ran_ns + answer.inference_ns
        tracer.record(whole, "load", self._started_ns, loaded_ns)
        tracer.record(whole, "queue", loaded_ns, formed_ns)
        batch = tracer.record(whole, "batch", formed_ns, done_ns)
        tracer.record(batch, "inference", ran_ns, done_ns)
