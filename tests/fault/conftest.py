from collections.abc import Iterator

import pytest

from tests.support.server import RunningServer


@pytest.fixture
def the_next_request_works(server: RunningServer) -> Iterator[None]:
    yield
    server.assert_well()
