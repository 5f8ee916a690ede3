"""What every backend offers to the runner that holds it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

from turbov2.types import EmbedBatch, EmbedOutput, Loaded, LoadSpec


class Backend(Protocol):
    """A model with its weights in memory. Built by a registry factory, used by one runner."""

    loaded: Loaded

    def close(self) -> None:
        """Afterwards the weights are released; no other method may be called."""


@runtime_checkable
class Embedder(Backend, Protocol):
    """A backend that embeds. Thread-safe: a runner may call it from several threads."""

    def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns raw pooled vectors in input order.

        Raises: InputTooLong when an input passes the model's limit and `batch.truncate` is false;
        InvalidRequest when a token id lies outside the vocabulary.
        """


class BackendFactory(Protocol):
    """Loads weights: the class itself, for a class whose `__init__` takes a LoadSpec."""

    def __call__(self, spec: LoadSpec) -> Backend:
        """Raises: LoadFailed when the files are not what the backend reads."""
