"""One protocol for all runner kinds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol

from turbov2.types import (
    DENSE,
    EmbedTask,
    Finish,
    GenerateTask,
    Heard,
    ImageTask,
    Inputs,
    Loaded,
    LoadSpec,
    Outputs,
    Piece,
    Seen,
    SpeechTask,
    TokenBatch,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples
    from turbov2.types.images import Pixels


class Runner(Protocol):
    """Holds one loaded model. `start` once, then the calls any number of times, then `stop`.

    Every call raises what the backend raises, or RunnerCrashed when the runner ended meanwhile.
    """

    @property
    def is_alive(self) -> bool:
        """True from a successful `start` until `stop` or the runner's death."""

    @property
    def end_reason(self) -> str:
        """How it came to its end, as in "ended (signal 9)"; empty while it lives and where it cannot die."""

    @property
    def was_abandoned(self) -> bool:
        """True once we ended it because nobody waited for what it computed: nothing is wrong with it."""

    @property
    def pid(self) -> int:
        """Process that holds the weights: ours, or the child's."""

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what was loaded once the model can be used.

        Raises: LoadFailed, ModelUnavailable, RunnerCrashed, OutOfMemory.
        """

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the inputs as the model reads them, always cut to its limit; does not wait for forwards."""

    async def embed(
        self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False
    ) -> Outputs:
        """Returns the rows' outputs, raw; `is_precise`: computed in float32 throughout.

        Cancelling the caller abandons the work at the next boundary.
        """

    async def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns what the model sees in uint8 pixels. Cancelling drops a call that still waits."""

    async def generate(
        self, task: GenerateTask, images: Sequence[Pixels], on_piece: Callable[[Piece], None]
    ) -> Finish:
        """Returns how the model's answer ended. `on_piece` is called before, in the loop, with its pieces.

        images: uint8 `[h, w, 3]`. Cancelling ends it within one token, and lasts until it has ended.
        """

    async def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has; does not wait for answers that are being written."""

    async def listen(self, samples: Samples, task: SpeechTask) -> Heard:
        """Returns what the model hears in int16 samples, 16 kHz, mono; see the task for which.

        Cancelling ends it within one step of the window, and lasts until it has ended.
        """

    async def free_caches(self) -> None:
        """Afterwards the system has the memory that the backend kept for reuse."""

    async def stop(self, grace_s: float) -> None:
        """Afterwards the weights are gone; work still running after `grace_s` is cut. Never raises."""
