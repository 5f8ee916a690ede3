"""A server's process: started, awaited, watched, ended."""

from __future__ import annotations

import contextlib
import http.client
import logging
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from turbov2.errors import InferenceFailed, LoadFailed

logger = logging.getLogger(__name__)

_TIE = Path(__file__).with_name("tie.py")
_LOOK_S = 0.05  # between two looks whether it is ready
_STOP_S = 10.0  # more than the tie gives it
_TIDY_S = 2.0
_LINGER_S = 2.0  # between the last word of a server and its end


class ServerProcess:
    """Lives no longer than this process, and this process no longer than it.

    Once it was ready its end ends us: our own runner tells the requests, starts both again, with a back-off,
    and has what the server printed in the log.
    """

    def __init__(self, what: str, command: Sequence[str], environment: Mapping[str, str]) -> None:
        """what: for messages. environment: all variables that it sees. Raises: OSError."""
        self._what = what
        self._is_closing = threading.Event()
        # Isolated and without site-packages: the tie is there in 10 ms, and takes 8 MB.
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(_TIE), *command],
            stdin=subprocess.PIPE,
            env=dict(environment),
            start_new_session=True,
        )

    def await_ready(self, is_ready: Callable[[], bool]) -> None:
        """Returns once `is_ready`, which is asked again and again; the runner bounds how long.

        Raises: LoadFailed when the server ends before.
        """
        while not is_ready():
            if (code := self._process.poll()) is not None:
                raise LoadFailed(
                    f"{self._what} {_end_words(code)} before it was ready; the server's log says why"
                )
            time.sleep(_LOOK_S)
        threading.Thread(target=self._end_with_it, name="server", daemon=True).start()

    @contextlib.contextmanager
    def asked(self) -> Iterator[None]:
        """Inside, the server is asked. If it breaks off because it ends, so does this process.

        Raises: InferenceFailed if it breaks off and lives on.
        """
        try:
            yield
        except (OSError, http.client.HTTPException, msgspec.DecodeError) as error:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(_LINGER_S)
                threading.Event().wait()  # until `_end_with_it` has done its work
            raise InferenceFailed(f"{self._what} broke off; the server's log may say why") from error

    def close(self) -> None:
        """Afterwards the server has ended, and what it started."""
        self._is_closing.set()
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_STOP_S)
        self._clear()

    def _end_with_it(self) -> None:
        code = self._process.wait()
        self._clear()
        if not self._is_closing.is_set():
            logger.error("%s %s", self._what, _end_words(code))
            sys.stderr.flush()
            os._exit(os.EX_SOFTWARE)

    def _clear(self) -> None:
        """Afterwards nothing is left of the server's group, which is given time to tidy up."""
        deadline_s = time.monotonic() + _TIDY_S
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGTERM)
            while time.monotonic() < deadline_s:
                os.killpg(self._process.pid, 0)
                time.sleep(_LOOK_S)
            os.killpg(self._process.pid, signal.SIGKILL)


def _end_words(code: int) -> str:
    return f"ended (signal {-code})" if code < 0 else f"ended (exit code {code})"
