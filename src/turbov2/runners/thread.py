"""ThreadRunner: the model in this process, its calls in threads of its own."""

from __future__ import annotations

import asyncio
import contextlib
import os
from concurrent.futures import ThreadPoolExecutor
from typing import cast

from turbov2.backends.protocol import Backend
from turbov2.runners.calls import load_backend, run_embed
from turbov2.types import EmbedBatch, EmbedOutput, Loaded, LoadSpec


class ThreadRunner:
    """Runs a backend that releases the interpreter lock, at most `n_threads` calls at a time."""

    def __init__(self, n_threads: int = 1) -> None:
        self._threads = ThreadPoolExecutor(n_threads, thread_name_prefix="turbov2-model")
        self._model = ""
        self._backend: Backend | None = None

    @property
    def is_alive(self) -> bool:
        """True between `start` and `stop`: threads do not die."""
        return self._backend is not None

    @property
    def pid(self) -> int:
        """Our own process."""
        return os.getpid()

    async def start(self, spec: LoadSpec) -> Loaded:
        """Returns what was loaded; loading happens in a thread."""
        self._model = spec.model
        self._backend = await asyncio.get_running_loop().run_in_executor(self._threads, load_backend, spec)
        return self._backend.loaded

    async def embed(self, batch: EmbedBatch) -> EmbedOutput:
        """Returns the backend's output, computed in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._embed_now, batch)

    async def stop(self, grace_s: float) -> None:
        """Afterwards the backend is closed, or a call that outlived `grace_s` keeps it until it returns."""
        backend, self._backend = self._backend, None
        waiting = asyncio.to_thread(self._threads.shutdown, wait=True, cancel_futures=True)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(waiting, grace_s)
            if backend is not None:
                backend.close()

    def _embed_now(self, batch: EmbedBatch) -> EmbedOutput:
        return run_embed(self._model, cast(Backend, self._backend), batch)
