"""Calls into a backend, made safe: only a TurboError comes out, whatever the library does."""

from __future__ import annotations

import ctypes
import logging
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, ParamSpec, TypeVar, cast

from turbov2.backends.protocol import Backend, Embedder, Generator, Listener, Looker
from turbov2.backends.registry import backend_factory
from turbov2.errors import InferenceFailed, LoadFailed, NotCapable, OutOfMemory, TurboError
from turbov2.types import (
    EmbedTask,
    Finish,
    GenerateTask,
    Heard,
    ImageTask,
    Inputs,
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

logger = logging.getLogger(__name__)
P = ParamSpec("P")
T = TypeVar("T")


def load_backend(spec: LoadSpec) -> Backend:
    """Returns the loaded backend. Blocks.

    Raises: TurboError only; anything else is logged here and becomes a LoadFailed without its text.
    """
    try:
        return backend_factory(spec.backend)(spec)
    except TurboError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"model '{spec.model}' does not fit into memory", retry_after_s=30) from error
    except Exception as error:
        logger.exception("loading model %s failed", spec.model)
        raise LoadFailed(f"model '{spec.model}' could not be loaded; the server's log says why") from error


def run_tokenize(model: str, backend: Backend, inputs: Inputs) -> TokenBatch:
    """Returns the backend's tokens. Raises: TurboError only, as `load_backend`."""
    return _run(model, _embedder(model, backend).tokenize, inputs)


def run_embed(model: str, backend: Backend, tokens: TokenBatch, task: EmbedTask, is_precise: bool) -> Outputs:
    """Returns the backend's outputs. Raises: TurboError only, as `load_backend`."""
    return _run(model, _embedder(model, backend).embed, tokens, task, is_precise=is_precise)


def run_look(model: str, backend: Backend, pixels: Pixels, task: ImageTask) -> Seen:
    """Returns what the backend sees. Raises: TurboError only, as `load_backend`."""
    if backend.loaded.image is None or backend.loaded.is_writer:
        raise NotCapable(f"model '{model}' does not look at images")
    return _run(model, cast(Looker, backend).look, pixels, task)


def run_generate(
    model: str,
    backend: Backend,
    task: GenerateTask,
    images: Sequence[Pixels],
    on_written: Callable[[Written], None],
    is_cancelled: Callable[[], bool],
) -> Finish:
    """Returns how the backend's answer ended. Raises: TurboError only, as `load_backend`."""
    if not backend.loaded.is_writer:
        raise NotCapable(f"model '{model}' does not write text")
    return _run(model, cast(Generator, backend).generate, task, images, on_written, is_cancelled)


def run_count(model: str, backend: Backend, task: GenerateTask, images: Sequence[Pixels]) -> int:
    """Returns how many tokens the backend's prompt has. Raises: TurboError only, as `load_backend`."""
    if not backend.loaded.is_writer:
        raise NotCapable(f"model '{model}' does not write text")
    return _run(model, cast(Generator, backend).count, task, images)


def run_listen(
    model: str, backend: Backend, samples: Samples, task: SpeechTask, is_cancelled: Callable[[], bool]
) -> Heard:
    """Returns what the backend hears. Raises: TurboError only, as `load_backend`."""
    if backend.loaded.speech is None:
        raise NotCapable(f"model '{model}' does not listen")
    return _run(model, cast(Listener, backend).listen, samples, task, is_cancelled)


def run_free_caches(model: str, backend: Backend) -> None:
    """Afterwards the system has what the backend kept for reuse. Raises: TurboError only."""
    _run(model, backend.free_caches)
    return_freed_memory()


def run_close(model: str, backend: Backend) -> None:
    """Afterwards the system has what the weights took. Raises: TurboError only."""
    _run(model, backend.close)
    return_freed_memory()


def return_freed_memory() -> None:
    """Afterwards the system has the memory that was freed but that glibc keeps for later allocations.

    Without this a process stays as large as its largest moment; see malloc_trim(3). Other C libraries
    have no such call and need none.
    """
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _embedder(model: str, backend: Backend) -> Embedder:
    if "embed" not in backend.loaded.capabilities and "rerank" not in backend.loaded.capabilities:
        raise NotCapable(f"model '{model}' does not embed")
    return cast(Embedder, backend)


def _run(model: str, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
    try:
        return work(*args, **kwargs)
    except TurboError:
        raise
    except MemoryError as error:
        raise OutOfMemory(f"model '{model}' ran out of memory on this input", retry_after_s=5) from error
    except Exception as error:
        logger.exception("model %s failed", model)
        raise InferenceFailed(f"model '{model}' failed on this input; the server's log says why") from error
