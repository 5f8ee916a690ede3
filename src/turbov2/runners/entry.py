"""What every child does first: it ties its life to its parent's and takes its ends of the channels."""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import faulthandler
import os
import signal
import socket
import sys
from pathlib import Path

_PR_SET_PDEATHSIG = 1  # linux/prctl.h
_OOM_SCORE = 500  # half of all there is, on top of the server's own: proc_pid_oom_score_adj(5)
_MAX_OOM_SCORE = 1000


def enter(module: str, arguments: list[str] | None) -> tuple[socket.socket, socket.socket]:
    """Returns the sockets that requests come by and answers leave by.

    Afterwards this process dies with its parent, prints into the parent's log and takes no signals from
    terminals.
    """
    parser = argparse.ArgumentParser(prog=module)
    parser.add_argument("--requests", type=int, required=True, help="socket to read frames from")
    parser.add_argument("--answers", type=int, required=True, help="socket to write frames to")
    parser.add_argument("--parent", type=int, required=True, help="process id of the parent")
    options = parser.parse_args(arguments)
    die_with(options.parent)
    offer_to_the_kernel()
    # Terminals and service managers signal every process of a server; it alone decides when its children end.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    faulthandler.enable()
    os.dup2(2, 1)  # what libraries print belongs in the log
    requests, answers = (socket.socket(fileno=fd) for fd in (options.requests, options.answers))
    for sock in (requests, answers):
        sock.set_inheritable(False)  # a grandchild that held it would hide our death
    return requests, answers


def die_with(parent: int) -> None:
    """From here on the kernel kills this process when `parent` dies; ends it if that already happened.

    Linux ties this to the *thread* that spawned us: the parent's event loop must live as long as its runners.
    Elsewhere the end of the requests does the same, a moment later.
    """
    if sys.platform != "linux":
        return
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:  # it died before the call above: no signal will come
        os._exit(0)


def offer_to_the_kernel() -> None:
    """Afterwards the kernel, when memory runs out, ends this process rather than the server."""
    score = Path("/proc/self/oom_score_adj")
    with contextlib.suppress(OSError):  # not Linux, or not allowed
        score.write_text(str(min(int(score.read_text()) + _OOM_SCORE, _MAX_OOM_SCORE)))
