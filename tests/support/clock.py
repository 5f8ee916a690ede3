"""An event loop whose time passes only when nothing else is left to do: timeouts take no time to test."""

from __future__ import annotations

import asyncio
import functools
import selectors
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec

P = ParamSpec("P")


class ClockLoop(asyncio.SelectorEventLoop):
    """Starts at 1,000 s. Does not wait for threads or sockets: for code that only uses tasks and timers."""

    def __init__(self) -> None:
        self.now_s = 1000.0
        self.problems: list[dict[str, Any]] = []
        super().__init__(_Jump(self))
        self.set_exception_handler(lambda loop, context: self.problems.append(context))

    def time(self) -> float:
        return self.now_s


class _Jump(selectors.SelectSelector):
    def __init__(self, loop: ClockLoop) -> None:
        super().__init__()
        self._loop = loop

    def select(self, timeout: float | None = None) -> Any:
        if timeout is None:
            raise RuntimeError("every task waits for something that never comes")
        self._loop.now_s += max(timeout, 0)
        return super().select(0)


def now_s() -> float:
    return asyncio.get_running_loop().time()


async def settle(n_steps: int = 30) -> None:
    """Returns once everything that can happen now has happened."""
    for _ in range(n_steps):
        await asyncio.sleep(0)


def run_on_clock(main: Coroutine[Any, Any, None]) -> None:
    """Runs it to its end. Raises: AssertionError if a task is left over or nobody saw an error."""
    with asyncio.Runner(loop_factory=ClockLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, ClockLoop)
        runner.run(main)
        left = asyncio.all_tasks(loop)
        assert not left, f"tasks without an owner: {left}"
        assert not loop.problems, loop.problems


def on_clock(test: Callable[P, Coroutine[Any, Any, None]]) -> Callable[P, None]:
    """Makes a test of an async function, run by `run_on_clock`."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        run_on_clock(test(*args, **kwargs))

    return run
