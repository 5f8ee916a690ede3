"""The servers that section `encoders` compares: ours with every engine, Infinity with one each."""

from __future__ import annotations

import contextlib
import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from bench import fleet, infinity, minilm
from bench.processes import Server


@dataclasses.dataclass(frozen=True)
class Contender:
    """A running server's model. `path` and `model` are how its requests name it."""

    name: str
    server: Server
    path: str
    model: str

    @property
    def engine(self) -> str:
        """One of minilm.ENGINES or PAIR_ENGINES."""
        return self.name.partition(" ")[2]

    def body(self, batch: Sequence[str]) -> bytes:
        """Returns the request in OpenAI's form, or for pairs, whose query comes first, in Cohere's."""
        if self.engine in minilm.PAIR_ENGINES:
            return json.dumps({"model": self.model, "query": batch[0], "documents": batch[1:]}).encode()
        return json.dumps({"model": self.model, "input": batch}).encode()

    def rows(self, batch: Sequence[str]) -> NDArray[np.float64]:
        """Returns what the server computes: `[n, d]` vectors, or `[n, 1]` scores."""
        status, answer = self.server.post(self.path, self.body(batch))
        if status != 200:
            raise SystemExit(f"{self.name} answered {status}: {answer!r:.300}")
        found = json.loads(answer)
        if "results" not in found:
            return np.array([each["embedding"] for each in found["data"]])
        ranked = sorted(found["results"], key=lambda each: each["index"])
        return np.array([[each["relevance_score"]] for each in ranked])


Group = AbstractContextManager[list[Contender]]


def groups(folders: Mapping[str, Path]) -> Iterator[Group]:
    """Yields the groups of contenders that run at the same time; Infinity only where it is installed."""
    yield _ours(folders)
    if infinity.environment() is not None:
        yield from (_infinity(engine, folders[engine]) for engine in folders if engine != "pairs-onnx")


@contextlib.contextmanager
def _ours(folders: Mapping[str, Path]) -> Iterator[list[Contender]]:
    models = [fleet.Encoder(engine, engine, made=folder) for engine, folder in folders.items()]
    with fleet.serving(models, PRELOAD=",".join(folders)) as server:
        yield [Contender(f"turbov2 {engine}", server, _path("/v1", engine), engine) for engine in folders]


@contextlib.contextmanager
def _infinity(engine: str, folder: Path) -> Iterator[list[Contender]]:
    with infinity.serving(folder, engine) as server:
        yield [Contender(f"infinity {engine}", server, _path("", engine), "minilm")]


def _path(prefix: str, engine: str) -> str:
    return "/rerank" if engine in minilm.PAIR_ENGINES else f"{prefix}/embeddings"
