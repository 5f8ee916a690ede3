"""What every backend offers to the runner that holds it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

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
    Seen,
    SpeechTask,
    TokenBatch,
    Written,
)

if TYPE_CHECKING:
    from turbov2.types.audio import Samples
    from turbov2.types.images import Pixels


class Backend(Protocol):
    """A model with its weights in memory. Built by a registry factory, used by one runner."""

    loaded: Loaded

    def free_caches(self) -> None:
        """Afterwards memory that was kept only to be used again is free; results stay the same."""

    def close(self) -> None:
        """Afterwards the weights are released; no other method may be called."""


@runtime_checkable
class Embedder(Backend, Protocol):
    """A backend that embeds, in two steps. Thread-safe: a runner calls both from several threads at once.

    A reranker that reads pairs embeds each into one number, its raw score.
    """

    def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the inputs as the model reads them, cut to `loaded.max_tokens`.

        Token ids are taken as they are, with the special tokens of the model's template put around them.
        Raises: InvalidRequest when a token id lies outside the vocabulary.
        """

    def embed(self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False) -> Outputs:
        """Returns what was asked for, in order, of rows that `tokenize` gave.

        Rows of several `tokenize` calls may be mixed.
        is_precise: compute in float32 throughout, for rows that were not finite otherwise.
        """


@runtime_checkable
class Looker(Backend, Protocol):
    """A backend that looks at one image at a time. Thread-safe, as an Embedder."""

    def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns what it sees in uint8 pixels of the kind that `loaded.image` names.

        Raises: NotCapable for a task that is not its own.
        """


@runtime_checkable
class Generator(Backend, Protocol):
    """A backend that writes text: as many answers at a time as `loaded.n_slots` says, a thread each."""

    def generate(
        self,
        task: GenerateTask,
        images: Sequence[Pixels],
        on_written: Callable[[Written], None],
        is_cancelled: Callable[[], bool],
    ) -> Finish:
        """Returns how the answer ended, after `on_written` was called with its pieces, none of them empty.

        Before them it is called with the prompt's length, as soon as that is known. images: uint8
        `[h, w, 3]`. `is_cancelled` is asked at least once a token, and while the prompt is read as often as
        the library lets us; once true, the answer ends with the reason "cancelled".
        The text is all that the model wrote, with the tags that `loaded.reply` names. Where the prompt itself
        begins the answer, as with a tag of thoughts, that beginning is the text's first piece.
        Raises: InputTooLong, InvalidRequest for a prompt that the model cannot read.
        """

    def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has: the `n_prompt_tokens` that `generate` would tell.

        It is called beside a generation, from another thread. Raises: as `generate`, but no InputTooLong.
        """


@runtime_checkable
class Interruptible(Generator, Protocol):
    """A backend whose library tells nothing for a while, as between two batches of a prompt."""

    def end_cancelled(self) -> None:
        """Afterwards answers whose `is_cancelled` is true have ended, or will as soon as the library lets us.

        It is called beside a generation, from another thread, whenever one was cancelled.
        """


@runtime_checkable
class Listener(Backend, Protocol):
    """A backend that hears speech, a window at a time, and keeps none. Thread-safe, as an Embedder."""

    def listen(self, samples: Samples, task: SpeechTask, is_cancelled: Callable[[], bool]) -> Heard:
        """Returns what it hears in int16 samples, 16 kHz, mono; see the task for which.

        `is_cancelled` is asked before each step, of which a window has a few; once true, the call ends with
        any error, for nobody waits. Raises: InvalidRequest for a language that the model does not know.
        """


class BackendFactory(Protocol):
    """Loads weights: the class itself, for a class whose `__init__` takes a LoadSpec."""

    def __call__(self, spec: LoadSpec) -> Backend:
        """Raises: LoadFailed when the files are not what the backend reads."""
