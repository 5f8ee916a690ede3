from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.support.fire import BYSTANDER, Fire, Flow
from tests.support.server import REAL, Embed, RunningServer
from turbov2.types import LoadSpec

REAL_APART = "wordllama-apart"  # the default model's weights in a process of their own
SetFire = Callable[..., Fire]


@pytest.fixture
def the_next_request_works(server: RunningServer) -> Iterator[None]:
    yield
    server.assert_well()


@pytest.fixture
def real_apart(load_spec: LoadSpec, tmp_path: Path) -> str:
    """The models file's table of REAL_APART."""
    folder = tmp_path / REAL_APART
    folder.mkdir()
    for name, path in load_spec.files.items():
        (folder / name).symlink_to(path)
    lines = ['capability = "embed"', 'backend = "static"', 'runner = "process"', "dimensions = 256"]
    lines += ["host_bytes = 32_768_000", f'weights = {{ kind = "path", path = "{folder}" }}']
    return "\n".join([f'[models."{REAL_APART}"]', *lines]) + "\n"


@pytest.fixture
def set_fire(unit_vectors: Embed, request: pytest.FixtureRequest) -> SetFire:
    """`set_fire(server, flow, ...)` gives traffic to enter, with a bystander's of another model."""
    truths = {REAL: unit_vectors, REAL_APART: unit_vectors}
    title = request.node.name.removeprefix("test_")

    def make(server: RunningServer, *flows: Flow) -> Fire:
        return Fire(server, (*flows, BYSTANDER), truths, title)

    return make
