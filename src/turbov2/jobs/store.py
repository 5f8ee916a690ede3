"""Jobs on disk: one SQLite file, and beside it one file for the input of each job that has not ended.

Blocks; used by one thread. SQLite's own lock makes the process that opened it the only one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from turbov2.errors import JobNotFound, NotSupported, QueueFull
from turbov2.jobs.states import JobError, JobLimits, JobState, JobStatus, Unit

FILE_NAME = "jobs.sqlite"
INPUTS_NAME = "jobs"

_SCHEMA_VERSION = 2
_SCHEMA = """
CREATE TABLE jobs (
  number INTEGER PRIMARY KEY AUTOINCREMENT,
  id TEXT NOT NULL UNIQUE,
  key_id TEXT NOT NULL,
  kind TEXT NOT NULL,
  asked BLOB NOT NULL,
  state TEXT NOT NULL,
  n_done INTEGER NOT NULL DEFAULT 0,
  n_units INTEGER,
  n_deaths INTEGER NOT NULL DEFAULT 0,
  progress BLOB NOT NULL DEFAULT x'',
  n_bytes INTEGER NOT NULL,
  created_s REAL NOT NULL,
  started_s REAL,
  ended_s REAL,
  error_code TEXT,
  error_message TEXT
);
CREATE INDEX jobs_by_state ON jobs (state, number);
CREATE INDEX jobs_by_key ON jobs (key_id, number);
CREATE TABLE results (
  job INTEGER NOT NULL REFERENCES jobs (number) ON DELETE CASCADE,
  unit INTEGER NOT NULL,
  body BLOB NOT NULL,
  PRIMARY KEY (job, unit)
);
"""
_TO_2 = "ALTER TABLE jobs ADD COLUMN progress BLOB NOT NULL DEFAULT x'';"
_COLUMNS = "id, kind, state, n_done, n_units, created_s, started_s, ended_s, error_code, error_message"
# Keys take turns: first who has least running, then whose last job began longest ago.
_NEXT = """
SELECT number, id, key_id, kind, asked, n_done, progress FROM jobs AS job WHERE state = 'queued' ORDER BY
  (SELECT count(*) FROM jobs WHERE key_id = job.key_id AND state = 'running'),
  (SELECT max(started_s) FROM jobs WHERE key_id = job.key_id),
  number
LIMIT 1
"""
MAX_DEATHS = 3  # of the server, without a unit done in between


class Claimed(NamedTuple):
    """A job to be worked on, from unit `n_done`. state: what the unit before gave."""

    number: int
    id: str
    key_id: str
    kind: str
    asked: bytes
    n_done: int
    state: bytes


class Store:
    """The jobs of one home folder. Raises: NotSupported when another process has them; sqlite3.Error."""

    def __init__(self, home: Path, limits: JobLimits, now_s: Callable[[], float]) -> None:
        self._limits = limits
        self._now_s = now_s
        self._inputs = home / INPUTS_NAME
        self._inputs.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._db = sqlite3.connect(home / FILE_NAME, timeout=0, isolation_level=None, check_same_thread=False)
        try:
            self._claim_file()
            self._recover()
        except BaseException:
            self._db.close()
            raise
        os.chmod(home / FILE_NAME, 0o600)

    def _claim_file(self) -> None:
        try:
            # With an exclusive lock there is no shared memory beside the file, and the lock dies with us.
            self._db.execute("PRAGMA locking_mode = EXCLUSIVE")
            self._db.execute("PRAGMA journal_mode = WAL")
            self._db.execute("BEGIN EXCLUSIVE")
            self._db.execute("COMMIT")
        except sqlite3.OperationalError as error:
            if getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY"):
                what = "jobs are kept by another server with the same TURBOV2_HOME"
                raise NotSupported(f"{what}; give this one a folder of its own, or send them there") from None
            raise
        self._db.execute("PRAGMA synchronous = NORMAL")  # what is committed survives the death of the server
        self._db.execute("PRAGMA foreign_keys = ON")
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version == 0:
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_SCHEMA_VERSION}; COMMIT;")
        elif version == 1:
            self._db.executescript(f"BEGIN; {_TO_2} PRAGMA user_version = 2; COMMIT;")
        elif version != _SCHEMA_VERSION:
            raise NotSupported("the file of jobs was written by another version of the server; move it away")

    def _recover(self) -> None:
        """What ran when the server ended waits again; what ended it several times has failed."""
        self._db.execute("UPDATE jobs SET state = 'queued', n_deaths = n_deaths + 1 WHERE state = 'running'")
        for (number,) in self._db.execute(
            "SELECT number FROM jobs WHERE state = 'queued' AND n_deaths >= ?", (MAX_DEATHS,)
        ).fetchall():
            message = f"the server ended {MAX_DEATHS} times while it worked on the same part of this job"
            self.end(number, "failed", JobError("internal_error", message))
        self._db.execute("DELETE FROM jobs WHERE state = 'cancelled'")  # its removal was cut short
        wanted = {name for (name,) in self._db.execute("SELECT id FROM jobs WHERE ended_s IS NULL")}
        for path in self._inputs.iterdir():
            if path.name not in wanted:
                path.unlink()

    def close(self) -> None:
        """Afterwards another process may have the jobs; those that ran wait."""
        self._db.execute("UPDATE jobs SET state = 'queued' WHERE state = 'running'")
        self._db.close()

    def check_room(self, n_bytes: int) -> None:
        """Raises: QueueFull when a job that brings so many bytes would pass the limits."""
        n_jobs, n_kept = self._db.execute("SELECT count(*), total(n_bytes) FROM jobs").fetchone()
        if n_jobs >= self._limits.max_jobs:
            raise QueueFull(
                f"{n_jobs} jobs are kept, the limit; delete those that are done", retry_after_s=60
            )
        if n_kept + n_bytes > self._limits.max_bytes:
            kept = f"{int(n_kept)} bytes of jobs are kept and this one brings {n_bytes}"
            limit = f"the limit is {self._limits.max_bytes} (TURBOV2_JOB_BYTES)"
            raise QueueFull(f"{kept}, {limit}; delete jobs that are done", retry_after_s=60)

    def add(self, job_id: str, kind: str, key_id: str, asked: bytes, n_bytes: int) -> JobStatus:
        """Returns the new job, queued; its input of `n_bytes` is at `payload_path`. Raises: QueueFull."""
        self.check_room(n_bytes + len(asked))
        self._db.execute(
            "INSERT INTO jobs (id, key_id, kind, asked, state, n_bytes, created_s) "
            "VALUES (?, ?, ?, ?, 'queued', ?, ?)",
            (job_id, key_id, kind, asked, n_bytes + len(asked), self._now_s()),
        )
        return self.status(job_id, key_id)

    def status(self, job_id: str, key_id: str) -> JobStatus:
        """Returns the job. Raises: JobNotFound, also for another key's."""
        row = self._db.execute(
            f"SELECT {_COLUMNS} FROM jobs WHERE id = ? AND key_id = ?", (job_id, key_id)
        ).fetchone()
        if row is None:
            raise JobNotFound(f"job '{job_id[:64]}' not found: it was removed, or never was", param="id")
        return _status(row)

    def newest(self, key_id: str, limit: int) -> list[JobStatus]:
        """Returns the key's jobs, newest first."""
        query = f"SELECT {_COLUMNS} FROM jobs WHERE key_id = ? ORDER BY number DESC LIMIT ?"
        return [_status(row) for row in self._db.execute(query, (key_id, limit))]

    def results(self, job_id: str, key_id: str, first: int, limit: int, max_bytes: int) -> list[bytes]:
        """Returns what units `first` and following gave: at most `limit`, and not much above `max_bytes`."""
        self.status(job_id, key_id)
        found: list[bytes] = []
        rows = self._db.execute(
            "SELECT body FROM results WHERE job = (SELECT number FROM jobs WHERE id = ?) "
            "AND unit >= ? ORDER BY unit LIMIT ?",
            (job_id, first, limit),
        )
        with contextlib.closing(rows):
            for (body,) in rows:
                found.append(body)
                max_bytes -= len(body)
                if max_bytes <= 0:
                    break
        return found

    def claim(self) -> Claimed | None:
        """Returns the job whose turn it is, running from now on; None when none waits."""
        row = self._db.execute(_NEXT).fetchone()
        if row is None:
            return None
        self._db.execute(
            "UPDATE jobs SET state = 'running', started_s = ? WHERE number = ?", (self._now_s(), row[0])
        )
        return Claimed(*row)

    def payload_path(self, job_id: str) -> Path:
        """Returns where the job's input is until the job ends."""
        return self._inputs / job_id

    def save(self, number: int, index: int, unit: Unit) -> bool:
        """Returns whether the unit is kept; False once the job is no longer wanted. Raises: QueueFull."""
        (n_kept,) = self._db.execute("SELECT total(n_bytes) FROM jobs").fetchone()
        if n_kept + len(unit.body) > self._limits.max_bytes:
            limit = f"the limit is {self._limits.max_bytes} bytes (TURBOV2_JOB_BYTES)"
            raise QueueFull(f"there is no room for more results of jobs: {limit}; delete jobs that are done")
        self._db.execute("BEGIN")
        try:
            is_wanted = self._db.execute(
                "UPDATE jobs SET n_done = ?, n_units = ?, progress = ?, n_bytes = n_bytes + ?, n_deaths = 0 "
                "WHERE number = ? AND state = 'running'",
                (index + 1, unit.n_units, unit.state, len(unit.body), number),
            ).rowcount
            if is_wanted:
                self._db.execute("INSERT INTO results VALUES (?, ?, ?)", (number, index, unit.body))
            self._db.execute("COMMIT")
        except BaseException:
            self._db.execute("ROLLBACK")
            raise
        return bool(is_wanted)

    def end(self, number: int, state: JobState, error: JobError | None = None) -> None:
        """Afterwards the job has ended and its input is gone; one that had ended stays as it was."""
        code, message = (error.code, error.message) if error is not None else (None, None)
        row = self._db.execute(
            "UPDATE jobs SET state = ?, asked = x'', progress = x'', error_code = ?, error_message = ?, "
            "ended_s = ?, n_units = CASE ? WHEN 'done' THEN n_done ELSE n_units END "
            "WHERE number = ? AND ended_s IS NULL RETURNING id",
            (state, code, message, self._now_s(), state, number),
        ).fetchone()
        if row is not None:
            (self._inputs / row[0]).unlink(missing_ok=True)

    def cancel(self, job_id: str, key_id: str) -> None:
        """Afterwards the job has ended. Raises: JobNotFound."""
        self.status(job_id, key_id)
        (number,) = self._db.execute("SELECT number FROM jobs WHERE id = ?", (job_id,)).fetchone()
        self.end(number, "cancelled")

    def remove(self, job_ids: Sequence[str]) -> None:
        """Afterwards these jobs, their inputs and results are gone."""
        for job_id in job_ids:
            self._db.execute("DELETE FROM jobs WHERE id = ?", (job_id,))
            (self._inputs / job_id).unlink(missing_ok=True)

    def expire(self) -> None:
        """Afterwards no job is left that ended longer ago than the limit."""
        oldest_s = self._now_s() - self._limits.max_age_s
        rows = self._db.execute("SELECT id FROM jobs WHERE ended_s < ?", (oldest_s,)).fetchall()
        self.remove([job_id for (job_id,) in rows])


def _status(row: Sequence[Any]) -> JobStatus:
    told: dict[str, Any] = dict(zip(_COLUMNS.split(", "), row, strict=True))
    code, message = told.pop("error_code"), told.pop("error_message")
    return JobStatus(**told, error=JobError(code, message) if code is not None else None)
