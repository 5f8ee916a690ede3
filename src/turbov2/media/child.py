"""One decoding child, seen from the server: asked one thing at a time, and ended when anything goes wrong."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator

from turbov2.errors import DeadlineExceeded, DecoderCrashed, TurboError
from turbov2.media import messages as say
from turbov2.media.limits import MediaLimits
from turbov2.runners import child, frames
from turbov2.runners.channels import Ends, Stderr

log = logging.getLogger("turbov2.media")

# All that a child sees of our environment: where its interpreter finds libraries, and the language.
_KEPT_VARIABLES = ("PATH", "PYTHONHOME", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "LC_CTYPE")
_OWN_VARIABLES = {
    "PYTHONDONTWRITEBYTECODE": "1",
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",  # each thread takes address space, which is bounded
}
_START_TIMEOUT_S = 30.0
_EXIT_WAIT_S = 1.0  # between the end of the answers and that of the process
_READ_AHEAD_BYTES = 1 << 20
_MAX_REQUESTS = 5_000
_MAX_GROWTH_BYTES = 256 << 20


class Child:
    """A running child. `spawn` and `begin` make one; `end` ends it, and so does whatever is no file's fault.

    holds: key of the document it has open, 0 for none.
    """

    def __init__(self, process: asyncio.subprocess.Process, ends: Ends) -> None:
        self.holds = 0
        self.is_usable = True
        self._process = process
        self._timeout_s = _START_TIMEOUT_S
        self._n_requests = 0
        self._requests = ends.requests.dup()  # beside asyncio, which sends no descriptors
        self._first_rss_bytes = 0
        self._rss_bytes = 0
        self._n_oom_kills = child.n_oom_kills()
        self._streams: asyncio.Future[tuple[asyncio.StreamReader, asyncio.StreamWriter]]
        self._streams = asyncio.get_running_loop().create_future()
        self.ended = asyncio.create_task(self._live(ends), name=f"media decoder {process.pid}")

    @classmethod
    async def spawn(cls, executable: str) -> Child:
        """Returns a child that waits for `begin`. Raises: DecoderCrashed."""
        try:
            return cls(*await child.spawn(executable, "turbov2.media.worker", _environment()))
        except OSError as error:
            log.error("cannot run %s: %s", executable, error)
            raise DecoderCrashed("no process could be started to read the file; try again") from error

    async def begin(self, limits: MediaLimits) -> None:
        """Afterwards the child has set itself `limits` and takes requests.

        Raises: as `ask`; NotSupported where the libraries are not installed.
        """
        hello = await self.ask(say.Begin(say.PROTOCOL_VERSION, limits))
        self._timeout_s = limits.timeout_s
        self._first_rss_bytes = frames.message_of(hello, say.Hello).rss_bytes

    @property
    def pid(self) -> int:
        """Its process id; after its end that of nobody, or of another."""
        return self._process.pid

    @property
    def is_spent(self) -> bool:
        """True when another child should take its place: it is ended, old, or has grown."""
        has_grown = self._rss_bytes - self._first_rss_bytes > _MAX_GROWTH_BYTES
        is_gone = not self.is_usable or self._process.returncode is not None or self.ended.done()
        return is_gone or has_grown or self._n_requests >= _MAX_REQUESTS

    async def ask(self, request: say.Begin | say.Request, *buffers: frames.Array) -> frames.Frame:
        """Returns the answer. A child that did not give one is ended; cancelling ends it as well.

        Raises: the error the child answers with; DeadlineExceeded; DecoderCrashed.
        """
        self._n_requests += 1
        async with self._watched():
            _, writer = await asyncio.shield(self._streams)
            frames.write_parts(writer, frames.encode(request, *buffers))
            await writer.drain()
            return await self._receive()

    async def ask_about(self, request: say.Request, descriptor: int) -> frames.Frame:
        """Returns the first answer about a file that is open here, and may be closed then.

        Raises: as `ask`.
        """
        self._n_requests += 1
        async with self._watched():
            await asyncio.shield(self._streams)
            # All that was sent before was answered: the socket is empty, and this goes out whole.
            socket.send_fds(self._requests, frames.encode(request), [descriptor])
            return await self._receive()

    async def next_answer(self) -> frames.Frame:
        """Returns the next answer to the last request. Raises: as `ask`."""
        async with self._watched():
            return await self._receive()

    @contextlib.asynccontextmanager
    async def _watched(self) -> AsyncIterator[None]:
        """Ends the child when what is done here fails in another way than by an answer."""
        try:
            async with asyncio.timeout(self._timeout_s):
                yield
        except TimeoutError as error:
            self.end()
            raise _too_slow(self._timeout_s) from error
        except TurboError:
            raise
        except (EOFError, OSError) as error:
            raise await self._crashed() from error
        except frames.FrameError as error:
            log.exception("media decoder %d broke the protocol and was ended", self.pid)
            self.end()
            raise DecoderCrashed("the process that read the file answered nonsense and was ended") from error
        except BaseException:
            self.end()
            raise

    async def _receive(self) -> frames.Frame:
        reader, _ = await asyncio.shield(self._streams)
        frame = await frames.read_frame(reader, say.TO_PARENT)
        self._rss_bytes = getattr(frame.message, "rss_bytes", 0)
        if isinstance(frame.message, say.Failure):
            raise say.error_of(frame.message)
        return frame

    def end(self) -> None:
        """Cuts the child off; `ended` says when it is gone."""
        self.is_usable = False
        if self._process.returncode is None:
            child.end_group(self._process.pid)

    async def _live(self, ends: Ends) -> None:
        """Opens the channels, waits for the child's end, and leaves nothing of it."""
        loop = asyncio.get_running_loop()
        _, writer = await asyncio.open_unix_connection(sock=ends.requests)
        reader, hangs_up = await asyncio.open_unix_connection(sock=ends.answers, limit=_READ_AHEAD_BYTES)
        pipe, _ = await loop.connect_read_pipe(lambda: Stderr("a media decoder"), ends.stderr)
        self._streams.set_result((reader, writer))
        try:
            await self._process.wait()
        finally:
            self.is_usable = False
            child.end_group(self._process.pid)
            for channel in (pipe, hangs_up, writer, self._requests):
                channel.close()

    async def _crashed(self) -> TurboError:
        """Returns the error of a request whose child ended under it."""
        is_our_doing = not self.is_usable and not self.ended.done()
        await asyncio.wait({self.ended}, timeout=_EXIT_WAIT_S)
        self.end()
        code = self._process.returncode
        if code == -signal.SIGXCPU:
            return _too_slow(self._timeout_s)
        words = child.exit_words(code, has_oom_killed=child.n_oom_kills() > self._n_oom_kills)
        log.log(logging.DEBUG if is_our_doing else logging.WARNING, "media decoder %d %s", self.pid, words)
        return DecoderCrashed(f"the process that read the file {words}; the file may be broken or too large")


def _too_slow(timeout_s: float) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"reading the file takes more than {timeout_s:g} s, the limit; send a simpler one"
    )


def _environment() -> dict[str, str]:
    return {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ} | _OWN_VARIABLES
