"""How long work looks: a bar on a terminal, a line for each part in a log."""

from __future__ import annotations

from types import TracebackType

from rich.filesize import decimal
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
)
from rich.text import Text

from turbov2.cli._console import err
from turbov2.types.status import PullProgress

_VERBS = {"downloading": "fetching", "verifying": "checking"}
_MAX_NAME = 32


class _Pace(ProgressColumn):
    """Speed and time left; nothing once a file is done."""

    max_refresh = 0.5  # seconds; faster, the numbers cannot be read

    def render(self, task: Task) -> Text:
        """Returns "8.7 MB/s, 3 s left"."""
        if task.finished or not task.speed or task.time_remaining is None:
            return Text("")
        minutes, seconds = divmod(int(task.time_remaining), 60)
        left = f"{minutes} min" if minutes else f"{seconds} s"
        return Text(f"{decimal(int(task.speed))}/s, {left} left", "dim")


class PullDisplay:
    """A context in which `step` shows what a pull does."""

    def __init__(self, model: str) -> None:
        self._model = model
        self._console = err()
        self._bars = Progress(
            TextColumn("{task.fields[verb]}"),
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            DownloadColumn(),
            _Pace(),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._tasks: dict[str, TaskID] = {}
        self._seen: set[tuple[str, str]] = set()

    def __enter__(self) -> PullDisplay:
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bars.stop()

    def step(self, step: PullProgress) -> None:
        """The step is on stderr."""
        verb = _VERBS.get(step.phase)
        if verb is None:
            return
        is_new = (verb, step.file) not in self._seen
        self._seen.add((verb, step.file))
        if self._console.is_terminal:
            self._draw(verb, step, is_new)
        elif is_new:
            size = f" ({decimal(step.total_bytes)})" if step.total_bytes else ""
            self._console.print(Text(f"{self._model}: {verb} {step.file}{size}"), soft_wrap=True)

    def _draw(self, verb: str, step: PullProgress, is_new: bool) -> None:
        if is_new:
            self._settle()
            if step.file in self._tasks:
                self._bars.remove_task(self._tasks[step.file])
            # What an earlier pull had fetched is where the bar starts, not speed.
            self._tasks[step.file] = self._bars.add_task(
                _shortened(step.file), total=step.total_bytes or None, completed=step.done_bytes, verb=verb
            )
        else:
            task = self._tasks[step.file]
            self._bars.update(task, total=step.total_bytes or None, completed=step.done_bytes)

    def _settle(self) -> None:
        """Files of unknown size are full: another one has begun."""
        for task in self._bars.tasks:
            if task.total is None:
                self._bars.update(task.id, total=task.completed)


class CountDisplay:
    """A context in which `step(done, total)` shows how many of the things are done and the time left."""

    def __init__(self, verb: str, noun: str) -> None:
        self._console = err()
        self._bar = Progress(
            TextColumn(verb),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TextColumn(f"{noun},"),
            TimeRemainingColumn(),
            TextColumn("left"),
            console=self._console,
            disable=not self._console.is_terminal,
            expand=True,
        )
        self._line = f"{verb}: {{:,}} {noun}"
        self._task: TaskID | None = None

    def __enter__(self) -> CountDisplay:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def step(self, done: int, total: int) -> None:
        """The count is on stderr."""
        if self._task is None:  # nothing is drawn before the first step, so notes before it stay whole
            self._task = self._bar.add_task("", total=total)
            self._bar.start()
            if not self._console.is_terminal:
                self._console.print(Text(self._line.format(total)), soft_wrap=True)
        self._bar.update(self._task, completed=done, total=total)


def _shortened(name: str) -> str:
    return name if len(name) <= _MAX_NAME else f"{name[:12]}...{name[-(_MAX_NAME - 15) :]}"
