"""Ways to harm the process this runs in: what the fake backend does when it is told to. Never called else."""

from __future__ import annotations

import ctypes
import os
import signal
import stat
import subprocess
import threading
from collections.abc import Callable

_EXIT_CODE = 3
_GRANDCHILD = ("sleep", "600")
_GARBAGE = b"HTTP/1.1 200 OK\r\n\r\n"  # whole and well-formed, in somebody else's protocol


def hang() -> None:
    """Never returns; the interpreter lock is free."""
    threading.Event().wait()


def crash() -> None:
    """Never returns: the process ends as if the kernel had needed its memory."""
    os.kill(os.getpid(), signal.SIGKILL)


def segfault() -> None:
    """Never returns: reads address 0 and gets the signal a library's bug would get."""
    ctypes.string_at(0)


def stop() -> None:
    """Returns when someone continues the process: until then no thread of it runs."""
    os.kill(os.getpid(), signal.SIGSTOP)


def leave() -> None:
    """Never returns: the process ends by itself, cleaning up nothing."""
    os._exit(_EXIT_CODE)


def write_garbage() -> None:
    """Afterwards every open socket has carried bytes that its reader does not expect."""
    for fd in _open_sockets():
        os.write(fd, _GARBAGE)


def spawn() -> None:
    """Afterwards a process of ours runs on, holding every open socket and standard error."""
    subprocess.Popen(_GRANDCHILD, pass_fds=_open_sockets())


HAVOC: dict[str, Callable[[], None]] = {
    "hang_on": hang,
    "crash_on": crash,
    "segfault_on": segfault,
    "stop_on": stop,
    "exit_on": leave,
    "garbage_on": write_garbage,
    "spawn_on": spawn,
}


def _open_sockets() -> list[int]:
    return [fd for fd in map(int, os.listdir("/proc/self/fd")) if _is_socket(fd)]


def _is_socket(fd: int) -> bool:
    try:
        return stat.S_ISSOCK(os.fstat(fd).st_mode)
    except OSError:  # it was the listing's own
        return False
