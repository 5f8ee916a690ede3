"""Stands between a model's process and the server that this started: neither outlives the other.

A script of its own, for Python's standard library alone: `python tie.py COMMAND ...`. It leads a process
group with the server in it. Its standard input is a pipe whose other end only the model's process holds: the
end of that pipe, as SIGTERM, asks the server to end, then ends it. The server's end is the script's, with the
same exit code or signal. Asked to end, servers give shared memory back that would be lost otherwise.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

_GRACE_S = 5.0
_TIDY_S = 1.0  # for what tidies up behind the server


def main() -> None:
    """Returns never: ends as the server does."""
    for number in (signal.SIGINT, signal.SIGTERM):  # the model's process ignores them, which is inherited
        signal.signal(number, signal.SIG_DFL)
    server = subprocess.Popen(sys.argv[1:], stdin=subprocess.DEVNULL)
    signal.signal(signal.SIGTERM, lambda *_: _end(server))
    is_alone = threading.Event()
    threading.Thread(target=_await_hang_up, args=(server, is_alone), daemon=True).start()
    code = server.wait()
    if is_alone.is_set():
        time.sleep(_TIDY_S)
        os.killpg(0, signal.SIGKILL)  # what the server has left behind, and this script
    if code < 0:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code)


def _await_hang_up(server: subprocess.Popen[bytes], is_alone: threading.Event) -> None:
    while os.read(0, 1024):
        pass
    is_alone.set()
    _end(server)


def _end(server: subprocess.Popen[bytes]) -> None:
    server.terminate()
    threading.Timer(_GRACE_S, server.kill).start()


if __name__ == "__main__":
    main()
