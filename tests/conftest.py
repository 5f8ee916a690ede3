"""What all tests share: one running server, and a way to start others with special settings."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from tokenizers import Tokenizer

from tests.support.server import FAKE, INLINE, REAL, Embed, MakeServer, RunningServer, fake_model
from turbov2.backends.static import StaticBackend
from turbov2.catalog import Catalog
from turbov2.catalog.weights import WeightsStore
from turbov2.engine.shelf import Shelf
from turbov2.types import LoadSpec

_OTHERS = """
[models."fake-unbuilt"]
capability = "embed"
backend = "nonesuch"
runner = "inline"
weights = { kind = "path", path = "/nowhere" }

[models."fake-no-folder"]
capability = "embed"
backend = "fake"
runner = "inline"
weights = { kind = "path", path = "/nowhere" }
"""


@pytest.fixture(scope="session")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningServer]:
    """The default model, and fakes that are short-sighted, broken, unbuilt, missing or huge."""
    folder = tmp_path_factory.mktemp("server")
    models = [
        fake_model(FAKE, folder, runner="process", max_tokens=8, nan_on="nan-now", fail_on="fail-now"),
        fake_model(INLINE, folder),
        fake_model("fake-broken", folder, load_fails=True),
        fake_model("fake-huge", folder, need_bytes=10**15),
        _OTHERS,
    ]
    with RunningServer(folder, models="\n".join(models)) as running:
        yield running


@pytest.fixture
def make_server(tmp_path: Path) -> Iterator[MakeServer]:
    """Starts servers of this test's own: `make_server(env={...}, models="...")`."""
    with contextlib.ExitStack() as running:
        numbers = itertools.count()

        def make(**settings: Any) -> RunningServer:
            folder = tmp_path / f"server{next(numbers)}"
            folder.mkdir()
            return running.enter_context(RunningServer(folder, **settings))

        yield make


@pytest.fixture(scope="session")
def load_spec(tmp_path_factory: pytest.TempPathFactory) -> LoadSpec:
    """Where the default model's files are."""
    catalog = Catalog.load(None, {})
    shelf = Shelf(catalog, WeightsStore(tmp_path_factory.mktemp("home")), auto_pull=False)
    return shelf.load_spec(catalog.resolve(REAL))


@pytest.fixture(scope="session")
def tokenizer(load_spec: LoadSpec) -> Tokenizer:
    """The default model's tokenizer."""
    return Tokenizer.from_file(load_spec.files["tokenizer.json"])


@pytest.fixture(scope="session")
def raw_vectors(load_spec: LoadSpec) -> Embed:
    """Texts → `[n, 256]` float32, not normalised, without any server."""
    model = StaticBackend(load_spec)
    return lambda texts: model.embed(model.tokenize(texts)).dense


@pytest.fixture(scope="session")
def unit_vectors(raw_vectors: Embed) -> Embed:
    """Texts → `[n, 256]` float32 of length 1."""

    def embed(texts: list[str]) -> NDArray[np.float32]:
        vectors = raw_vectors(texts).astype(np.float64)
        return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)

    return embed
