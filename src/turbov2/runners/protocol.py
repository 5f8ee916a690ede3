"""One protocol for all runner kinds."""

from __future__ import annotations

from typing import Protocol

from turbov2.types import EmbedBatch, EmbedOutput, Loaded, LoadSpec


class Runner(Protocol):
    """Holds one loaded model. `start` once, then `embed` any number of times, then `stop`."""

    @property
    def is_alive(self) -> bool:
        """True from a successful `start` until `stop` or the runner's death."""

    @property
    def pid(self) -> int:
        """Process that holds the weights: ours, or the child's."""

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what was loaded once the model can be used.

        Raises: LoadFailed, ModelUnavailable, RunnerCrashed, OutOfMemory.
        """

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the backend's output. Cancelling the caller abandons the work at the next boundary.

        Raises: what the backend raises, or RunnerCrashed when the runner died meanwhile.
        """

    async def stop(self, grace_s: float) -> None:
        """Afterwards the weights are gone; work still running after `grace_s` is cut. Never raises."""
