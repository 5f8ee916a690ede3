"""What is counted of models: what happens to them in memory, and the batches that they run."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from turbov2.obs.series import SECONDS, Counter, Histogram, Series

_LOAD_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
# Kinds of memory events that end with the model gone, as the metric calls them.
_EVICTION_REASONS = {
    "evicted": "made_room",
    "expired": "keep_alive",
    "unloaded": "asked",
    "recycled": "recycled",
    "abandoned": "abandoned",
}


class Batch(Protocol):
    """One forward, however it ended."""

    @property
    def n_items(self) -> int:
        """How many inputs it had."""

    @property
    def n_tokens(self) -> int:
        """Their tokens, without padding."""

    @property
    def cost(self) -> int:
        """The tokens that were computed, padding included."""

    @property
    def inference_ns(self) -> int:
        """How long it took."""

    @property
    def outcome(self) -> str:
        """How it ended, in one word."""

    @property
    def n_not_finite(self) -> int:
        """Rows that came out as NaN or infinity."""

    @property
    def oom_steps(self) -> Sequence[str]:
        """What was done because memory ran out."""


class MemoryEvent(Protocol):
    """What residency tells of a model."""

    @property
    def kind(self) -> str:
        """What happened, in one word."""

    @property
    def model(self) -> str:
        """Its catalogue name."""

    @property
    def seconds(self) -> float:
        """How long it took."""


class BatchMeters:
    """Forwards, and what spared some."""

    def __init__(self) -> None:
        self._batches = Counter(
            "turbov2_batches_total",
            "Forwards by how they ended: ok, failed, oom, cancelled, or lost with their runner.",
            ("model", "outcome"),
        )
        self._seconds = Histogram(
            "turbov2_inference_duration_seconds", "The forward of each batch.", ("model",), SECONDS
        )
        self._n_items = Histogram("turbov2_batch_items", "Inputs of each batch.", ("model",), _ITEMS)
        self._n_tokens = Histogram(
            "turbov2_batch_tokens", "Tokens of each batch, without padding.", ("model",), _TOKENS
        )
        self._computed_tokens = Counter(
            "turbov2_batch_computed_tokens_total", "Tokens that were computed, padding included.", ("model",)
        )
        self._items = Counter(
            "turbov2_items_total",
            "Inputs by where their vector came from: computed, cached, or joined to an equal one on its way.",
            ("model", "source"),
        )
        self._oom_steps = Counter(
            "turbov2_oom_recoveries_total",
            "What was done when memory ran out inside a forward: free_caches, evict, split, retry, gave_up.",
            ("model", "step"),
        )
        self._not_finite = Counter(
            "turbov2_not_finite_rows_total",
            "Vectors that came out as NaN or infinity, and were computed again or reported.",
            ("model",),
        )
        self.series: tuple[Series, ...] = (
            self._batches, self._seconds, self._n_items, self._n_tokens, self._computed_tokens,
            self._items, self._oom_steps, self._not_finite,
        )  # fmt: skip

    def ran(self, model: str, batch: Batch) -> None:
        """Afterwards this forward is counted; its size and time only if it gave vectors."""
        labels = (model,)
        self._batches.add((model, batch.outcome))
        self._not_finite.add(labels, batch.n_not_finite)
        for step in batch.oom_steps:
            self._oom_steps.add((model, step))
        if batch.outcome == "ok":
            self._seconds.observe(labels, batch.inference_ns / 1e9)
            self._n_items.observe(labels, batch.n_items)
            self._n_tokens.observe(labels, batch.n_tokens)
            self._computed_tokens.add(labels, batch.cost)

    def answered(self, model: str, n_items: int, n_cached: int, n_joined: int) -> None:
        """Afterwards a request's inputs are counted by where their vectors came from."""
        self._items.add((model, "computed"), n_items - n_cached - n_joined)
        if n_cached or n_joined:
            self._items.add((model, "cached"), n_cached)
            self._items.add((model, "joined"), n_joined)


class ModelMeters:
    """Loads, evictions, crashes."""

    def __init__(self) -> None:
        labels = ("model",)
        self._loads = Counter("turbov2_loads_total", "Loads that made a model ready.", labels)
        self._load_seconds = Histogram(
            "turbov2_load_duration_seconds", "How long those loads took.", labels, _LOAD_SECONDS
        )
        self._evictions = Counter(
            "turbov2_evictions_total",
            "Unloads: made_room for another model or the budget, keep_alive passed, asked for, recycled "
            "because it had grown, or abandoned: its process was ended, for nobody waited for its work.",
            (*labels, "reason"),
        )
        self._others = {
            "load_failed": Counter("turbov2_load_failures_total", "Loads that failed.", labels),
            "refused": Counter(
                "turbov2_load_refusals_total", "Loads refused because there is no room for the model.", labels
            ),
            "crashed": Counter("turbov2_crashes_total", "Runners that ended without being asked to.", labels),
            "leaked": Counter("turbov2_leaks_total", "Unloads whose memory did not come back.", labels),
        }
        self.series: tuple[Series, ...] = (
            self._loads, self._load_seconds, self._evictions, *self._others.values()
        )  # fmt: skip

    def memory_event(self, event: MemoryEvent) -> None:
        """Afterwards it is counted. With a model's first event, what may yet befall it is shown as 0."""
        labels = (event.model,)
        # Prometheus sees no increase in a counter that first appears as 1.
        for reason in _EVICTION_REASONS.values():
            self._evictions.add((event.model, reason), 0)
        for counter in (self._loads, *self._others.values()):
            counter.add(labels, 0)
        if event.kind == "loaded":
            self._loads.add(labels)
            self._load_seconds.observe(labels, event.seconds)
        elif event.kind in self._others:
            self._others[event.kind].add(labels)
        else:
            self._evictions.add((event.model, _EVICTION_REASONS[event.kind]))
