"""Claude Code as people run it: a process with a home of its own, that reaches one server alone."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import re
import select
import signal
import subprocess
import threading
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, Any, cast

import msgspec

from tests.support.server import until

_DEADLINE_S = 120.0
_NOWHERE = "http://127.0.0.1:9"  # discard, where nobody listens: what asks elsewhere fails at once
_SHORT = ("--system-prompt", "Be short.")  # the fake model repeats it
_MOVES = re.compile(rb"\x1b\[[0-9;?<>=]*[A-Za-z]")  # of the cursor, and colours
_STREAMED = ("--output-format", "stream-json", "--input-format", "stream-json", "--verbose")


class Ran(msgspec.Struct, frozen=True):
    """How a run ended."""

    code: int
    out: str
    err: str

    def result(self) -> dict[str, Any]:
        """Returns what `--output-format json` told."""
        told: dict[str, Any] = json.loads(self.out)
        return told


class Session:
    """A conversation over `--input-format stream-json`: one process, a prompt after the other."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self._process = process

    def say(self, text: str) -> dict[str, Any]:
        """Returns the result of the turn. Raises: AssertionError if the session ended."""
        line = json.dumps({"type": "user", "message": {"role": "user", "content": text}})
        stdin, stdout = cast(IO[str], self._process.stdin), cast(IO[str], self._process.stdout)
        stdin.write(f"{line}\n")
        stdin.flush()
        for told in map(json.loads, stdout):
            if told["type"] == "result":
                result: dict[str, Any] = told
                return result
        raise AssertionError(f"the session ended with {self._process.wait()}")


class ClaudeCode:
    """Runs in the folder `work` below `folder`, with everything off that calls elsewhere.

    It sends three tools and short instructions, so that what the fake model repeats stays short.
    """

    def __init__(self, executable: str, folder: Path, base_url: str, model: str) -> None:
        self._executable = executable
        self._base_url = base_url
        self._model = model
        self._home = folder / "home"
        self.work = folder / "work"
        self.work.mkdir(parents=True)
        self._home.mkdir()
        trusted = {str(self.work): {"hasTrustDialogAccepted": True, "hasCompletedProjectOnboarding": True}}
        answers = {"hasCompletedOnboarding": True, "theme": "dark", "projects": trusted}
        (self._home / ".claude.json").write_text(json.dumps(answers))

    def ask(self, prompt: str, *arguments: str, **env: str) -> Ran:
        """Returns the end of `claude -p prompt`. env: replaces variables; "" unsets one."""
        process = self.started(prompt, *arguments, **env)
        try:
            out, err = process.communicate(timeout=_DEADLINE_S)
        finally:
            process.kill()
        return Ran(process.returncode, out, err)

    def started(self, prompt: str, *arguments: str, **env: str) -> subprocess.Popen[str]:
        """Returns `claude -p prompt`, running."""
        return self._popen("-p", prompt, *arguments, env=env, stdin=subprocess.DEVNULL)

    @contextlib.contextmanager
    def session(self, *arguments: str) -> Iterator[Session]:
        """Yields a conversation, which ends on leaving; a hanging one is killed."""
        process = self._popen("-p", *_STREAMED, *arguments, env={}, stdin=subprocess.PIPE)
        watch = threading.Timer(_DEADLINE_S, process.kill)
        watch.start()
        try:
            yield Session(process)
            process.communicate(timeout=_DEADLINE_S)
        finally:
            watch.cancel()
            process.kill()
            process.communicate()

    def typed(self, text: str, *shown: str) -> None:
        """Returns once an interactive session that was told `text` has shown all of `shown` in its terminal.

        Raises: AssertionError if it never does.
        """
        pid, terminal = pty.fork()
        if not pid:
            os.chdir(self.work)
            env = self._environment({"TERM": "xterm-256color"})
            os.execve(self._executable, self._command(), env)
        written = bytearray()

        def reads(*words: str) -> bool:
            if select.select([terminal], [], [], 0.05)[0]:
                written.extend(os.read(terminal, 65_536))
            plain = " ".join(_MOVES.sub(b" ", bytes(written)).decode(errors="replace").split())
            return all(each in plain for each in words)

        try:
            until(lambda: reads("shortcuts"), _DEADLINE_S)
            os.write(terminal, text.encode())
            until(lambda: reads(text), _DEADLINE_S)
            os.write(terminal, b"\r")
            until(lambda: reads(*shown), _DEADLINE_S)
        finally:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
            os.close(terminal)

    def _popen(self, *arguments: str, env: Mapping[str, str], stdin: int) -> subprocess.Popen[str]:
        pipe = subprocess.PIPE
        command, environment = self._command(*arguments), self._environment(env)
        return subprocess.Popen(
            command, env=environment, cwd=self.work, stdin=stdin, stdout=pipe, stderr=pipe, text=True
        )

    def _command(self, *arguments: str) -> list[str]:
        named = () if "--model" in arguments else ("--model", self._model)
        return [self._executable, *arguments, *named, *_SHORT]

    def _environment(self, changed: Mapping[str, str]) -> dict[str, str]:
        env = {
            "PATH": os.environ["PATH"],
            "HOME": str(self._home),
            "ANTHROPIC_BASE_URL": self._base_url,
            "ANTHROPIC_AUTH_TOKEN": "none",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            "CLAUDE_CODE_SIMPLE": "1",
            "CLAUDE_CODE_MAX_RETRIES": "2",
            "HTTPS_PROXY": _NOWHERE,
            "HTTP_PROXY": _NOWHERE,
            "NO_PROXY": "127.0.0.1",
        }
        return {name: value for name, value in (env | dict(changed)).items() if value}
