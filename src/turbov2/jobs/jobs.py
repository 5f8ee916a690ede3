"""Jobs: takes them in, works on some at a time, and tells how they stand."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import secrets
import sqlite3
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import ParamSpec, TypeVar

from turbov2.errors import CapacityError, JobsFailed, Stopping, TurboError
from turbov2.jobs.states import ENDED, JobError, JobKind, JobLimits, JobStatus, Reached
from turbov2.jobs.store import FILE_NAME, Claimed, Store
from turbov2.spools import Spool
from turbov2.types import Context

logger = logging.getLogger(__name__)

_EXPIRE_EVERY_S = 60.0
_MAX_TRIES = 8  # of a unit for which there is no room at the moment
_MOST_WAIT_S = 60.0
_PIECE_BYTES = 1 << 20  # of an input that is copied
_INTERNAL = JobError("internal_error", "internal error; the server's log says why")
P = ParamSpec("P")
T = TypeVar("T")


class Jobs:
    """The jobs of one home folder, worked on in the bulk lane.

    The file is opened when it is there at the start, else with the first job; when another server has it,
    every method but `start` and `stop` raises NotSupported. All database work is done in one thread.
    """

    def __init__(
        self,
        home: Path,
        limits: JobLimits,
        kinds: Sequence[JobKind],
        now_s: Callable[[], float] = time.time,
    ) -> None:
        self._home = home
        self._limits = limits
        self._kinds = {kind.name: kind for kind in kinds}
        self._now_s = now_s
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="jobs")
        self._opening = asyncio.Lock()
        self._store: Store | None = None
        self._owner: asyncio.Task[None] | None = None
        self._running: dict[str, asyncio.Task[None]] = {}
        self._wake = asyncio.Event()
        self._news: dict[str, asyncio.Event] = {}  # by job, set once with its next change
        self._is_stopping = False

    async def start(self) -> None:
        """Afterwards jobs of an earlier server go on, unless they cannot be read; then the log says why."""
        if not (self._home / FILE_NAME).exists():
            return
        try:
            await self._opened()
        except TurboError as error:
            logger.warning("%s", error.message)

    def begin_stop(self) -> None:
        """Afterwards no unit is begun, and who watches a job is let go."""
        self._is_stopping = True
        for task in (self._owner, *self._running.values()):
            if task is not None:
                task.cancel()
        for event in self._news.values():
            event.set()

    async def stop(self) -> None:
        """Afterwards nothing runs; unfinished jobs go on when a server starts with this folder again."""
        self.begin_stop()
        tasks = [*self._running.values(), *([self._owner] if self._owner else [])]
        await asyncio.gather(*tasks, return_exceptions=True)
        if self._store is not None:
            store, self._store = self._store, None
            with contextlib.suppress(JobsFailed):
                await self._call(store.close)
        self._thread.shutdown(wait=False)

    async def submit(self, kind: str, key_id: str, asked: bytes, payload: bytes | Spool) -> JobStatus:
        """Returns the new job, with a copy of the payload.

        Raises: QueueFull, NotSupported, Stopping, JobsFailed.
        """
        assert kind in self._kinds, "a kind of job that nobody brought. This is a bug."
        store = await self._opened()
        n_bytes = len(payload) if isinstance(payload, bytes) else payload.n_bytes
        await self._call(store.check_room, n_bytes + len(asked))
        job_id = secrets.token_hex(16)
        path = store.payload_path(job_id)
        try:
            # Beside the thread of the database, for which others wait.
            await self._told(asyncio.to_thread(_write, path, payload))
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        # To its end, also for who leaves now: a job in the file needs its input.
        return await asyncio.shield(self._add(store, job_id, kind, key_id, asked, n_bytes))

    async def _add(
        self, store: Store, job_id: str, kind: str, key_id: str, asked: bytes, n_bytes: int
    ) -> JobStatus:
        try:
            status = await self._call(store.add, job_id, kind, key_id, asked, n_bytes)
        except BaseException:
            store.payload_path(job_id).unlink(missing_ok=True)
            raise
        self._wake.set()
        return status

    async def status(self, job_id: str, key_id: str) -> JobStatus:
        """Returns how the job stands. Raises: JobNotFound."""
        return await self._call((await self._opened()).status, job_id, key_id)

    async def newest(self, key_id: str, limit: int) -> list[JobStatus]:
        """Returns the key's jobs, newest first."""
        if self._store is None and not (self._home / FILE_NAME).exists():
            return []
        return await self._call((await self._opened()).newest, key_id, limit)

    async def results(self, job_id: str, key_id: str, first: int, limit: int, max_bytes: int) -> list[bytes]:
        """Returns what units `first` and following gave, as far as they are done. Raises: JobNotFound."""
        store = await self._opened()
        return await self._call(store.results, job_id, key_id, first, limit, max_bytes)

    async def remove(self, job_id: str, key_id: str) -> None:
        """Afterwards its work has stopped and nothing of it is left. Raises: JobNotFound."""
        store = await self._opened()
        await self._call(store.cancel, job_id, key_id)
        self._tell(job_id)
        if task := self._running.get(job_id):
            task.cancel()
            await asyncio.wait({task})
        await self._call(store.remove, [job_id])

    async def watch(self, job_id: str, key_id: str) -> AsyncGenerator[JobStatus, None]:
        """Yields how the job stands, at once and after each change, until it has ended or the server stops.

        One that was removed ends as cancelled. Raises: JobNotFound.
        """
        status = None
        while not self._is_stopping:
            news = self._news.setdefault(job_id, asyncio.Event())
            try:
                status = await self.status(job_id, key_id)
            except TurboError:
                self._tell(job_id)  # others may wait for the same news
                if status is None:
                    raise
                yield JobStatus(
                    job_id, status.kind, "cancelled", status.n_done, status.n_units, status.created_s
                )
                return
            yield status
            if status.state in ENDED:
                self._tell(job_id)
                return
            await news.wait()

    async def _opened(self) -> Store:
        """Returns the store, opened now if it was not. Raises: NotSupported, JobsFailed, Stopping."""
        if self._is_stopping:
            raise Stopping("the server is stopping; send the request again", retry_after_s=5)
        if self._store is None:
            async with self._opening:
                if self._store is None:
                    self._store = await self._call(Store, self._home, self._limits, self._now_s)
                    self._owner = asyncio.create_task(self._own(self._store), name="jobs")
        return self._store

    async def _call(self, work: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        call = functools.partial(work, *args, **kwargs)
        return await self._told(asyncio.get_running_loop().run_in_executor(self._thread, call))

    async def _told(self, work: Awaitable[T]) -> T:
        """Returns what `work` gives. Raises: JobsFailed for what goes wrong with the folder."""
        try:
            return await work
        except (sqlite3.Error, OSError) as error:
            logger.exception("the file of jobs cannot be used")
            raise JobsFailed(
                "jobs cannot be kept: their folder cannot be read or written; the server's log says why"
            ) from error

    async def _own(self, store: Store) -> None:
        """Begins jobs when there is a place for them, and removes those that are old."""
        while True:
            self._wake.clear()
            try:
                await self._call(store.expire)
                await self._begin_waiting(store)
            except JobsFailed:
                pass  # it is in the log; a disk that was full may have room later
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EXPIRE_EVERY_S):  # wait_for may lose a cancel before Python 3.12
                    await self._wake.wait()

    async def _begin_waiting(self, store: Store) -> None:
        while len(self._running) < self._limits.n_running:
            claimed = await self._call(store.claim)
            if claimed is None:
                return
            task = asyncio.create_task(self._run(store, claimed), name=f"job {claimed.id}")
            self._running[claimed.id] = task
            task.add_done_callback(functools.partial(self._ended, claimed.id))
            self._tell(claimed.id)

    def _ended(self, job_id: str, task: asyncio.Task[None]) -> None:
        del self._running[job_id]
        self._wake.set()
        self._tell(job_id)

    async def _run(self, store: Store, job: Claimed) -> None:
        """Works on a job to its end. A cancel leaves its state alone: it was removed, or goes on later."""
        error = None
        try:
            if not await self._work(store, job):
                return
        except TurboError as failed:
            error = JobError(failed.code, failed.message)
        except Exception:
            logger.exception("job %s failed", job.id)
            error = _INTERNAL
        with contextlib.suppress(JobsFailed):
            await self._call(store.end, job.number, "failed" if error else "done", error)

    async def _work(self, store: Store, job: Claimed) -> bool:
        """Returns True once all units are done, False when the job is no longer wanted."""
        kind = self._kinds[job.kind]
        payload = store.payload_path(job.id)
        context = Context(f"job-{job.id[:12]}", job.key_id, "bulk")
        reached, n_tries = Reached(job.n_done, job.state), 0
        while True:
            try:
                # A unit that fails for want of room is tried again; those before it are kept.
                async with contextlib.aclosing(kind.run(job.asked, payload, reached, context)) as units:
                    async for unit in units:
                        if not await self._call(store.save, job.number, reached.n_done, unit):
                            return False
                        reached, n_tries = Reached(reached.n_done + 1, unit.state), 0
                        self._tell(job.id)
                return True
            except CapacityError as error:
                n_tries += 1
                if n_tries >= _MAX_TRIES:
                    raise
                await asyncio.sleep(error.retry_after_s or min(2.0**n_tries, _MOST_WAIT_S))

    def _tell(self, job_id: str) -> None:
        if event := self._news.pop(job_id, None):
            event.set()


def _write(path: Path, payload: bytes | Spool) -> None:
    with path.open("xb") as file:
        if isinstance(payload, bytes):
            file.write(payload)
            return
        for start in range(0, payload.n_bytes, _PIECE_BYTES):
            file.write(payload.read(start, _PIECE_BYTES).data)
