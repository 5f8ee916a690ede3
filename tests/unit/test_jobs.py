"""Jobs on disk: order, progress, limits, cancels, and going on after a stop or a death."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from turbov2.errors import BadMedia, JobNotFound, JobsFailed, NotSupported, QueueFull, Stopping
from turbov2.jobs import ENDED, JobLimits, Jobs, JobStatus, Reached, Unit
from turbov2.jobs.store import FILE_NAME, INPUTS_NAME, MAX_DEATHS, Store
from turbov2.types import Context

pytestmark = pytest.mark.timeout(20)
KEY = "0123abcd"


class Letters:
    """A kind of job whose units are the bytes of its input; the test lets each go."""

    name = "letters"

    def __init__(self, n_free: int = 1_000_000) -> None:
        self.places = asyncio.Semaphore(n_free)
        self.runs: list[tuple[bytes, int, Context]] = []
        self.states: list[bytes] = []
        self.errors: dict[bytes, list[Exception]] = {}
        self.n_closed = 0

    async def run(
        self, asked: bytes, payload: Path, reached: Reached, context: Context
    ) -> AsyncGenerator[Unit, None]:
        letters = payload.read_bytes()
        self.runs.append((letters, reached.n_done, context))
        self.states.append(reached.state)
        try:
            for index in range(reached.n_done, len(letters)):
                await self.places.acquire()
                letter = letters[index : index + 1]
                if self.errors.get(letter):
                    raise self.errors[letter].pop()
                yield Unit(asked + letter, len(letters), state=letters[: index + 1])
        finally:
            self.n_closed += 1


@asynccontextmanager
async def opened(home: Path, kind: Letters, limits: JobLimits | None = None) -> AsyncIterator[Jobs]:
    jobs = Jobs(home, limits or JobLimits(), [kind])
    await jobs.start()
    try:
        yield jobs
    finally:
        await jobs.stop()


async def state_after(jobs: Jobs, job_id: str, n_done: int | None = None, key: str = KEY) -> JobStatus:
    """Returns the job once it has ended, or has done so many units."""
    async for status in jobs.watch(job_id, key):
        if status.state in ENDED or (n_done is not None and status.n_done >= n_done):
            return status
    raise AssertionError("the watch ended before the job")


async def test_a_job_runs_to_its_end(tmp_path: Path) -> None:
    kind = Letters()
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"<", b"abc")
        assert (made.state, made.n_done, made.n_units) == ("queued", 0, None)
        done = await state_after(jobs, made.id)
        assert (done.state, done.n_done, done.n_units, done.error) == ("done", 3, 3, None)
        assert done.started_s is not None
        assert done.ended_s is not None
        assert await jobs.results(made.id, KEY, 0, 10, 1000) == [b"<a", b"<b", b"<c"]
        assert await jobs.results(made.id, KEY, 1, 1, 1000) == [b"<b"]
        assert await jobs.results(made.id, KEY, 0, 10, 3) == [b"<a", b"<b"]  # the byte bound is passed once
        assert await jobs.results(made.id, KEY, 3, 10, 1000) == []
    assert kind.runs[0][2] == Context(f"job-{made.id[:12]}", KEY, "bulk")
    assert list((tmp_path / INPUTS_NAME).iterdir()) == []  # the input of what has ended is gone


async def test_progress_is_told_while_it_runs(tmp_path: Path) -> None:
    kind = Letters(n_free=0)
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abc")
        seen = []
        async for status in jobs.watch(made.id, KEY):
            seen.append((status.state, status.n_done))
            kind.places.release()
        assert seen[-1] == ("done", 3)
        assert [n for _, n in seen] == sorted(n for _, n in seen)
        assert ("running", 1) in seen or ("running", 2) in seen


async def test_nothing_is_written_before_the_first_job(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters()) as jobs:
        assert await jobs.newest(KEY, 10) == []
        assert list(tmp_path.iterdir()) == []


async def test_keys_see_their_own_jobs_only(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters()) as jobs:
        mine = await jobs.submit("letters", KEY, b"", b"a")
        other = await jobs.submit("letters", "other", b"", b"a")
        assert [job.id for job in await jobs.newest(KEY, 10)] == [mine.id]
        for call in (
            jobs.status(other.id, KEY),
            jobs.results(other.id, KEY, 0, 1, 1),
            jobs.remove(other.id, KEY),
            anext(jobs.watch(other.id, KEY)),
            jobs.status("0" * 32, KEY),
        ):
            with pytest.raises(JobNotFound):
                await call
        assert (await state_after(jobs, other.id, key="other")).state == "done"


async def test_newest_first_and_bounded(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters()) as jobs:
        ids = [(await jobs.submit("letters", KEY, b"", b"a")).id for _ in range(4)]
        assert [job.id for job in await jobs.newest(KEY, 3)] == ids[:0:-1]


async def test_keys_take_turns(tmp_path: Path) -> None:
    kind = Letters(n_free=0)
    async with opened(tmp_path, kind) as jobs:
        made = [(await jobs.submit("letters", key, b"", b"x")).id for key in ("a", "a", "a", "b")]
        for _ in made:
            kind.places.release()
        await state_after(jobs, made[2], key="a")
    assert [run[2].key_id for run in kind.runs] == ["a", "b", "a", "a"]


async def test_at_most_so_many_run_at_once(tmp_path: Path) -> None:
    kind = Letters(n_free=0)
    async with opened(tmp_path, kind, JobLimits(n_running=2)) as jobs:
        made = [await jobs.submit("letters", KEY, b"", b"a") for _ in range(3)]
        for job in made[:2]:
            async for status in jobs.watch(job.id, KEY):
                if status.state == "running":
                    break
        assert (await jobs.status(made[2].id, KEY)).state == "queued"
        for _ in made:
            kind.places.release()
        assert (await state_after(jobs, made[2].id)).state == "done"


async def test_an_error_fails_the_job_and_keeps_what_was_done(tmp_path: Path) -> None:
    kind = Letters()
    kind.errors = {b"b": [BadMedia("the file is broken")], b"y": [RuntimeError("/secret/path")]}
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abc")
        failed = await state_after(jobs, made.id)
        assert (failed.state, failed.n_done) == ("failed", 1)
        assert failed.error is not None
        assert (failed.error.code, failed.error.message) == ("bad_media", "the file is broken")
        assert await jobs.results(made.id, KEY, 0, 10, 1000) == [b"a"]
        bug = await jobs.submit("letters", KEY, b"", b"xyz")
        failed = await state_after(jobs, bug.id)
        assert failed.error is not None
        assert "secret" not in failed.error.message


async def test_want_of_room_is_waited_for(tmp_path: Path) -> None:
    kind = Letters()
    kind.errors = {b"b": [QueueFull("full", retry_after_s=0.001) for _ in range(3)]}
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abc")
        assert (await state_after(jobs, made.id)).state == "done"
        assert await jobs.results(made.id, KEY, 0, 10, 1000) == [b"a", b"b", b"c"]
    assert [first for _, first, _ in kind.runs] == [0, 1, 1, 1]


async def test_want_of_room_is_not_waited_for_without_end(tmp_path: Path) -> None:
    kind = Letters()
    kind.errors = {b"b": [QueueFull("full", retry_after_s=0.001) for _ in range(20)]}
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abc")
        failed = await state_after(jobs, made.id)
        assert failed.error is not None
        assert failed.error.code == "queue_full"


async def test_removing_stops_the_work(tmp_path: Path) -> None:
    kind = Letters(n_free=1)
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abc")
        await state_after(jobs, made.id, n_done=1)
        watched = asyncio.create_task(state_after(jobs, made.id))
        await asyncio.sleep(0)
        await jobs.remove(made.id, KEY)
        assert kind.n_closed == 1
        assert (await watched).state == "cancelled"
        with pytest.raises(JobNotFound):
            await jobs.status(made.id, KEY)
        after = await jobs.submit("letters", KEY, b"", b"a")
        kind.places.release()
        assert (await state_after(jobs, after.id)).state == "done"
    assert list((tmp_path / INPUTS_NAME).iterdir()) == []


async def test_removing_a_job_that_waits(tmp_path: Path) -> None:
    kind = Letters(n_free=0)
    async with opened(tmp_path, kind) as jobs:
        await jobs.submit("letters", KEY, b"", b"a")
        waits = await jobs.submit("letters", KEY, b"", b"b")
        await jobs.remove(waits.id, KEY)
        assert len(await jobs.newest(KEY, 10)) == 1
        assert len(list((tmp_path / INPUTS_NAME).iterdir())) == 1


async def test_a_stopped_server_goes_on_where_it_was(tmp_path: Path) -> None:
    first = Letters(n_free=2)
    async with opened(tmp_path, first) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abcd")
        waits = await jobs.submit("letters", KEY, b"", b"z")
        await state_after(jobs, made.id, n_done=2)
    assert first.n_closed == 1
    second = Letters()
    async with opened(tmp_path, second) as jobs:
        assert (await state_after(jobs, waits.id)).state == "done"
        assert (await state_after(jobs, made.id)).state == "done"
        assert await jobs.results(made.id, KEY, 0, 10, 100) == [b"a", b"b", b"c", b"d"]
    assert (b"abcd", 2) in [run[:2] for run in second.runs]
    assert b"ab" in second.states


async def test_who_may_not_watch_takes_no_news_from_who_may(tmp_path: Path) -> None:
    kind = Letters(n_free=0)
    async with opened(tmp_path, kind) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"a")
        watch = jobs.watch(made.id, KEY)
        while (await anext(watch)).state != "running":
            pass

        async def end() -> JobStatus:
            return [status async for status in watch][-1]

        following = asyncio.create_task(end())
        await asyncio.sleep(0)  # now it waits
        with pytest.raises(JobNotFound):
            await anext(jobs.watch(made.id, "another key"))
        kind.places.release()
        assert (await asyncio.wait_for(following, 5)).state == "done"


async def test_watchers_are_let_go_when_the_server_stops(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters(n_free=0)) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"a")
        watch = jobs.watch(made.id, KEY)
        await anext(watch)

        async def rest() -> list[JobStatus]:
            return [status async for status in watch]

        following = asyncio.create_task(rest())
        await asyncio.sleep(0)
        jobs.begin_stop()
        await following
        with pytest.raises(Stopping):
            await jobs.submit("letters", KEY, b"", b"a")


def crash(home: Path, job_id: str) -> None:
    """Leaves the file as a server that was killed leaves it."""
    db = sqlite3.connect(home / FILE_NAME)
    db.execute("UPDATE jobs SET state = 'running' WHERE id = ?", (job_id,))
    db.commit()
    db.close()


async def test_a_job_that_kills_the_server_is_given_up(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters(n_free=0)) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"a")
    for _ in range(MAX_DEATHS - 1):
        crash(tmp_path, made.id)
        async with opened(tmp_path, Letters(n_free=0)) as jobs:
            assert (await jobs.status(made.id, KEY)).state in ("queued", "running")
    crash(tmp_path, made.id)
    async with opened(tmp_path, Letters(n_free=0)) as jobs:
        failed = await jobs.status(made.id, KEY)
        assert failed.state == "failed"
        assert failed.error is not None
        assert "3 times" in failed.error.message


async def test_inputs_without_a_job_are_removed(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters()) as jobs:
        await state_after(jobs, (await jobs.submit("letters", KEY, b"", b"a")).id)
    (tmp_path / INPUTS_NAME / "orphan").write_bytes(b"x")
    async with opened(tmp_path, Letters()):
        assert list((tmp_path / INPUTS_NAME).iterdir()) == []


async def test_a_job_that_was_added_keeps_its_input_though_its_client_leaves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_adding, may_add, add = threading.Event(), threading.Event(), Store.add

    def add_slowly(*args: Any) -> JobStatus:
        is_adding.set()
        assert may_add.wait(10)
        return add(*args)

    monkeypatch.setattr(Store, "add", add_slowly)
    async with opened(tmp_path, Letters()) as jobs:
        asking = asyncio.create_task(jobs.submit("letters", KEY, b"", b"ab"))
        await asyncio.to_thread(is_adding.wait, 10)
        asking.cancel()
        await asyncio.wait({asking})
        may_add.set()
        (made,) = await jobs.newest(KEY, 10)
        assert (await state_after(jobs, made.id)).state == "done"


async def test_limits_of_number_and_bytes(tmp_path: Path) -> None:
    kind = Letters(n_free=0)
    async with opened(tmp_path, kind, JobLimits(max_jobs=2, max_bytes=10)) as jobs:
        await jobs.submit("letters", KEY, b"", b"abcd")
        with pytest.raises(QueueFull, match="TURBOV2_JOB_BYTES"):
            await jobs.submit("letters", KEY, b"", b"x" * 7)
        await jobs.submit("letters", KEY, b"", b"a")
        with pytest.raises(QueueFull, match="2 jobs"):
            await jobs.submit("letters", KEY, b"", b"a")
        assert len(list((tmp_path / INPUTS_NAME).iterdir())) == 2


async def test_results_have_a_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("turbov2.jobs.jobs._MAX_TRIES", 1)
    async with opened(tmp_path, Letters(), JobLimits(max_bytes=10)) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"abcdefgh")
        failed = await state_after(jobs, made.id)
        assert (failed.state, failed.n_done) == ("failed", 2)


async def test_old_jobs_are_removed(tmp_path: Path) -> None:
    now_s = [1000.0]
    jobs = Jobs(tmp_path, JobLimits(max_age_s=60), [Letters()], lambda: now_s[0])
    made = await jobs.submit("letters", KEY, b"", b"a")
    await state_after(jobs, made.id)
    now_s[0] += 59
    later = await jobs.submit("letters", KEY, b"", b"a")
    await state_after(jobs, later.id)
    assert len(await jobs.newest(KEY, 10)) == 2
    now_s[0] += 2
    await state_after(jobs, (await jobs.submit("letters", KEY, b"", b"a")).id)
    assert made.id not in [job.id for job in await jobs.newest(KEY, 10)]
    await jobs.stop()


async def test_one_process_has_the_file(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters()) as owner:
        await state_after(owner, (await owner.submit("letters", KEY, b"", b"a")).id)
        async with opened(tmp_path, Letters()) as second:  # it starts all the same
            with pytest.raises(NotSupported, match="another server with the same TURBOV2_HOME"):
                await second.submit("letters", KEY, b"", b"a")
            await owner.stop()
            assert len(await second.newest(KEY, 10)) == 1  # what the first has let go is taken


async def test_a_file_that_is_none_stops_jobs_and_nothing_else(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(b"this is no database, but long enough to be looked at" * 20)
    async with opened(tmp_path, Letters()) as jobs:
        with pytest.raises(JobsFailed) as caught:
            await jobs.newest(KEY, 10)
        assert str(tmp_path) not in caught.value.message


async def test_a_file_of_the_first_version_is_brought_to_this_one(tmp_path: Path) -> None:
    async with opened(tmp_path, Letters(n_free=1)) as jobs:
        made = await jobs.submit("letters", KEY, b"", b"ab")
        await state_after(jobs, made.id, n_done=1)
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.executescript("ALTER TABLE jobs DROP COLUMN progress; PRAGMA user_version = 1;")
    db.close()
    kind = Letters()
    async with opened(tmp_path, kind) as jobs:
        assert (await state_after(jobs, made.id)).state == "done"
    assert (kind.runs[0][1], kind.states) == (1, [b""])


async def test_a_file_of_another_version_is_left_alone(tmp_path: Path) -> None:
    db = sqlite3.connect(tmp_path / FILE_NAME)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(NotSupported, match="another version"):
        Store(tmp_path, JobLimits(), lambda: 0.0)
