"""Stands between a runner's process and the server that it started: neither outlives the other.

A script of its own, for Python's standard library alone: `python tie.py COMMAND ...`. Its standard input is a
pipe whose other end only the runner's process holds. The end of that pipe is the end of the whole process
group; SIGTERM is the server's; the server's end is the script's, with the same exit code or signal.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from types import FrameType

_GRACE_S = 5.0


def main() -> None:
    """Returns never: ends as the server does."""
    for number in (signal.SIGINT, signal.SIGTERM):  # runners ignore them, which a child would inherit
        signal.signal(number, signal.SIG_DFL)
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)

    def end(number: int, frame: FrameType | None) -> None:
        server.terminate()
        threading.Timer(_GRACE_S, server.kill).start()

    signal.signal(signal.SIGTERM, end)
    threading.Thread(target=_end_with_the_pipe, daemon=True).start()
    code = server.wait()
    sys.stderr.flush()
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _end_with_the_pipe() -> None:
    while os.read(0, 1024):
        pass
    os.killpg(0, signal.SIGKILL)


if __name__ == "__main__":
    main()
