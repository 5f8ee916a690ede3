"""Section `overload`: the goodput left when three times as much is asked as the server can do.

Open loop: requests go out at moments drawn beforehand, however the server fares, and latency counts from the
moment a request was due. Whoever is refused does not come again.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import itertools
import resource
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from bench import client, fleet, texts
from bench.client import Answer, Connection, Pool
from bench.load import encode_request
from bench.pressure import counters, problems_of
from bench.processes import Server
from bench.stats import quantile_ms

GOODPUT_TARGET, REFUSAL_TARGET_MS = 0.9, 50.0
_TIMES, _SEED = 3.0, 7
_PATIENCE_S = 60.0
_N_FDS = 16_384


@dataclasses.dataclass(frozen=True)
class Contender:
    """A model, the shape of its requests, and how many clients find out what it can do.

    More distinct requests than are ever in flight: equal texts in flight would be computed only once.
    The queue is set to a few seconds of work, as one would who wants answers in time.
    """

    model: str
    n_texts: int
    n_tokens: int
    n_clients: int
    n_requests: int
    max_queue_items: int


CONTENDERS = (
    Contender(fleet.ENCODER.name, 1, 16, 64, 32_768, 1_024),
    Contender(fleet.WORDLLAMA_PROCESS, 64, 48, 16, 2_048, 65_536),
)


@dataclasses.dataclass
class Ended:
    """How one request ended. Times in seconds of the run."""

    due_s: float
    sent_s: float
    answered_s: float
    end: str  # answered, refused, lost

    @property
    def latency_s(self) -> float:
        """From the moment it was due."""
        return self.answered_s - self.due_s


def measure(is_quick: bool) -> dict[str, Any]:
    """Returns everything the section measures."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(hard, _N_FDS)), hard))  # the server's too
    seconds, n_connections = (3.0, 500) if is_quick else (60.0, 2_000)
    rows = [_contender(contender, seconds, n_connections) for contender in CONTENDERS]
    problems = [f"{row['name']}: {problem}" for row in rows for problem in row["problems"]]
    if not is_quick:
        problems += [f"{row['name']}: {name} misses its target" for row in rows for name in _missed(row)]
    targets = {"goodput": GOODPUT_TARGET, "refusal_p99_ms": REFUSAL_TARGET_MS, "times": _TIMES}
    return {"seconds": seconds, "targets": targets, "contenders": rows, "problems": problems}


def _missed(row: dict[str, Any]) -> list[str]:
    met = {
        "goodput": row["goodput_share"] >= GOODPUT_TARGET,
        "time to a refusal": row["refused"].get("p99_ms", 0) <= REFUSAL_TARGET_MS,
    }
    return [name for name, is_met in met.items() if not is_met]


def _contender(contender: Contender, seconds: float, n_connections: int) -> dict[str, Any]:
    batches = texts.known(contender.n_tokens, contender.n_texts, contender.n_requests).batches
    bodies = [msgspec.json.encode({"model": contender.model, "input": batch}) for batch in batches]
    requests = [encode_request("/api/embed", body) for body in bodies]
    limit = f"{contender.max_queue_items}"
    with fleet.serving([fleet.ENCODER], PRELOAD=contender.model, MAX_QUEUE=limit) as server:
        found = client.run(_measure(server, contender, requests, seconds, n_connections))
        told = counters(server)
    totals = {"lost": found["n_lost"], "wrong": 0}
    problems = problems_of({"totals": totals, "examples": found.pop("examples")}, told)
    name = f"{contender.model}, {contender.n_texts} text{'s' * (contender.n_texts > 1)} a request"
    return {
        "name": name,
        "max_queue_items": contender.max_queue_items,
        "n_texts": contender.n_texts,
        "problems": problems,
        **found,
    }


async def _measure(
    server: Server, contender: Contender, requests: Sequence[bytes], seconds: float, n_connections: int
) -> dict[str, Any]:
    capacity = await _capacity(server.port, requests, contender.n_clients, seconds / 4)
    pool = Pool(server.port)
    await pool.open(n_connections)
    run = Run(pool, requests)
    ended = await run.offer(arrivals(capacity * _TIMES, seconds))
    pool.close()
    in_time = [e for e in ended if e.end == "answered" and e.answered_s <= seconds]
    return {
        "capacity_per_s": round(capacity, 1),
        "offered_per_s": round(len(ended) / seconds, 1),
        "goodput_per_s": round(len(in_time) / seconds, 1),
        "goodput_share": round(len(in_time) / seconds / capacity, 4),
        "answered": _latency(ended, "answered"),
        "refused": _latency(ended, "refused"),
        "n_lost": sum(e.end == "lost" for e in ended),
        "examples": run.examples,
        "sent_late_p99_ms": quantile_ms([e.sent_s - e.due_s for e in ended], 0.99),
        "most_in_flight": run.most_in_flight,
        "timeline": _timeline(ended, seconds),
    }


async def _capacity(port: int, requests: Sequence[bytes], n_clients: int, seconds: float) -> float:
    """Returns requests answered a second while so many clients always wait for an answer."""
    pool, supply, n_answered = Pool(port), itertools.cycle(requests), 0
    begin_s = time.monotonic() + seconds / 4  # to warm up
    end_s = begin_s + seconds

    async def one_after_the_other() -> None:
        nonlocal n_answered
        while time.monotonic() < end_s:
            answer = await pool.ask(next(supply), _PATIENCE_S)
            if answer.status != 200:
                raise SystemExit(
                    f"a request below capacity was answered {answer.status}: {answer.body!r:.300}"
                )
            n_answered += begin_s <= time.monotonic() < end_s

    await asyncio.gather(*(one_after_the_other() for _ in range(n_clients)))
    pool.close()
    return n_answered / seconds


class Run:
    """One overload: what is under way, and how the rest ended."""

    def __init__(self, pool: Pool, requests: Sequence[bytes]) -> None:
        self.most_in_flight = 0
        self.examples: list[str] = []
        self._pool = pool
        self._supply = itertools.cycle(requests)
        self._begin_s = 0.0
        self._ended: list[Ended] = []
        self._under_way: dict[Connection, tuple[float, float]] = {}  # -> due and sent
        self._is_idle = asyncio.Event()

    async def offer(self, due_s: Sequence[float]) -> list[Ended]:
        """Returns how all requests ended. Each goes out at its moment, whatever became of those before."""
        self._begin_s = time.monotonic()
        for moment_s in due_s:
            if (wait_s := moment_s - self._now_s()) > 0:
                await asyncio.sleep(wait_s)
            await self._send(moment_s)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._is_idle.wait(), _PATIENCE_S)
        for connection in list(self._under_way):
            self._end(connection, Answer(0, body=b"no answer in time"))
        return self._ended

    async def _send(self, due_s: float) -> None:
        while (connection := self._pool.take()) is None:
            try:
                await self._pool.open(1)
            except OSError:
                self._ended.append(Ended(due_s, self._now_s(), self._now_s(), "lost"))
                self.examples = [*self.examples, "no connection"][:5]
                return
        self._under_way[connection] = (due_s, self._now_s())
        self._is_idle.clear()
        self.most_in_flight = max(self.most_in_flight, len(self._under_way))
        connection.send(next(self._supply), functools.partial(self._end, connection))

    def _end(self, connection: Connection, answer: Answer) -> None:
        due_s, sent_s = self._under_way.pop(connection)
        end = "answered" if answer.status == 200 else "refused" if answer.is_refusal else "lost"
        self._ended.append(Ended(due_s, sent_s, self._now_s(), end))
        self._pool.give_back(connection)
        if end == "lost":
            self.examples = [*self.examples, f"{answer.status} {answer.body!r:.200}"][:5]
        if not self._under_way:
            self._is_idle.set()

    def _now_s(self) -> float:
        return time.monotonic() - self._begin_s


def arrivals(per_s: float, seconds: float) -> list[float]:
    """Returns the moments of a Poisson process."""
    gaps = np.random.default_rng(_SEED).exponential(1 / per_s, int(per_s * seconds))
    return [float(moment) for moment in np.cumsum(gaps) if moment < seconds]


def _latency(ended: Sequence[Ended], end: str) -> dict[str, float]:
    seconds = [e.latency_s for e in ended if e.end == end]
    if not seconds:
        return {"n": 0}
    return {"n": len(seconds), "p50_ms": quantile_ms(seconds, 0.5), "p99_ms": quantile_ms(seconds, 0.99)}


def _timeline(ended: Sequence[Ended], seconds: float) -> list[dict[str, Any]]:
    """Returns for each second how many requests were due, and how those that ended in it had fared."""
    offered = Counter(int(e.due_s) for e in ended)
    by_second: dict[int, list[Ended]] = defaultdict(list)
    for each in ended:
        by_second[int(each.answered_s)].append(each)
    return [
        {"t_s": second, "offered": offered[second]}
        | {end: _latency(by_second[second], end) for end in ("answered", "refused")}
        for second in range(int(seconds))
    ]
