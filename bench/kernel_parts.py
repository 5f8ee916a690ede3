"""The pieces that section `kernel` times, as plain functions of one batch."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np
import uvloop
from numpy.typing import NDArray
from scipy.sparse import csr_array

from bench import model, texts
from bench.scenarios import body
from bench.steps import Step
from bench.texts import Batches
from turbov2.backends.tokens import offsets_of, to_batch
from turbov2.engine.vectors import finish
from turbov2.wire._vectors import base64_row, json_rows
from turbov2.wire.ollama.schema import EmbedBody

Arrays = tuple[NDArray[np.int32], NDArray[np.int32]]  # ids, offsets
Run = Callable[[Any], object]


def workloads(n_tokens: int, n_texts: int) -> tuple[Batches, Batches]:
    """Returns batches of known and of unseen words; enough that a slice never repeats an unseen one."""
    n_batches = {1: 512, 32: 64, 512: 8}[n_texts]
    n_unseen = {1: 2048, 32: 128, 512: 8}[n_texts]
    return texts.known(n_tokens, n_texts, n_batches).batches, texts.unseen(
        n_tokens, n_texts, n_unseen
    ).batches


class Forgetful:
    """The backend, able to forget the words it remembers."""

    def __init__(self) -> None:
        self._backend = model.static_backend()
        # Each row is widened at first use; that happens once in a server's life, so it is not timed.
        self._backend._table._widen(np.arange(self._backend._table.n_rows, dtype=np.int32))

    def run(self, batch: list[str]) -> object:
        """Returns the embedded batch."""
        return self._backend.embed(self._backend.tokenize(batch))

    def forget(self) -> None:
        """Afterwards no word is known."""
        self._backend.free_caches()


def backends() -> tuple[Run, Forgetful, Run]:
    """Returns the backend that knows all words, one that can forget, and one that tokenizes whole texts."""
    known, whole = Forgetful(), Forgetful()
    whole._backend._words._is_separable = False
    return known.run, Forgetful(), whole.run


def tokenize() -> Run:
    """Returns the tokenizers library's own batch call."""
    tokenizer = model.tokenizer()
    return lambda batch: tokenizer.encode_batch_fast(batch, add_special_tokens=False)


def model2vec(dtype: str) -> Run:
    """Returns model2vec's `encode` without normalising, to compare with `embed`."""
    loaded = model.model2vec_model(dtype)
    return lambda batch: loaded.encode(batch, max_length=None, normalize=False)


def id_arrays(known: Batches) -> list[Arrays]:
    """Returns the batches' token ids as the table wants them."""
    backend = model.static_backend()
    tokens = [backend.tokenize(batch) for batch in known]
    return [(each.ids, offsets_of(each.lengths)) for each in tokens]


def sums() -> dict[str, Run]:
    """Returns three ways to add up rows: the kernel called directly, scipy's operator, plain numpy."""
    table = model.static_backend()._table
    every = np.arange(table.n_rows, dtype=np.int32)
    table._widen(every)
    rows = table._rows

    def direct(arrays: Arrays) -> object:
        ids, offsets = arrays
        return table.sum_rows(ids, offsets, np.ones(len(ids), np.float32))

    def operator(arrays: Arrays) -> object:
        ids, offsets = arrays
        shape = (len(offsets) - 1, table.n_rows)
        return csr_array((np.ones(len(ids), np.float32), ids, offsets), shape=shape) @ rows

    def numpy(arrays: Arrays) -> object:
        ids, offsets = arrays
        return np.add.reduceat(rows[ids], offsets[:-1], axis=0)

    return {"csr_matvecs, direct": direct, "csr_array @ table": operator, "numpy take + add.reduceat": numpy}


def hops(known: Batches) -> dict[str, tuple[Run, list[Any]]]:
    """Returns the steps between a request's body and its answer, each with its inputs."""
    backend = model.static_backend()
    bodies = [body("json", batch) for batch in known]
    encoded = [backend._words.encode(batch) for batch in known]
    tokens = [to_batch(ids, None) for ids in encoded]
    means = [backend.embed(each) for each in tokens]
    vectors = [finish(mean, None, True, model.MODEL) for mean in means]

    return {
        "parse JSON": (msgspec.json.Decoder(EmbedBody).decode, bodies),
        "words to ids": (backend._words.encode, known),
        "ids to arrays": (lambda ids: to_batch(ids, None), encoded),
        "sum and mean": (backend.embed, tokens),
        "normalise": (lambda mean: finish(mean, None, True, model.MODEL), means),
        "write JSON": (json_rows, vectors),
        "write base64": (lambda rows: [base64_row(row) for row in rows], vectors),
    }


def application(known: Batches) -> tuple[Step, Step]:
    """Returns POST /api/embed on the application, without server, socket or access log; and doing nothing.

    The second costs what entering and leaving the event loop costs, to be taken off the first.
    """
    from turbov2.catalog import Catalog
    from turbov2.engine import LocalEngine
    from turbov2.obs.meters import Meters
    from turbov2.server.app import build_app
    from turbov2.settings import load_settings

    settings = load_settings({}, {"host": "127.0.0.1", "access_log": "false"})
    meters = Meters()
    engine = LocalEngine(Catalog.load(None, {}), settings, meters)
    app: Any = build_app(engine, settings, meters)
    loop = uvloop.new_event_loop()
    loop.run_until_complete(engine.start())
    scope = {
        "type": "http", "method": "POST", "path": "/api/embed", "query_string": b"", "scheme": "http",
        "headers": [(b"host", b"localhost"), (b"content-type", b"application/json")],
    }  # fmt: skip

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise RuntimeError(f"the application answered {message}")

    def run(request: bytes) -> object:
        sent = iter(({"type": "http.request", "body": request, "more_body": False},))

        async def receive() -> dict[str, Any]:
            if (message := next(sent, None)) is not None:
                return message
            found: dict[str, Any] = await loop.create_future()
            return found  # never: the client stays until it has its answer

        return loop.run_until_complete(app(dict(scope), receive, send))

    def nothing(_: bytes) -> object:
        return loop.run_until_complete(asyncio.sleep(0))

    requests = [body("json", batch) for batch in known]
    for request in requests:
        run(request)
    return Step("application", run, requests), Step("nothing", nothing, requests)
