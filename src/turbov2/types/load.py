"""What a runner needs to load a model, and what it reports once it has."""

from __future__ import annotations

from typing import Any

import msgspec

from turbov2.types.audio import SpeechNeed
from turbov2.types.embed import OutputKind
from turbov2.types.images import ImageNeed
from turbov2.types.tools import ReplyFormat


class LoadSpec(msgspec.Struct, frozen=True):
    """Everything a backend needs, as plain values: it crosses a process boundary."""

    model: str  # catalogue name, for messages
    backend: str  # registry name of the backend
    files: dict[str, str]  # file name inside the model folder → absolute path on this machine
    revision: str  # commit or package version of the weights
    max_tokens: int | None = None  # None: the model has no limit
    pooling: str = "mean"
    device: str = "cpu"
    options: dict[str, Any] = {}  # backend-specific, checked by the backend


class Loaded(msgspec.Struct, frozen=True):
    """What is true of the loaded model, read from its files, not from the catalogue."""

    capabilities: tuple[str, ...]
    dtype: str  # of the weights as they are used, e.g. "float16"
    dimensions: int | None = None
    max_tokens: int | None = None
    pooling: str | None = None
    n_vocabulary: int | None = None
    n_parameters: int | None = None
    outputs: tuple[OutputKind, ...] = ("dense",)
    reads_instructions: bool = False  # of a reranker: what makes a document relevant can be said
    image: ImageNeed | None = None  # of a model that looks at images
    speech: SpeechNeed | None = None  # of a model that listens
    reply: ReplyFormat = ReplyFormat()  # of a model that writes
    n_slots: int = 1  # calls to write or to listen that gain from running at the same time
    is_padded: bool = False  # a batch costs its longest input times its inputs, else the sum of lengths

    @property
    def is_writer(self) -> bool:
        """Whether the model writes text."""
        return not {"vision", "generate"}.isdisjoint(self.capabilities)
