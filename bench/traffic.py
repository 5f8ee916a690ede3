"""Random mixed traffic as clients make it, and a ledger in which every request ends exactly once.

Everything is drawn from a seed. Every vector is compared with the one that the same server gave for the same
text before, asked alone; models differ in their dimensions, so an answer of another model shows too.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import random
import time
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

from bench import texts
from bench.client import Answer, Pool
from bench.load import encode_request
from bench.stats import quantile_ms
from bench.verify import TOLERANCE

N_TEXTS = 256
PATIENCE_S = 120.0  # a request without an answer for so long counts as lost
_LONGEST_PAUSE_S = 2.0  # after a refusal, however long Retry-After says: the server is to stay under pressure
_POPULAR_FOR_S = 20.0  # how long one choice of models is in favour
_MEAN_PAUSE_S = 0.03
_N_EXAMPLES = 5

Truth = Mapping[str, NDArray[np.float64]]  # model -> [N_TEXTS, d]


@dataclasses.dataclass(frozen=True)
class Planned:
    """One request, what it should get, and when its client leaves without waiting for that."""

    kind: str
    request: bytes
    status: int = 200
    model: str = ""
    rows: Sequence[int] | None = None  # of the texts; None: the body is not looked at
    leaves_after_s: float = PATIENCE_S


@dataclasses.dataclass
class Ledger:
    """How requests ended: answered, refused (429 or 503 with Retry-After), cancelled by us, wrong or lost."""

    ends: Counter[tuple[str, str]] = dataclasses.field(default_factory=Counter)  # (kind, end)
    answered_s: dict[str, list[float]] = dataclasses.field(default_factory=lambda: defaultdict(list))
    examples: list[str] = dataclasses.field(default_factory=list)  # of what was wrong or lost

    def enter(self, planned: Planned, answer: Answer, seconds: float, truth: Truth) -> None:
        """Afterwards the request has ended."""
        end = _end_of(planned, answer, truth)
        self.ends[planned.kind, end] += 1
        if end == "answered":
            self.answered_s[planned.kind].append(seconds)
        elif end in ("wrong", "lost") and len(self.examples) < _N_EXAMPLES:
            self.examples.append(f"{planned.kind}, {end}: {answer.status} {answer.body[:200].decode()}")

    def to_result(self) -> dict[str, Any]:
        """Returns the ledger as plain values: totals, and each kind with its latencies."""
        totals: Counter[str] = Counter()
        kinds: dict[str, dict[str, float]] = {}
        for (kind, end), count in sorted(self.ends.items()):
            totals[end] += count
            kinds.setdefault(kind, {})[end] = count
        for kind, seconds in self.answered_s.items():
            kinds[kind] |= {"p50_ms": quantile_ms(seconds, 0.5), "p99_ms": quantile_ms(seconds, 0.99)}
        found = {"sent": sum(totals.values()), **totals, "wrong": totals["wrong"], "lost": totals["lost"]}
        return {"totals": found, "kinds": kinds, "examples": self.examples}


def _end_of(planned: Planned, answer: Answer, truth: Truth) -> str:
    if answer.status == planned.status:
        if planned.rows is None:
            return "answered"
        found = np.array(orjson.loads(answer.body)["embeddings"])
        wanted = truth[planned.model][list(planned.rows)]
        return "answered" if found.shape == wanted.shape and _is_close(found, wanted) else "wrong"
    if answer.is_refusal:
        return "refused"
    return "cancelled" if answer.has_left and planned.leaves_after_s < PATIENCE_S else "lost"


def _is_close(found: NDArray[np.float64], wanted: NDArray[np.float64]) -> bool:
    return bool(np.abs(found - wanted).max() <= TOLERANCE)


class Mix:
    """Draws requests: `shares` says how often each kind comes, `models` which may be asked."""

    def __init__(self, models: Sequence[str], shares: Mapping[str, float], seed: int) -> None:
        self.texts = sample_texts()
        self._models = models
        self._kinds, self._weights = list(shares), list(shares.values())
        self._random = random.Random(seed)
        self._popularity = [1.0] * len(models)
        self._popular_until_s = 0.0

    def pause_s(self) -> float:
        """Returns how long a client thinks before its next request."""
        return self._random.expovariate(1 / _MEAN_PAUSE_S)

    def draw(self, now_s: float) -> Planned:
        """Returns the next request. Every 20 s other models are in favour, so that models come and go."""
        if now_s >= self._popular_until_s:
            self._popular_until_s = now_s + _POPULAR_FOR_S
            self._popularity = [self._random.expovariate(1) ** 2 for _ in self._models]
        (kind,) = self._random.choices(self._kinds, self._weights)
        (model,) = self._random.choices(self._models, self._popularity)
        return self._plan(kind, model)

    def _plan(self, kind: str, model: str) -> Planned:
        match kind:
            case "one text":
                return self._embed(kind, model, 1, keep_alive=self._random.choice(("10s", "1m")))
            case "a batch":
                return self._embed(kind, model, self._random.randint(2, 64))
            case "keep_alive 0":
                return self._embed(kind, model, 1, keep_alive=0)
            case "client leaves":
                left = self._embed(kind, model, 64)
                return dataclasses.replace(left, leaves_after_s=self._random.uniform(0, 0.2))
            case "unload":
                return Planned(kind, _post({"model": model, "keep_alive": 0}))
            case "unknown model":
                return Planned(kind, _post({"model": "no-such-model", "input": "text"}), status=404)
            case "bad request":
                return Planned(kind, _post({"model": model, "input": 5}), status=400)
            case "list":
                return Planned(kind, _get("/api/ps"))
            case "metrics":
                return Planned(kind, _get("/metrics"))
        raise ValueError(f"no such kind of request: {kind}")

    def _embed(self, kind: str, model: str, n_texts: int, **fields: Any) -> Planned:
        rows = self._random.sample(range(N_TEXTS), n_texts)
        request = _post({"model": model, "input": [self.texts[row] for row in rows], **fields})
        return Planned(kind, request, model=model, rows=rows)


async def learn(port: int, models: Sequence[str]) -> Truth:
    """Returns the vectors of all texts, each asked alone of a server that does nothing else."""
    found = {}
    for model in models:
        vectors = []
        for text in sample_texts():
            pool = Pool(port)
            answer = await pool.ask(_post({"model": model, "input": text}), PATIENCE_S)
            pool.close()
            if answer.status != 200:
                raise SystemExit(f"model {model} answered {answer.status}: {answer.body[:300].decode()}")
            vectors.append(orjson.loads(answer.body)["embeddings"][0])
        found[model] = np.array(vectors)
    return found


async def send(port: int, mix: Mix, truth: Truth, *, seconds: float, n_clients: int) -> Ledger:
    """Returns how everything ended that so many clients sent, each one request after the other."""
    ledger, end_s = Ledger(), time.monotonic() + seconds
    pool = Pool(port)
    async with asyncio.TaskGroup() as clients:
        for _ in range(n_clients):
            clients.create_task(_client(pool, mix, truth, ledger, end_s))
    pool.close()
    return ledger


async def _client(pool: Pool, mix: Mix, truth: Truth, ledger: Ledger, end_s: float) -> None:
    while (now_s := time.monotonic()) < end_s:
        planned = mix.draw(now_s)
        answer = await pool.ask(planned.request, planned.leaves_after_s)
        ledger.enter(planned, answer, time.monotonic() - now_s, truth)
        await asyncio.sleep(mix.pause_s() + min(_LONGEST_PAUSE_S, answer.retry_after_s or 0))


def sample_texts() -> list[str]:
    """Returns the N_TEXTS texts of the mix, of about 24 tokens."""
    return next(iter(texts.known(24, N_TEXTS, 1).batches))


def _post(body: dict[str, Any]) -> bytes:
    return encode_request("/api/embed", json.dumps(body).encode())


def _get(path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nhost: localhost\r\n\r\n".encode()
