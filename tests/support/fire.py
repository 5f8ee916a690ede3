"""Steady traffic on a server while a test harms it, and the look at both ledgers afterwards."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import itertools
import threading
import time
from collections.abc import Coroutine, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import httpx

from tests.support.ledger import Ask, End, Headers, Ledger
from tests.support.server import DEADLINE_S, REAL, Embed, RunningServer, until
from tests.support.told import Told
from turbov2.backends.fake import vectors_of
from turbov2.engine.vectors import finish

PATIENCE_S = 60.0  # a request without an answer for so long is lost
_LONGEST_PAUSE_S = 0.3  # after a refusal, whatever Retry-After says: the pressure is to stay


@dataclasses.dataclass(frozen=True)
class Flow:
    """Clients that send one request after the other, each of texts that nobody sent before."""

    who: str
    model: str
    n_clients: int = 3
    n_texts: int = 1
    n_words: int = 4
    pause_s: float = 0.01
    headers: Headers = ()


BYSTANDER = Flow("bystander", REAL, n_clients=2)
UNDISTURBED_S = 1.0  # p99 of the bystander, 1000 times what it takes: the machine may be busy, too


def fake_vectors(texts: list[str]) -> Any:
    """Returns what a fake model of 8 dimensions answers: `[n, 8]` float32 of length 1."""
    return finish(vectors_of(texts), None, True, "fake")


class Fire:
    """Sends from entering to leaving, by an event loop in a thread of its own. `ledger` knows every request.

    truths: the right vectors of models that are not fakes. Leaving waits for every answer, prints the
    ledger and compares it with the server's own.
    """

    def __init__(
        self, server: RunningServer, flows: Sequence[Flow], truths: Mapping[str, Embed], title: str = ""
    ) -> None:
        self.ledger = Ledger()
        self._server = server
        self._flows = flows
        self._truths = truths
        self._title = title
        self._before = Told.by(server)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="fire")
        self._numbers = itertools.count()
        self._is_on = True
        self._http: httpx.AsyncClient
        self._clients: list[concurrent.futures.Future[None]] = []
        self._sent: list[concurrent.futures.Future[httpx.Response | None]] = []

    def __enter__(self) -> Self:
        self._thread.start()
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=100)
        self._http = httpx.AsyncClient(base_url=self._server.base_url, timeout=PATIENCE_S, limits=limits)
        self._clients = [self._start(self._client(f)) for f in self._flows for _ in range(f.n_clients)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.stop_flows()
            concurrent.futures.wait(self._sent, PATIENCE_S)
            self._start(self._http.aclose()).result(DEADLINE_S)
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(DEADLINE_S)
            self._loop.close()
            self.ledger.show(self._title)
        if error is None:
            self.ledger.assert_balanced()
            assert self.ledger.p99_s(BYSTANDER.who) < UNDISTURBED_S
            if self._server.is_running():
                Told.assert_at_rest(self._server, self._before, self.ledger)

    def stop_flows(self) -> None:
        """Returns once every client has had the answer to its last request."""
        self._is_on = False
        for client in self._clients:
            client.result(PATIENCE_S)

    def send(
        self, who: str, model: str, texts: Sequence[str], *, is_guilty: bool = False, **how: Any
    ) -> concurrent.futures.Future[httpx.Response | None]:
        """Returns at once; the future gives the answer, None if it was lost. To cancel it is to leave."""
        ask = Ask(who, model, texts, self._truths.get(model, fake_vectors), is_guilty, **how)
        self._sent.append(self._start(self._ask(ask)))
        return self._sent[-1]

    def until_answered(self, who: str, n: int = 10) -> float:
        """Returns the seconds until the first of `n` more answers came in this row."""
        started_s, n_before = time.monotonic(), self.ledger.n("answered", who)
        until(lambda: self.ledger.n("answered", who) > n_before, PATIENCE_S)
        first_s = time.monotonic() - started_s
        until(lambda: self.ledger.n("answered", who) >= n_before + n, PATIENCE_S)
        return first_s

    def until_all_flow(self) -> None:
        """Returns once every flow has had some answers more."""
        n_before = {flow.who: self.ledger.n("answered", flow.who) for flow in self._flows}
        until(lambda: all(self.ledger.n("answered", who) > n + 5 for who, n in n_before.items()), PATIENCE_S)

    def _start(self, work: Coroutine[Any, Any, Any]) -> concurrent.futures.Future[Any]:
        return asyncio.run_coroutine_threadsafe(work, self._loop)

    async def _client(self, flow: Flow) -> None:
        wanted = self._truths.get(flow.model, fake_vectors)
        while self._is_on:
            answer = await self._ask(
                Ask(flow.who, flow.model, self._texts(flow), wanted, headers=flow.headers)
            )
            retry_after_s = float(answer.headers.get("retry-after", 0)) if answer is not None else 0.1
            await asyncio.sleep(flow.pause_s + min(retry_after_s, _LONGEST_PAUSE_S))

    def _texts(self, flow: Flow) -> list[str]:
        numbers = itertools.islice(self._numbers, flow.n_texts)
        return [f"text {number}" + " word" * (flow.n_words - 2) for number in numbers]

    async def _ask(self, ask: Ask) -> httpx.Response | None:
        self.ledger.sent(ask.who)
        started_s = time.monotonic()
        end: End = "lost"
        said, answer = "", None
        try:
            body = {"model": ask.model, "input": list(ask.texts)}
            answer = await self._http.post(ask.path, json=body, headers=list(ask.headers))
            end, said = ask.end_of(answer), f"{answer.status_code} {answer.text:.200} {dict(answer.headers)}"
        except asyncio.CancelledError:
            end = "cancelled"
            raise
        except httpx.TransportError as error:
            said = repr(error)
        finally:
            self.ledger.ended(ask.who, end, time.monotonic() - started_s, said)
        return answer
