"""What is counted of models: their loads and ends, and the batches that they run."""

from __future__ import annotations

from typing import Literal, Protocol, get_args

from turbov2.obs.series import SECONDS, Counter, Histogram, Series

EvictionReason = Literal["made_room", "keep_alive", "asked", "recycled", "over_budget"]
OomStep = Literal["free_caches", "evict", "split", "retry", "gave_up"]
ItemSource = Literal["computed", "cached", "joined"]

_LOAD_SECONDS = (0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)
_ITEMS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)
_TOKENS = (16, 64, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768)
_EVICTION_REASONS: tuple[EvictionReason, ...] = get_args(EvictionReason)


class Batch(Protocol):
    """What ran as one forward. `cost` is the tokens computed, padding included; times are in nanoseconds."""

    lane: str
    n_items: int
    n_tokens: int
    cost: int
    queue_ns: int  # the wait of its oldest item
    tokenize_ns: int
    inference_ns: int


class BatchMeters:
    """Forwards, and what spared or cost some."""

    def __init__(self) -> None:
        self._queue_seconds = Histogram(
            "turbov2_queue_duration_seconds",
            "The longest wait in the queue among each batch's inputs.",
            ("model", "lane"),
            SECONDS,
        )
        self._tokenize_seconds = Histogram(
            "turbov2_tokenize_duration_seconds", "Tokenising each batch.", ("model",), SECONDS
        )
        self._inference_seconds = Histogram(
            "turbov2_inference_duration_seconds", "Each batch's forward.", ("model",), SECONDS
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
            "Inputs by where their vector came from: computed, cached, or joined to the same input on its "
            "way.",
            ("model", "source"),
        )
        self._oom_steps = Counter(
            "turbov2_oom_recoveries_total",
            "What was done when memory ran out inside a forward: free_caches, evict, split, retry, gave_up.",
            ("model", "step"),
        )
        self.series: tuple[Series, ...] = (
            self._queue_seconds, self._tokenize_seconds, self._inference_seconds, self._n_items,
            self._n_tokens, self._computed_tokens, self._items, self._oom_steps,
        )  # fmt: skip

    def ran(self, model: str, batch: Batch) -> None:
        """Afterwards this forward is counted."""
        labels = (model,)
        self._queue_seconds.observe((model, batch.lane), batch.queue_ns / 1e9)
        self._tokenize_seconds.observe(labels, batch.tokenize_ns / 1e9)
        self._inference_seconds.observe(labels, batch.inference_ns / 1e9)
        self._n_items.observe(labels, batch.n_items)
        self._n_tokens.observe(labels, batch.n_tokens)
        self._computed_tokens.add(labels, batch.cost)

    def gave_items(self, model: str, source: ItemSource, n_items: int) -> None:
        """Afterwards these inputs' vectors are counted by where they came from."""
        self._items.add((model, source), n_items)

    def ran_out_of_memory(self, model: str, step: OomStep) -> None:
        """Afterwards this step of the ladder is counted."""
        self._oom_steps.add((model, step))


class ModelMeters:
    """Loads, evictions and crashes."""

    def __init__(self) -> None:
        self._loads = Counter("turbov2_loads_total", "Loads that made a model ready.", ("model",))
        self._load_seconds = Histogram(
            "turbov2_load_duration_seconds", "Those loads.", ("model",), _LOAD_SECONDS
        )
        self._load_failures = Counter("turbov2_load_failures_total", "Loads that failed.", ("model",))
        self._evictions = Counter(
            "turbov2_evictions_total",
            "Unloads: made_room for another model, keep_alive passed, asked for, recycled because it had "
            "grown, over_budget because it came to more than expected.",
            ("model", "reason"),
        )
        self._crashes = Counter(
            "turbov2_crashes_total", "Runners that ended without being asked to.", ("model",)
        )
        self.series: tuple[Series, ...] = (
            self._loads, self._load_seconds, self._load_failures, self._evictions, self._crashes,
        )  # fmt: skip

    def loaded(self, model: str, seconds: float) -> None:
        """Afterwards the load is counted, and what may befall the model is shown as 0."""
        self._loads.add((model,))
        self._load_seconds.observe((model,), seconds)
        # Prometheus sees no increase in a counter that first appears as 1.
        self._load_failures.add((model,), 0)
        self._crashes.add((model,), 0)
        for reason in _EVICTION_REASONS:
            self._evictions.add((model, reason), 0)

    def failed_to_load(self, model: str) -> None:
        """Afterwards the failure is counted."""
        self._load_failures.add((model,))

    def evicted(self, model: str, reason: EvictionReason) -> None:
        """Afterwards the unload is counted."""
        self._evictions.add((model, reason))

    def crashed(self, model: str) -> None:
        """Afterwards the crash is counted."""
        self._crashes.add((model,))
