"""Starting a child, ending everything it started, and words for how it ended."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Mapping
from pathlib import Path

from turbov2.runners.channels import Ends, open_channels

# Variables a child never sees: it serves nobody but us and fetches nothing.
SECRET_PREFIXES = ("EMBEDDINGS_API_KEY", "HF_TOKEN", "HUGGING_FACE_HUB_TOKEN") + (
    "REMOTE_OPENAI_API_KEY",
    "VLLM_REMOTE_API_KEY",
)


def inherited(changes: Mapping[str, str]) -> dict[str, str]:
    """Returns our environment without its secrets, and with `changes`."""
    return {k: v for k, v in os.environ.items() if not k.startswith(SECRET_PREFIXES)} | {**changes}


async def spawn(
    executable: str, module: str, environment: Mapping[str, str]
) -> tuple[asyncio.subprocess.Process, Ends]:
    """Returns a child that runs `module`, and our ends of the channels to it.

    environment: all variables that it sees. Raises: OSError; nothing is left then.

    It leads a session of its own, and so a process group: whatever it starts can be ended with it, and a
    terminal's signals do not reach it.
    """
    with contextlib.ExitStack() as on_error, contextlib.ExitStack() as always:
        ours, theirs = open_channels()
        on_error.callback(ours.close)
        always.callback(theirs.close)
        process = await asyncio.create_subprocess_exec(
            *_command(executable, module, theirs),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=theirs.stderr,
            pass_fds=(theirs.requests.fileno(), theirs.answers.fileno()),
            env=environment,
            start_new_session=True,
        )
        on_error.pop_all()
    return process, ours


def _command(executable: str, module: str, ends: Ends) -> list[str]:
    # -P: the folder the server was started in is no place to import from.
    command = [executable, "-P", "-m", module]
    command += ["--requests", str(ends.requests.fileno())]
    command += ["--answers", str(ends.answers.fileno())]
    return [*command, "--parent", str(os.getpid())]


def end_group(pid: int) -> None:
    """Afterwards the child and all it started are killed, or gone already.

    Also right after the child was reaped: its id names no other group while anything it started lives, and
    is not given out again at once.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


def n_oom_kills() -> int:
    """Returns how many processes the kernel has ended for want of memory; 0 where it does not say."""
    with contextlib.suppress(OSError):
        for line in Path("/proc/vmstat").read_text().splitlines():
            if line.startswith("oom_kill "):
                return int(line.split()[1])
    return 0


def exit_words(returncode: int | None, *, has_oom_killed: bool) -> str:
    """Returns how the child ended. has_oom_killed: the kernel ended somebody for want of memory meanwhile."""
    if returncode is None:
        return "was given up"
    if returncode == -signal.SIGKILL and has_oom_killed:
        return "was ended by the kernel, probably out of memory"
    return f"ended (signal {-returncode})" if returncode < 0 else f"ended (exit code {returncode})"
