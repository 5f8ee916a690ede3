"""ThreadRunner: the model in this process, its calls in threads of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

from turbov2.backends.protocol import Backend
from turbov2.errors import RunnerCrashed, TurboError
from turbov2.runners.calls import (
    load_backend,
    run_close,
    run_count,
    run_embed,
    run_free_caches,
    run_generate,
    run_listen,
    run_look,
    run_tokenize,
)
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

P = ParamSpec("P")
T = TypeVar("T")
_CLOSE_S = 1.0  # to close in, once nothing runs


class ThreadRunner:
    """Runs a backend that releases the interpreter lock, at most `n_threads` forwards at a time.

    Tokenizing has a thread of its own, so that the next batch is prepared while one is computed.
    """

    def __init__(self, n_threads: int = 1) -> None:
        self._compute = ThreadPoolExecutor(n_threads, thread_name_prefix="turbov2-model")
        self._tokens = ThreadPoolExecutor(1, thread_name_prefix="turbov2-tokens")
        self._model = ""
        self._backend: Backend | None = None

    @property
    def is_alive(self) -> bool:
        """True between `start` and `stop`: threads do not die."""
        return self._backend is not None

    @property
    def end_reason(self) -> str:
        """Nothing: threads do not die."""
        return ""

    @property
    def was_abandoned(self) -> bool:
        """False: threads cannot be ended."""
        return False

    @property
    def pid(self) -> int:
        """Our own process."""
        return os.getpid()

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what was loaded; loading happens in a thread."""
        self._model = spec.model
        self._backend = await asyncio.get_running_loop().run_in_executor(self._compute, load_backend, spec)
        return self._backend.loaded

    async def tokenize(self, inputs: Inputs) -> TokenBatch:
        """Returns the backend's tokens, computed in a thread."""
        return await self._call(self._tokens, run_tokenize, inputs)

    async def embed(
        self, tokens: TokenBatch, task: EmbedTask = DENSE, *, is_precise: bool = False
    ) -> Outputs:
        """Returns the backend's outputs, computed in a thread. Cancelling drops a call that still waits."""
        return await self._call(self._compute, run_embed, tokens, task, is_precise)

    async def look(self, pixels: Pixels, task: ImageTask) -> Seen:
        """Returns what the backend sees, in a thread. Cancelling drops a call that still waits."""
        return await self._call(self._compute, run_look, pixels, task)

    async def generate(
        self, task: GenerateTask, images: Sequence[Pixels], on_piece: Callable[[Written], None]
    ) -> Finish:
        """Returns how the answer ended, written in a thread; see Runner."""
        loop, cancelled = asyncio.get_running_loop(), threading.Event()

        def tell(written: Written) -> None:
            if not cancelled.is_set():
                loop.call_soon_threadsafe(on_piece, written)

        writing = self._call(self._compute, run_generate, task, images, tell, cancelled.is_set)
        return await _heeding(writing, cancelled)

    async def count(self, task: GenerateTask, images: Sequence[Pixels]) -> int:
        """Returns how many tokens the prompt has, counted in the thread that tokenizes."""
        return await self._call(self._tokens, run_count, task, images)

    async def listen(self, samples: Samples, task: SpeechTask) -> Heard:
        """Returns what the backend hears, in a thread; see Runner."""
        cancelled = threading.Event()
        return await _heeding(
            self._call(self._compute, run_listen, samples, task, cancelled.is_set), cancelled
        )

    async def free_caches(self) -> None:
        """Afterwards the system has the memory that the backend kept for reuse."""
        await self._call(self._compute, run_free_caches)

    async def stop(self, grace_s: float) -> None:
        """Afterwards the weights are gone, or a call that outlived `grace_s` keeps them until it returns."""
        backend, self._backend = self._backend, None
        closing = asyncio.get_running_loop().run_in_executor(None, self._close, backend)
        await asyncio.wait({closing}, timeout=max(grace_s, 0) + _CLOSE_S)

    def _close(self, backend: Backend | None) -> None:
        for threads in (self._tokens, self._compute):
            threads.shutdown(wait=False, cancel_futures=True)
        for threads in (self._tokens, self._compute):
            threads.shutdown()
        if backend is not None:
            with contextlib.suppress(TurboError):  # it is in the log
                run_close(self._model, backend)

    def _require_backend(self) -> Backend:
        if self._backend is None:
            raise RunnerCrashed(f"model '{self._model}' was stopped; the next request starts it again")
        return self._backend

    async def _call(
        self,
        threads: ThreadPoolExecutor,
        work: Callable[Concatenate[str, Backend, P], T],
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> T:
        backend = self._require_backend()
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(threads, lambda: work(self._model, backend, *args, **kwargs))
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is not None and not task.cancelling():  # `stop` dropped the call, nobody left
                self._require_backend()
            raise


async def _heeding(work: Coroutine[Any, Any, T], cancelled: threading.Event) -> T:
    """Returns what `work` gives. A cancel sets `cancelled`, and lasts until the work has ended for it."""
    ending = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(ending)
    except asyncio.CancelledError:
        cancelled.set()
        await asyncio.wait({ending})
        with contextlib.suppress(asyncio.CancelledError):
            ending.exception()  # nobody waits for it, nor should asyncio log it
        raise
