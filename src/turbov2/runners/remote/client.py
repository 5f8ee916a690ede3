"""The connection to another server: asked again only while nothing came, and read within bounds."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import AsyncGenerator, AsyncIterator

import httpx

from turbov2.errors import RemoteFailed, RemoteTimedOut, TurboError
from turbov2.runners.remote.events import EventReader
from turbov2.runners.remote.faults import AGAIN, Faults, wait_s_in
from turbov2.runners.remote.options import RemoteOptions

log = logging.getLogger("turbov2.runners.remote")

_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 20.0  # for which a request is held; who is told to wait longer is told at once
_MAX_ERROR_BYTES = 65_536
_MAX_JSON_BYTES = 16 << 20
_ERROR_S = 5.0  # to read why a request was refused
_TAIL_S = 0.1  # for what follows the last event, so that the connection can be used again
_EVENTS_A_STEP = 32  # then others have their turn in the loop
_END = b"[DONE]"


class Client:
    """Asks one server for one model. Redirects are not followed, certificates are checked."""

    def __init__(self, options: RemoteOptions, key: str, faults: Faults) -> None:
        """key: sent as a bearer token; empty: none."""
        self._options = options
        self._faults = faults
        self._who = faults.who
        self._base_url = options.base_url.rstrip("/")
        headers = {"accept-encoding": "identity", "content-type": "application/json"}
        if key:
            headers["authorization"] = f"Bearer {key}"
        self._http = httpx.AsyncClient(
            headers=headers,
            follow_redirects=False,
            # Reading is bounded below, event by event; how many are asked at once, by the model's queue.
            timeout=httpx.Timeout(None, connect=options.connect_timeout_s),
            limits=httpx.Limits(max_connections=None, max_keepalive_connections=options.at_once),
        )

    async def close(self) -> None:
        """Afterwards there is no connection; answers under way end with RemoteFailed."""
        await self._http.aclose()

    async def events(self, path: str, body: bytes) -> AsyncGenerator[bytes, None]:
        """Yields the data of each event of an answer. Closing it closes the connection.

        Raises: RemoteFailed, RemoteTimedOut, RemoteBusy, what the server refuses.
        """
        end_s = asyncio.get_running_loop().time() + self._options.timeout_s
        async with self._opened(f"{self._base_url}{path}", body) as response:
            received, reader, n_events = response.aiter_raw(), EventReader(), 0
            async with contextlib.aclosing(self._timed(received, end_s, reader)) as events:
                async for event in events:
                    if event == _END:
                        await _read_tail(received)
                        return
                    yield event
                    n_events += 1
                    if n_events % _EVENTS_A_STEP == 0:
                        await asyncio.sleep(0)

    async def json(self, url_path: str, body: bytes) -> bytes:
        """Returns a whole answer; the path is below the base URL without its "/v1". Raises: as above."""
        url = f"{self._base_url.removesuffix('/v1')}{url_path}"
        async with self._opened(url, body) as response:
            return await self._beginning(response, _MAX_JSON_BYTES, self._options.silence_timeout_s)

    async def _timed(
        self, received: AsyncIterator[bytes], end_s: float, reader: EventReader
    ) -> AsyncGenerator[bytes, None]:
        """Yields events. A byte now and then is no sign of life, only whole lines are."""
        loop = asyncio.get_running_loop()
        silent_at_s = loop.time() + self._options.silence_timeout_s
        while True:
            try:
                async with asyncio.timeout_at(min(silent_at_s, end_s)):
                    piece = await anext(received, None)
            except TimeoutError:
                raise self._too_slow(is_whole=loop.time() >= end_s) from None
            except httpx.HTTPError as error:
                raise self._broken_off(error) from error
            if piece is None:
                return
            n_lines = reader.n_lines
            for event in reader.read(piece):
                yield event
            if reader.n_lines > n_lines:
                silent_at_s = loop.time() + self._options.silence_timeout_s

    @contextlib.asynccontextmanager
    async def _opened(self, url: str, body: bytes) -> AsyncGenerator[httpx.Response, None]:
        """Gives the answer's head, its status being 200; afterwards its connection is free, or closed."""
        response = await self._open(url, body)
        try:
            if response.headers.get("content-encoding", "identity") != "identity":
                raise RemoteFailed(f"{self._who} packs its answers, though it was asked not to")
            yield response
        finally:
            await response.aclose()

    async def _open(self, url: str, body: bytes) -> httpx.Response:
        for n_tries in range(self._options.retries + 1):
            wait_s = _FIRST_WAIT_S * 2**n_tries * random.uniform(0.5, 1)
            try:
                response = await self._sent(url, body)
            except RemoteFailed as error:
                fault: TurboError = error
            else:
                if response.status_code == 200:
                    return response
                fault = await self._fault(response)
                if response.status_code not in AGAIN:
                    raise fault
                if "retry-after" in response.headers:
                    wait_s = wait_s_in(response.headers)
            if n_tries == self._options.retries or wait_s > _LONGEST_WAIT_S:
                break
            await asyncio.sleep(wait_s)
        raise fault

    async def _sent(self, url: str, body: bytes) -> httpx.Response:
        """Returns the head of an answer. Raises: RemoteTimedOut; RemoteFailed if none came."""
        try:
            async with asyncio.timeout(self._options.silence_timeout_s):
                return await self._http.send(self._http.build_request("POST", url, content=body), stream=True)
        except TimeoutError:
            raise self._too_slow(is_whole=False) from None
        except (httpx.ConnectError, httpx.ConnectTimeout) as error:
            self._note(error)
            raise RemoteFailed(f"{self._who} cannot be reached; see that it runs, and `base_url`") from error
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) as error:
            raise self._broken_off(error) from error

    async def _fault(self, response: httpx.Response) -> TurboError:
        """Returns what an answer means that is none."""
        said = b""
        try:
            said = await self._beginning(response, _MAX_ERROR_BYTES, _ERROR_S)
        except TurboError as error:
            log.info("%s did not say why it refused: %s", self._who, error.message)
        finally:
            await response.aclose()
        log.warning("%s answered %d", self._who, response.status_code)
        return self._faults.of_answer(response.status_code, response.headers, said)

    async def _beginning(self, response: httpx.Response, max_bytes: int, timeout_s: float) -> bytes:
        """Returns a body. Raises: RemoteFailed for one that is larger; RemoteTimedOut."""
        body = bytearray()
        try:
            async with asyncio.timeout(timeout_s):
                async for piece in response.aiter_raw():
                    body += piece
                    if len(body) > max_bytes:
                        raise RemoteFailed(f"{self._who} sent more than {max_bytes} bytes at once")
        except TimeoutError:
            raise self._too_slow(is_whole=False) from None
        except httpx.HTTPError as error:
            raise self._broken_off(error) from error
        return bytes(body)

    def _too_slow(self, *, is_whole: bool) -> RemoteTimedOut:
        if is_whole:
            return RemoteTimedOut(
                f"{self._who} did not end its answer within {self._options.timeout_s:g} s (`timeout_s`)"
            )
        limit = f"{self._options.silence_timeout_s:g} s (`silence_timeout_s`)"
        return RemoteTimedOut(f"{self._who} said nothing for {limit}")

    def _broken_off(self, error: Exception) -> RemoteFailed:
        self._note(error)
        return RemoteFailed(f"{self._who} broke off before the answer's end")

    def _note(self, error: Exception) -> None:
        """Logs what kind of fault it was; its text may hold addresses, and does not help more."""
        log.warning("%s: %s", self._who, type(error).__name__)


async def _read_tail(received: AsyncIterator[bytes]) -> None:
    """Reads what follows the last event, which is the end: else the connection has to be closed."""
    with contextlib.suppress(TimeoutError, httpx.HTTPError):
        async with asyncio.timeout(_TAIL_S):
            async for _ in received:
                pass
